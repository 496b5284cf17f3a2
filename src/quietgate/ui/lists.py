"""Lists of addresses as people have them, a line at a time -> what each line names, or why it names nothing.

192.0.2.7 # why                      plain, and csf.deny
198.51.100.0/24 ; SBL1               Spamhaus
203.0.113.1<tab>8                    ipsum and others: what follows the first column is a count or a date
192.0.2.1-192.0.2.9                  ranges
sshd: 203.0.113.1                    hosts.deny: the addresses behind the name of a service
add f2b-sshd 203.0.113.1 timeout 30  ipset save
1,crowdsec,Ip:203.0.113.1,...        cscli decisions list -o csv
tcp|in|d=22|s=203.0.113.1            csf's advanced rules
"""

from __future__ import annotations

import re

from quietgate.net import AddressError, Prefix, parse_address, parse_prefix, span

LONGEST = 4096  # characters of one line
FEW = 256  # addresses of a range that are taken one by one: what stands among them and must stay concerns no other
MOST_PIECES = 64  # prefixes that one range may become
_ELSEWHERE = re.compile(r"(?:create|swap|flush|destroy|COMMIT|Include|id,source|\[|@)", re.IGNORECASE)
_COLUMNS = re.compile(r"[\s,|]+")


class Nothing(ValueError):
    """A line that names no address, for a reason that is no mistake of the list's."""


def targets(line: str) -> list[tuple[Prefix, str]]:
    """What one line names, each with its own words; [] for a comment. Raises Nothing, or AddressError for what should be an address."""
    text = re.split(r"[#;]|//", line[:LONGEST].lstrip("\ufeff"), maxsplit=1)[0].strip()
    if not text:
        return []
    service = re.fullmatch(r"([A-Za-z][\w.@-]{0,40}|ALL(?:\s+EXCEPT\s+\S+)?)\s*:\s+(.+)", text)
    if service is not None:
        return _of_service(service[1], service[2])
    if text.startswith("add "):
        words = text.split()
        return _one(words[2]) if len(words) > 2 else _none("it adds nothing")
    if _ELSEWHERE.match(text):
        return _none("it is another kind of line than an address")
    if "," in text or "|" in text:
        return _of_columns(text)
    joined = re.sub(r"\s*-\s*(?=[0-9a-fA-F:]*[.:])", "-", text)
    return _one(joined.split()[0])


def range_of(text: str) -> list[Prefix] | None:
    """The prefixes of "FIRST-LAST"; None for what is no range. Raises AddressError."""
    first, dash, last = text.partition("-")
    if not dash or ("." not in last and ":" not in last):
        return None
    low, high = parse_address(first.strip()), parse_address(last.strip())
    if low.version != high.version or low.value > high.value:
        raise AddressError(f"{text!r} is no range", "write the lower address first, both of one IP version")
    if low.version == 4 and high.value - low.value < FEW:
        return [Prefix.of(4, value, 32) for value in range(low.value, high.value + 1)]
    pieces = list(span(low.version, low.value, high.value))
    if len(pieces) > MOST_PIECES:
        raise AddressError(f"{text!r} is {len(pieces)} prefixes", f"write it as prefixes; a range may be {MOST_PIECES}")
    return pieces


def _one(text: str) -> list[tuple[Prefix, str]]:
    pieces = range_of(text)
    if pieces is not None:
        return [(p, f"{p}/{p.length}" if p.single else str(p)) for p in pieces]
    return [(parse_prefix(text), text)]


def _none(why: str) -> list[tuple[Prefix, str]]:
    raise Nothing(why)


def _of_service(service: str, rest: str) -> list[tuple[Prefix, str]]:
    """hosts.deny(5): daemons : clients. Names and patterns are somebody's to resolve, and not ours."""
    found = []
    for word in re.split(r"[\s,]+", rest):
        with_brackets = word.strip("[]")
        try:
            found.append((parse_prefix(with_brackets), with_brackets))
        except AddressError:
            continue
    return found or _none(f"it names no address, but names or patterns of {service}")


def _of_columns(text: str) -> list[tuple[Prefix, str]]:
    for column in _COLUMNS.split(text):
        word = re.sub(r"^(?:Ip:|Range:|s=|d=(?=.*[.:]))", "", column.strip("\"'"))
        if ("." in word or ":" in word) and re.fullmatch(r"[0-9a-fA-F.:/]{3,50}", word):
            return _one(word)
    return _none("none of its columns is an address")
