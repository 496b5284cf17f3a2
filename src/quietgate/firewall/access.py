"""Who gains and who loses access between two rulesets, in words. Pure: the evaluator asked about a handful of people.

Asked about are those whom either policy names, and an address of each IP version that neither names: "everyone else".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quietgate.firewall import rules as r
from quietgate.firewall.evaluate import Memory, Packet, decide
from quietgate.net import BITS, Prefix, PrefixSet, parse_address

# What an unlisted port is asked as: 9 is discard (RFC 863), which nobody serves.
UNLISTED = 9
# Documentation addresses (RFC 5737, RFC 3849): the first that no policy names stands for everyone else.
STRANGERS = {
    4: tuple(parse_address(a) for a in ("203.0.113.201", "198.51.100.201", "192.0.2.201", "203.0.113.77")),
    6: tuple(parse_address(a) for a in ("2001:db8:ffff:fff1::1", "2001:db8:ffff:fff2::1", "2001:db8:fffe::1")),
}
WORDS = {"no": "no access", "limited": "access within the limit", "yes": "access"}


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody to ask about: what to call them, one address of theirs."""

    name: str
    address: Prefix


@dataclass(frozen=True, slots=True)
class Target:
    """What they may reach: "tcp", "udp" or "ping", and a port (0 for ping)."""

    protocol: str
    port: int

    def __str__(self) -> str:
        if self.protocol == "ping":
            return "ping"
        return f"{self.protocol} {'ports that no rule names' if self.port == UNLISTED else self.port}"


@dataclass(frozen=True, slots=True)
class Change:
    """One person's access to one thing, before and after."""

    who: Who
    target: Target
    before: str
    after: str

    @property
    def gains(self) -> bool:
        """True if it is more than before."""
        return list(WORDS).index(self.after) > list(WORDS).index(self.before)

    def __str__(self) -> str:
        return f"{self.who.name} {'gains' if self.gains else 'loses'}: {self.target}: {WORDS[self.before]} -> {WORDS[self.after]}"


def everyone_else(named: Iterable[Prefix]) -> list[Who]:
    """One address of each IP version that is in none of these prefixes."""
    taken = PrefixSet(p for p in named if p.length)
    found = []
    for version, addresses in STRANGERS.items():
        free = next((a for a in addresses if a not in taken), None)
        if free is not None:
            found.append(Who(f"everyone else over IPv{version}", free))
    return found


def access(ruleset: r.Ruleset, who: Who, target: Target) -> str:
    """One of the keys of WORDS; for somebody who is neither known nor on the floor."""
    address = who.address
    protocol = {"tcp": 6, "udp": 17}.get(target.protocol, 1 if address.version == 4 else 58)
    packet = Packet(
        src=address,
        dst=Prefix(address.version, 1, BITS[address.version]),
        protocol=protocol,
        sport=40000,
        dport=target.port,
        flags=frozenset({"syn"}) if protocol == 6 else frozenset(),
        icmp_type=(8 if address.version == 4 else 128) if target.protocol == "ping" else 0,
        iif="eth0",
        expires=120.0,
    )
    decision = decide(ruleset, packet, Memory(nets={s.name: PrefixSet() for s in ruleset.state_sets if "interval" in s.flags}))
    if decision.verdict != "accept":
        return "no"
    limited = any(id_.startswith(("ssh.pending", "ping.within")) or ".over" in id_ for id_ in decision.passed)
    return "limited" if limited else "yes"


def changes(old: r.Ruleset, new: r.Ruleset, people: Sequence[Who], targets: Sequence[Target]) -> list[Change]:
    """Everything that differs for these people and targets: what is lost first."""
    found = []
    for who in people:
        for target in targets:
            before, after = access(old, who, target), access(new, who, target)
            if before != after:
                found.append(Change(who, target, before, after))
    return sorted(found, key=lambda c: c.gains)
