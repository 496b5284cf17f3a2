"""What is wrong with a policy beyond the single value: contradictions, rules that can never decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from quietgate.errors import Origin, Problem
from quietgate.net import Prefix, PrefixSet
from quietgate.policy.model import Policy, Resolved, Rule, addresses_of, prefixes_of
from quietgate.policy.readers import PROTOCOLS
from quietgate.policy.terms import Addresses, Name

WITH_PORTS = {6, 17, 33, 132, 136}  # tcp udp dccp sctp udplite: ports in the first four bytes (RFC 4340, 9260, 3828)
MAX_COMPARED = 1000  # rules that are compared with each other: a warning is worth a second, not a minute
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def rule_problems(rule: Rule, at: Mapping[str, Origin]) -> Iterator[Problem]:
    """Contradictions inside one rule. `at` tells where each of its keys stands."""

    def problem(key: str, what: str, remedy: str) -> Problem:
        return Problem(at.get(key, rule.origin), f'rule "{rule.name}": {what}', remedy)

    if rule.ports is not None and rule.protocol is not None and rule.protocol not in WITH_PORTS:
        yield problem("ports", f"protocol {_name(rule.protocol)} has no ports", 'take out `ports`, or write protocol = "tcp" or "udp"')
    if rule.action == "rate" and rule.rate is None:
        yield problem("rate" if "rate" in at else "action", 'action "rate" needs a rate', 'write rate = "10 per 1s"')
    if rule.action != "rate" and rule.rate is not None:
        yield problem("rate", f'the rate has no effect with action "{rule.action}"', 'write action = "rate", or take out `rate`')
    if rule.reject == "tcp-reset" and rule.protocol != 6:
        yield problem("reject", "only TCP knows a reset", 'write protocol = "tcp", or take out `reject`')
    elif rule.reject == "tcp-reset" and rule.action != "reject":
        yield problem("reject", f'`reject` has no effect with action "{rule.action}"', 'write action = "reject", or take out `reject`')
    yield from _families(rule, at)


def _families(rule: Rule, at: Mapping[str, Origin]) -> Iterator[Problem]:
    source, to = _versions(rule.source), _versions(rule.to)
    if not source & to:
        yield Problem(at.get("to", rule.origin), f'rule "{rule.name}": it matches nothing, with IPv{source.pop()} in `from` and '
                      f"IPv{to.pop()} in `to`", "write one rule for IPv4 and one for IPv6")  # fmt: skip
    elif rule.protocol in (1, 58):
        mine, other = (4, "icmpv6") if rule.protocol == 1 else (6, "icmp")
        if mine not in source & to:
            yield Problem(at.get("protocol", rule.origin), f'rule "{rule.name}": it matches nothing, as {_name(rule.protocol)} is '
                          f"IPv{mine} and its addresses are not", f'write protocol = "{other}", or IPv{mine} addresses')  # fmt: skip


def _versions(addresses: Addresses) -> set[int]:
    """The IP versions a list can match, as far as known without resolving names."""
    if addresses.anywhere or any(isinstance(e.target, Name) for e in addresses.entries):
        return {4, 6}
    return {e.target.version for e in addresses.entries if isinstance(e.target, Prefix)}


def _name(protocol: int) -> str:
    return _PROTOCOL_NAMES.get(protocol, str(protocol))


def shadowed(rules: Sequence[Rule]) -> Iterator[Problem]:
    """A warning for each rule that one earlier rule leaves nothing to."""
    decided: list[tuple[Rule, _Inside, _Inside]] = []
    for rule in rules[:MAX_COMPARED]:
        above = next((r for r, source, to in decided if _covers(r, rule) and source.covers(rule.source) and to.covers(rule.to)), None)
        if above is not None:
            yield Problem(
                rule.origin,
                f'rule "{rule.name}" never decides: "{above.name}" at {above.origin} matches all of it first',
                f'move it above "{above.name}", or take it out',
            )
        decided.append((rule, _Inside(rule.source), _Inside(rule.to)))


class _Inside:
    """An address list to be asked many times whether it holds another."""

    def __init__(self, addresses: Addresses) -> None:
        self._anywhere = addresses.anywhere
        self._prefixes = PrefixSet(e.target for e in addresses.entries if isinstance(e.target, Prefix))
        self._names = {e.target for e in addresses.entries if isinstance(e.target, Name)}

    def covers(self, below: Addresses) -> bool:
        if self._anywhere or below.anywhere:
            return self._anywhere
        return all(e.target in self._names if isinstance(e.target, Name) else e.target in self._prefixes for e in below.entries)


def _covers(above: Rule, rule: Rule) -> bool:
    """True if `above` matches whatever `rule` does, the addresses aside."""
    if above.direction != rule.direction:
        return False
    if above.protocol is not None and above.protocol != rule.protocol:
        return False
    if above.ports is not None:
        # Protocol "any" with ports means TCP and UDP.
        if above.protocol is None and rule.protocol not in (None, 6, 17):
            return False
        if rule.ports is None or not all(any(a.low <= p.low and p.high <= a.high for a in above.ports) for p in rule.ports):
            return False
    stem = above.interface.removesuffix("*")
    return above.interface == rule.interface or (above.interface.endswith("*") and rule.interface.removesuffix("*").startswith(stem))


def conflicts(policy: Policy, resolved: Resolved) -> Iterator[Problem]:
    """What contradicts itself once host names have addresses.

    Overlaps of `deny` with `allow` or `trusted`: one of the two must be a mistake, and guessing locks out. Rules whose
    names left nothing that could match: a rule that is missing without a word is worse than one that is refused.
    """
    for path, friends in (("firewall.allow", policy.firewall.allow), ("ssh.trusted", policy.ssh.trusted)):
        everyone = PrefixSet(p for friend in friends.entries for p in addresses_of(friend, resolved))
        for enemy in policy.firewall.deny.entries:
            if not any(everyone.overlaps(p) for p in addresses_of(enemy, resolved)):
                continue
            for friend in friends.entries:
                if _meet(addresses_of(enemy, resolved), addresses_of(friend, resolved)):
                    yield Problem(enemy.origin, f"firewall.deny {enemy} overlaps {path} {friend} at {friend.origin}",
                                  "take one of them out, or narrow it")  # fmt: skip
    for rule in policy.firewall.rules:
        source, to = (_resolved_versions(a, resolved) for a in (rule.source, rule.to))
        if source and to and not source & to and _versions(rule.source) & _versions(rule.to):
            yield Problem(rule.origin, f'rule "{rule.name}": its names resolve to IPv{source.pop()} in `from` and IPv{to.pop()} in `to`, '
                          "so it matches nothing", "write addresses of one IP version on both sides")  # fmt: skip


def _resolved_versions(addresses: Addresses, resolved: Resolved) -> set[int]:
    return {4, 6} if addresses.anywhere else {p.version for p in prefixes_of(addresses, resolved)}


def _meet(one: Iterable[Prefix], other: Iterable[Prefix]) -> bool:
    there = PrefixSet(other)
    return any(there.overlaps(p) for p in one)


def unresolved(policy: Policy, resolved: Resolved) -> Iterator[Problem]:
    """A problem for each place of a host name that has no address."""
    for name, origin in policy.names():
        if not resolved.get(name.text):
            group = next((g for g in policy.groups if g.lower() == name.text), None)
            remedy = "write the name right, or its address, or see to DNS"
            yield Problem(origin, f'the name "{name}" does not resolve', remedy if group is None else f'did you mean "@{group}"?')


def ssh_rules(policy: Policy, ports: Sequence[int]) -> Iterator[Problem]:
    """A warning for each inbound rule that names SSH ports, which `[ssh]` decides before any rule."""
    for rule in policy.firewall.rules:
        if rule.direction != "in" or rule.protocol not in (6, None) or not rule.ports:
            continue
        named = [p.low for p in rule.ports if p.low == p.high and p.low in ports]
        if named and len(named) == len(rule.ports) and rule.protocol == 6:
            what = "never decides: its ports are SSH ports, which [ssh] decides first"
        elif named:
            what = f"does not decide port {', '.join(map(str, named))}, an SSH port: [ssh] decides it first"
        else:
            continue
        yield Problem(rule.origin, f'rule "{rule.name}" {what}', "use `from`, `trusted` and `limit` in [ssh], or `deny` in [firewall]")


def lost_ports(policy: Policy, ports: Sequence[int], listening: Sequence[int]) -> tuple[int, ...]:
    """Ports that an sshd listens on, though the policy's [ssh] does not name them and no inbound rule decides about them."""
    decided = {
        p.low
        for rule in policy.firewall.rules
        if rule.direction == "in" and rule.protocol in (6, None)
        for p in rule.ports or ()
        if p.low == p.high
    }
    return tuple(p for p in listening if p not in ports and p not in decided)


def lost_problems(policy: Policy, lost: Sequence[int]) -> Iterator[Problem]:
    """A warning where sshd listens on ports that [ssh] does not cover."""
    if not lost:
        return
    at = policy.origins.get("ssh.ports", (Origin("default", 0),))[-1]
    named = ", ".join(map(str, lost))
    what = "it is kept open, within the same limit" if policy.firewall.default == "drop" else "it is neither limited nor protected"
    yield Problem(at, f"sshd also listens on {named}, which ssh.ports does not name: {what}",
                  f'write ports = "auto", add {named}, or write an inbound rule for it')  # fmt: skip
