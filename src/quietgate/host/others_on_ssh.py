"""What other tools' rules do to connections to the SSH ports that keeps the limiter from counting them, or counts them a second time.

Read as nft lists it, and as iptables-save does, whose matches nft cannot print. A rule counts as one about SSH unless it plainly
names other ports, another protocol or loopback; which addresses it is about is not asked. So what is found here is what may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quietgate.host.other_firewalls import legacy, output_of, owner_of, ruleset
from quietgate.values import FAMILY, LABEL, TABLE


class Deed(StrEnum):
    """What a rule does."""

    NOTRACK = "notrack"  # conntrack does not see the connection
    ZONE = "zone"  # conntrack files packets apart
    SYNPROXY = "synproxy"  # another handshake than sshd's
    LABEL = "label"  # our label on what we did not count
    LIMIT = "limit"  # a second limit


@dataclass(frozen=True, slots=True)
class Touch:
    """A rule of another tool's. `where` names table and chain, `rule` what it says, `owner` whose it seems to be ("": nobody knows).

    `hook`: the base chain from which it is reached, where it stands in one itself ("" else); `early`: before our input chain. `syns`: it asks for TCP flags.
    """

    deed: Deed
    where: str
    rule: str
    owner: str
    hook: str
    early: bool
    syns: bool = False


IPTABLES = ("iptables-save", "ip6tables-save")
_PORTS = re.compile(r"--(?:dport|dports|sport|sports) (\S+)")
_PROTOCOL = re.compile(r"(?:^| )-p (\S+)")
_DEEDS = (
    (Deed.NOTRACK, re.compile(r"-j (?:NOTRACK|CT .*--notrack)")),
    (Deed.ZONE, re.compile(r"-j CT .*--zone ")),
    (Deed.SYNPROXY, re.compile(r"-j SYNPROXY")),
    (Deed.LABEL, re.compile(rf"-m connlabel .*--label {LABEL} .*--set")),
)
_LIMITS = re.compile(r"-m (?:recent .*--(?:update|rcheck)|hashlimit|limit|connlimit)\b")


def touches(ports: Sequence[int]) -> list[Touch]:
    """Every such rule. Zones only where one direction alone is put into them: both alike is as good as none."""
    saved = {program: output_of(program) for program in (*IPTABLES, *(f"{p}-save" for p in legacy()))}
    found = [*_by_iptables(saved, ports), *_by_nft(saved, ports)]
    zones = {t.hook for t in found if t.deed is Deed.ZONE}
    if {"prerouting", "output"} <= zones:
        found = [t for t in found if t.deed is not Deed.ZONE]
    if any(t.deed is Deed.SYNPROXY for t in found):  # it needs the SYNs untracked, and makes connections of its own
        found = [t for t in found if t.deed is not Deed.NOTRACK or not t.syns]
    return list(dict.fromkeys(found))


def _by_iptables(saved: Mapping[str, str], ports: Sequence[int]) -> Iterator[Touch]:
    for program, text in saved.items():
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith("-A ") and (deed := _iptables_deed(line, ports)) is not None:
                chain = line.split()[1]
                hook = chain.lower() if chain in ("PREROUTING", "INPUT", "OUTPUT") else ""
                # iptables' filter and ours have the same priority: which comes first depends on which was loaded first
                yield Touch(deed, f"{program.removesuffix('-save')} {table} {chain}", line, owner_of(chain), hook,
                            hook != "input" or table in ("raw", "mangle"), "--syn" in line or "--tcp-flags" in line)  # fmt: skip


def _iptables_deed(line: str, ports: Sequence[int]) -> Deed | None:
    protocol = _PROTOCOL.search(line)
    named = [_within(m[1], ports) for m in _PORTS.finditer(line)]
    if (protocol and protocol[1] not in ("tcp", "all", "6")) or " -i lo " in line or (named and not any(named)):
        return None
    if named and _LIMITS.search(line):
        return Deed.LIMIT
    return next((deed for deed, pattern in _DEEDS if pattern.search(line)), None)


def _within(text: str, ports: Sequence[int]) -> bool:
    for one in text.split(","):
        low, _, high = one.partition(":")
        if low.isdigit() and any(int(low) <= p <= int(high if high.isdigit() else low) for p in ports):
            return True
    return False


def _by_nft(saved: Mapping[str, str], ports: Sequence[int]) -> Iterator[Touch]:
    listed = ruleset()
    bases = {(c["family"], c["table"], c["name"]): c for item in listed if (c := item.get("chain")) and "hook" in c}
    by_iptables = {
        (family, line[1:])
        for program, family in zip(IPTABLES, ("ip", "ip6"), strict=True)
        for line in saved[program].splitlines()
        if line.startswith("*")
    }
    for item in listed:
        rule = item.get("rule")
        if rule is None or (rule["family"], rule["table"]) in ((FAMILY, TABLE), *by_iptables):
            continue
        deed = _nft_deed(rule["expr"], ports)
        if deed is not None:
            base = bases.get((rule["family"], rule["table"], rule["chain"]), {})
            hook = str(base.get("hook", ""))
            yield Touch(deed, f"table {rule['family']} {rule['table']}, chain {rule['chain']}", deed, owner_of(f"{rule['table']} {rule['chain']}"),
                        hook, hook != "input" or base.get("prio", 0) < 0, "'flags'" in str(rule["expr"]))  # fmt: skip


def _nft_deed(parts: list[dict[str, Any]], ports: Sequence[int]) -> Deed | None:
    named = False
    for part in parts:
        about = _about(part.get("match", {}), ports)
        if about is False:
            return None
        named = named or about is True
    for part in parts:
        key = part.get("mangle", {}).get("key", {}) if isinstance(part.get("mangle"), dict) else {}
        ct = key.get("ct", {}) if isinstance(key, dict) else {}
        if "notrack" in part:
            return Deed.NOTRACK
        if ct.get("key") == "zone" and "dir" not in ct:  # with a direction it is made for one, and finds its replies
            return Deed.ZONE
        if "synproxy" in part:
            return Deed.SYNPROXY
        if ct.get("key") == "label" and part["mangle"].get("value") == LABEL:
            return Deed.LABEL
        if named and ({"limit", "meter", "ct count"} & part.keys() or (isinstance(part.get("set"), dict) and part["set"].get("stmt"))):
            return Deed.LIMIT
    return None


def _about(match: Any, ports: Sequence[int]) -> bool | None:
    """True if a match names an SSH port, False if it rules SSH out, None if it says nothing about that."""
    left, right = (match.get("left"), match.get("right")) if isinstance(match, dict) else (None, None)
    if not isinstance(left, dict) or match.get("op") not in ("==", "in"):
        return None
    payload, meta = left.get("payload", {}), left.get("meta", {})
    if payload.get("field") in ("dport", "sport"):
        if payload.get("protocol") not in ("tcp", "th"):
            return False
        return None if isinstance(right, str) and right.startswith("@") else any(_holds(right, p) for p in ports)
    if meta.get("key") == "l4proto":
        return None if "tcp" in str(right) or right == 6 else False
    if meta.get("key") == "iifname" and right == "lo":
        return False
    return None


def _holds(right: Any, port: int) -> bool:
    if isinstance(right, dict) and "set" in right:
        return any(_holds(one, port) for one in right["set"])
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return isinstance(low, int) and isinstance(high, int) and low <= port <= high
    return bool(right == port)
