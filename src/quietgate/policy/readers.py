"""How each kind of value is read from TOML.

A `Reader` takes the raw value and returns the typed one, or raises `Bad` with what is wrong and what to write. It
knows nothing of files and lines: `load.py` adds those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from quietgate.clock import format_duration, parse_duration
from quietgate.net import AddressError, Prefix, parse_address, parse_prefix
from quietgate.policy.terms import Anywhere, Group, LogSource, Name, Ports, Rate

HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?\Z")
RULE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
MAX_LIST = 100_000  # elements in one list; a policy is not a ban list
LONGEST_SHOWN = 80  # characters of a value that a message shows


class Bad(ValueError):
    """A value that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind of value is read. `form` says for people what may be written; `element` reads a list's elements."""

    form: str
    read: Callable[[object], object]
    element: Reader | None = None

    def __call__(self, value: object) -> object:
        """The typed value. Raises Bad."""
        return self.read(value)


def kind(value: object) -> str:
    """What TOML calls the type of a value."""
    names: dict[type, str] = {bool: "true or false", int: "a number", float: "a number with a fraction",
                              str: "a text", list: "a list", dict: "a table"}  # fmt: skip
    return names.get(type(value), "a date or time")


def show(value: object) -> str:
    """A short TOML-like rendering of a value, for messages. Never raises, whatever its size or depth."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "the number"
    if isinstance(value, str):
        return quoted(value)
    return kind(value)


def quoted(text: str) -> str:
    """A text as found, in quotes, cut where it is long."""
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "...")


def _text(value: object, like: str) -> str:
    if not isinstance(value, str):
        if isinstance(value, list) and len(value) == 1:
            only = f'"{value[0]}"' if isinstance(value[0], str) and len(value[0]) <= LONGEST_SHOWN else like
            raise Bad("expected one text, found a list", f"take out the brackets: {only}")
        raise Bad(f"expected a text, found {kind(value)}", f"write it in quotes, like {like}")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Bad(f"expected true or false, found {kind(value)}", "write true or false, without quotes")
    return value


def _alert(value: object) -> bool | str:
    if value == "digest":
        return "digest"
    if not isinstance(value, bool):
        raise Bad(f"{show(value)} is not possible here", 'write true, false or "digest"')
    return value


def _any_text(value: object) -> str:
    found = _text(value, '"text"')
    if len(found) > 4096:
        raise Bad(f"the text has {len(found)} characters", "write at most 4096")
    if not found.isprintable():
        raise Bad("the text holds control characters", "write printable characters on one line")
    return found


def integer(low: int, high: int) -> Reader:
    """A whole number from `low` to `high`."""
    remedy = f"write {low}" if low == high else f"write a whole number from {low} to {high}"

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            also = ", without quotes" if isinstance(value, str) else ""
            raise Bad(f"expected a number, found {kind(value)}", remedy + also)
        if not low <= value <= high:
            raise Bad(f"{show(value)} is out of range", remedy)
        return value

    return Reader(str(low) if low == high else f"{low} to {high}", read)


def choice(*words: str) -> Reader:
    """One of a few words."""
    listed = " or ".join(f'"{w}"' for w in words)

    def read(value: object) -> str:
        found = _text(value, f'"{words[0]}"')
        if found not in words:
            raise Bad(f"{quoted(found)} is not possible here", f"write {listed}")
        return found

    return Reader(listed, read)


def _or(words: tuple[str, ...]) -> str:
    return "".join(f', or "{w}"' for w in words)


def duration(low: int = 1, high: int = 10 * 365 * 86400, *, words: tuple[str, ...] = ()) -> Reader:
    """Seconds, or None for one of `words` ("off", "forever")."""
    bounds = f"{format_duration(low)} to {format_duration(high)}"
    remedy = f'write a duration from {bounds}, like "90s", "10m" or "1d"{_or(words)}'

    def read(value: object) -> int | None:
        found = _text(value, '"90s", "10m" or "1d"')
        if found in words:
            return None
        try:
            seconds = parse_duration(found)
        except ValueError:
            raise Bad(f"{quoted(found)} is no duration", remedy) from None
        if not low <= seconds <= high:
            raise Bad(f"{quoted(found)} is out of range", remedy)
        return seconds

    return Reader(f"duration, {bounds}{_or(words)}", read)


_RATE = re.compile(r"(\S+)\s+per\s+(\S+)\Z")


def rate(max_count: int = 1_000_000, max_window: int = 86400, *, words: tuple[str, ...] = ("off",)) -> Reader:
    """A `Rate`, or the word itself when it is one of `words`, with "off" read as None."""
    also = _or(words)
    bounds = f"N 1 to {max_count}, window 1s to {format_duration(max_window)}"

    def read(value: object) -> Rate | str | None:
        found = _text(value, '"5 per 60s"')
        if found in words:
            return None if found == "off" else found
        match = _RATE.match(found)
        if match is None:
            raise Bad(f"{quoted(found)} is no rate", f'write it like "5 per 60s"{also}')
        count, window = match.groups()
        if not (count.isascii() and count.isdigit()):
            raise Bad(f"{quoted(found)}: {quoted(count)} is no whole number", f'write it like "5 per 60s"{also}')
        if len(count) > 9 or not 1 <= int(count) <= max_count:
            raise Bad(f"{quoted(found)}: {count[:20]} is out of range", f"the number goes from 1 to {max_count}{also}")
        try:
            seconds = parse_duration(window)
        except ValueError:
            raise Bad(f"{quoted(found)}: {quoted(window)} is no duration", f'write it like "5 per 60s"{also}') from None
        if not 1 <= seconds <= max_window:
            raise Bad(f"{quoted(found)}: the window {window} is out of range",
                      f"the window goes from 1s to {format_duration(max_window)}{also}")  # fmt: skip
        return Rate(int(count), seconds)

    return Reader(f"rate, {bounds}{also}", read)


SERVERS = ("sshd", "dropbear")  # of which a source may be declared to be
_LIKE = 'like { path = "/var/log/sshd.log", program = "sshd" }'


def _source(value: object) -> str | LogSource:
    if not isinstance(value, dict):
        found = _any_text(value)
        if found not in ("journal", "-") and not found.startswith("/"):
            raise Bad(f"{quoted(found)} is no source of lines", 'write "journal", "-" or the whole path of a file')
        return found
    if set(value) != {"path", "program"}:
        raise Bad(
            f"a source in braces has a path and a program, found {', '.join(map(quoted, sorted(value))) or 'nothing'}", f"write it {_LIKE}"
        )
    path, program = _any_text(value["path"]), _any_text(value["program"])
    if not path.startswith("/"):
        raise Bad(f"{quoted(path)} is no whole path", f"write it {_LIKE}")
    if program not in SERVERS:
        raise Bad(f"{quoted(program)} is no server whose lines are read", f"write {' or '.join(map(quoted, SERVERS))}")
    return LogSource(path, program)


source = Reader('"journal", a path, "-", or { path, program }', _source)


def listed(element: Reader, what: str) -> Reader:
    """A list; each element read by `element`. Errors of elements are raised by `load`, which knows their lines."""

    def read(value: object) -> list[object]:
        if not isinstance(value, list):
            simple = isinstance(value, str | int)
            example = show(value) if simple and not show(value).startswith("'") else f'"{value}"' if simple else ""
            short = simple and len(example) <= LONGEST_SHOWN
            raise Bad(
                f"expected a list of {what}, found {kind(value)}", f"put it in brackets: [{example}]" if short else "put it in brackets"
            )
        if len(value) > MAX_LIST:
            raise Bad(f"{len(value)} elements are too many", f"a list holds at most {MAX_LIST}; ban lists go to `quietgate ban`")
        return value

    return Reader(f"list of {what}", read, element)


# What people write when they mean "anywhere", though it could be the name of a host.
_EVERYONE = {"any", "all", "every", "everyone", "everywhere", "everything", "world", "*", "0", "0/0", "any4", "any6"}


def _address(value: object) -> Prefix | Name | Group | Anywhere:
    found = _text(value, '"192.0.2.7"')
    if found == "anywhere":
        return Anywhere()
    if found.lower() in _EVERYONE or found.lower() == "anywhere":
        raise Bad(f"{quoted(found)} is no address", 'write "anywhere" for every address')
    if found.startswith("@"):
        return Group(found[1:])
    last = found.rstrip(".").rpartition(".")[2]  # a top-level domain is never a number: a broken address
    numeric = ":" in found or "/" in found or last.isdigit() or not any(c.isalpha() for c in found)
    if not numeric:
        if HOST_NAME.match(found):
            return Name(found.lower().rstrip("."))
        raise Bad(f"{quoted(found)} is no address and no host name",
                  'write an IP address, a prefix, a host name, "@group" or "anywhere"')  # fmt: skip
    try:
        return parse_prefix(found)
    except AddressError as error:
        if "-" in found and "/" not in found:
            raise Bad(f"{quoted(found)} is no IP address", "write a range as prefixes, like 192.0.2.0/25") from None
        raise Bad(str(error) if len(found) <= LONGEST_SHOWN else f"{quoted(found)} is no IP address", error.remedy) from None


def _range(value: object, remedy: str) -> Ports:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Bad(f"expected a port, found {kind(value)}", remedy)
    if isinstance(value, int) and not 1 <= value <= 65535:
        raise Bad(f"port {value} is out of range" if value.bit_length() <= 64 else "the port is out of range", remedy)
    low, dash, high = str(value).partition("-")
    parts = [low, high] if dash else [low]
    if not all(p.isascii() and p.isdigit() and len(p) <= 6 for p in parts):
        raise Bad(f"{show(value)} is no port", remedy)
    numbers = [int(p) for p in parts]
    if any(not 1 <= n <= 65535 for n in numbers):
        raise Bad(f"port {value} is out of range", remedy)
    if numbers[0] > numbers[-1]:
        raise Bad(f'the range "{value}" runs backwards', f'write "{numbers[-1]}-{numbers[0]}"')
    return Ports(numbers[0], numbers[-1])


def _port(value: object) -> Ports:
    return _range(value, 'write a port from 1 to 65535, or a range like "8000-8010"')


def _single_port(value: object) -> int:
    found = _range(value, "write a port from 1 to 65535")
    if found.low != found.high:
        raise Bad(f"{show(value)} is a range", f"name each SSH port by itself, like [{found.low}, {found.low + 1}]")
    return found.low


def _interface(value: object) -> str:
    found = _text(value, '"eth0"')
    stem = found.removesuffix("*")
    size = len(stem.encode())
    if size > 15:
        raise Bad(f"the interface name {quoted(found)} has {size} characters", "write at most 15; `ip link` shows the names")
    if not found or any(c in stem for c in '/:*"\\ ') or not found.isprintable() or found in (".", ".."):
        raise Bad(f"{quoted(found)} is no interface name", 'write a name like "eth0", or a prefix like "wg*"')
    return found


PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


def _protocol(value: object) -> int | None:
    remedy = 'write "tcp", "udp", "icmp", "icmpv6", "any", or a number from 0 to 255'
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= 255:
            raise Bad(f"protocol {show(value)} is out of range", remedy)
        return value
    if not isinstance(value, str):
        raise Bad(f"expected a protocol, found {kind(value)}", remedy)
    if value == "any":
        return None
    if value not in PROTOCOLS:
        raise Bad(f"{quoted(value)} is no protocol known here", remedy)
    return PROTOCOLS[value]


def _rule_name(value: object) -> str:
    found = _text(value, '"web"')
    if not RULE_NAME.match(found):
        raise Bad(f"{quoted(found)} is no rule name", "write 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit")
    return found


def _log_prefix(value: object) -> str:
    found = _text(value, '"SSH Brute Force Attempt: "')
    remedy = 'write 1 to 110 printable ASCII characters, without " \\ and $'
    if not found or len(found) > 110:
        raise Bad(f"the log prefix has {len(found)} characters", remedy)
    for char in found:
        if not char.isascii() or not char.isprintable() or char in '"\\$':
            raise Bad(f"the log prefix holds {char!r}", remedy)
    return found


def _mark_bit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32 or value & (value - 1):
        number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32
        raise Bad(f"{f'{value:#x}' if number else show(value)} is not one bit", "write one bit of 32, like 0x10000000")
    return value


_SIZE_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([0-9]{1,9})(kB|MB|GB|TB)\Z")


def _size(value: object) -> int:
    found = _text(value, '"500MB"')
    match = _SIZE.match(found)
    if match is None or not int(match[1]):
        raise Bad(f"{quoted(found)} is no size", 'write a number and kB, MB, GB or TB, like "500MB"')
    return int(match[1]) * _SIZE_UNITS[match[2]]


_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")


def _time_of_day(value: object) -> str:
    found = _text(value, '"07:00"')
    if not _TIME.match(found):
        raise Bad(f"{quoted(found)} is no time of day", 'write it from "00:00" to "23:59"')
    return found


def _hours(value: object) -> str:
    found = _text(value, '"22:00-07:00"')
    if found and not all(_TIME.match(part) for part in found.partition("-")[::2]):
        raise Bad(f"{quoted(found)} is no span of hours", 'write it like "22:00-07:00", or "" for none')
    return found


def _secret(value: object) -> str:
    found = _any_text(_text(value, '"file:/etc/quietgate/hook.key"'))
    if found and not found.startswith(("file:/", "credential:")):
        raise Bad("a secret must not stand in the policy itself", 'put it in a file: "file:/etc/quietgate/hook.key", or "credential:NAME"')
    return found


def _textfile(value: object) -> str:
    found = _any_text(_text(value, '"/var/lib/node_exporter/quietgate.prom"'))
    if found and not (found.startswith("/") and found.endswith(".prom")):
        raise Bad(f"{quoted(found)} is no such file", "write an absolute path that ends in .prom, since node_exporter reads no others")
    return found


def _receiver(value: object) -> str:
    found = _text(value, '"/usr/local/sbin/on-ban"')
    parts = urlsplit(found) if found.startswith(("http://", "https://")) else None
    if found.isprintable() and " " not in found and (found.startswith("/") if parts is None else parts.hostname and not parts.username):
        return found
    raise Bad(
        f"{quoted(found)} is neither a program nor a receiver", 'write its path, like "/usr/local/sbin/on-ban", without words, or a URL'
    )


_LISTEN = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-fA-F:.]+)\]):(?P<port>[0-9]{1,5})\Z")


def _listen(value: object) -> str:
    found = _any_text(_text(value, '"127.0.0.1:9911"'))
    if not found or found.startswith("/"):
        return found
    match = _LISTEN.match(found)
    try:
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise ValueError
        parse_address(match["v4"] or match["v6"])
    except ValueError:
        raise Bad(
            f"{quoted(found)} is nothing to listen on", 'write an address and a port, like "127.0.0.1:9911" or "[::1]:9911", or a path'
        ) from None
    return found


boolean = Reader("true or false", _boolean)
alert = Reader('true, false or "digest"', _alert)
text = Reader("text", _any_text)
address = Reader("address", _address)
port = Reader("port", _port)
single_port = Reader("port", _single_port)
interface = Reader("interface", _interface)
protocol = Reader('"tcp", "udp", "icmp", "icmpv6", "any", or 0 to 255', _protocol)
rule_name = Reader("rule name", _rule_name)
log_prefix = Reader("text, 1 to 110 ASCII characters", _log_prefix)
mark_bit = Reader("one bit", _mark_bit)
size = Reader('size, like "500MB"', _size)
time_of_day = Reader('"00:00" to "23:59"', _time_of_day)
hours = Reader('"22:00-07:00", or ""', _hours)
receiver = Reader("an absolute path, or a URL", _receiver)
textfile = Reader('path ending in .prom, or ""', _textfile)
listen = Reader('"ADDRESS:PORT", a path, or ""', _listen)
secret = Reader('"file:/PATH" or "credential:NAME"', _secret)
