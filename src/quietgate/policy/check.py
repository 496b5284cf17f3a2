"""What is wrong with a policy beyond the single value: contradictions, rules that can never decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from quietgate.errors import Problem
from quietgate.net import Prefix, PrefixSet
from quietgate.policy.model import Policy, Resolved, Rule, addresses_of
from quietgate.policy.terms import Addresses, Name

WITH_PORTS = {6, 17, 33, 132, 136}  # tcp udp dccp sctp udplite: ports in the first four bytes (RFC 4340, 9260, 3828)


def rule_problems(rule: Rule) -> Iterator[Problem]:
    """Contradictions inside one rule."""

    def problem(what: str, remedy: str) -> Problem:
        return Problem(rule.origin, f'rule "{rule.name}": {what}', remedy)

    if rule.ports is not None and rule.protocol is not None and rule.protocol not in WITH_PORTS:
        yield problem(f"protocol {rule.protocol} has no ports", 'take out `ports`, or write protocol = "tcp" or "udp"')
    if rule.action == "rate" and rule.rate is None:
        yield problem('action "rate" needs a rate', 'add rate = "10 per 1s"')
    if rule.action != "rate" and rule.rate is not None:
        yield problem(f'the rate has no effect with action "{rule.action}"', 'write action = "rate", or take out `rate`')
    if rule.reject == "tcp-reset" and rule.protocol != 6:
        yield problem("only TCP knows a reset", 'write protocol = "tcp", or take out `reject`')
    families = set(rule_versions(rule))
    if not families and not any(isinstance(e.target, Name) for e in (*rule.source.entries, *rule.to.entries)):
        yield problem("it can match no packet: IPv4 on one side, IPv6 on the other", "split it into one rule for each")


def rule_versions(rule: Rule) -> tuple[int, ...]:
    """The IP versions a rule can match, as far as known without resolving names."""

    def versions(addresses: Addresses) -> set[int]:
        if addresses.anywhere or any(isinstance(e.target, Name) for e in addresses.entries):
            return {4, 6}
        return {e.target.version for e in addresses.entries if isinstance(e.target, Prefix)}

    found = versions(rule.source) & versions(rule.to)
    if rule.protocol in (1, 58):
        found &= {4 if rule.protocol == 1 else 6}
    return tuple(sorted(found))


def shadowed(rules: Sequence[Rule]) -> Iterator[Problem]:
    """A warning for each rule that one earlier rule leaves nothing to."""
    decided: list[Rule] = []
    for rule in rules:
        above = next((r for r in decided if _covers(r, rule)), None)
        if above is not None:
            yield Problem(
                rule.origin,
                f'rule "{rule.name}" never decides: "{above.name}" at {above.origin} matches all of it first',
                "move it up, or take it out",
            )
        if rule.name:
            decided.append(rule)


def _covers(above: Rule, rule: Rule) -> bool:
    if above.direction != rule.direction:
        return False
    if above.protocol is not None and above.protocol != rule.protocol:
        return False
    if above.ports is not None:
        if above.protocol is None and rule.protocol not in (6, 17):
            return False  # "any" with ports means TCP and UDP
        if rule.ports is None or not all(any(a.low <= p.low and p.high <= a.high for a in above.ports) for p in rule.ports):
            return False
    stem = above.interface.removesuffix("*")
    if above.interface != rule.interface and not (above.interface.endswith("*") and rule.interface.removesuffix("*").startswith(stem)):
        return False
    return _wider(above.source, rule.source) and _wider(above.to, rule.to)


def _wider(above: Addresses, below: Addresses) -> bool:
    if above.anywhere:
        return True
    if below.anywhere:
        return False
    inside = PrefixSet(e.target for e in above.entries if isinstance(e.target, Prefix))
    names = {e.target for e in above.entries if isinstance(e.target, Name)}
    return all(e.target in names if isinstance(e.target, Name) else e.target in inside for e in below.entries)


def conflicts(policy: Policy, resolved: Resolved) -> Iterator[Problem]:
    """Overlaps of `deny` with `allow` or `trusted`: one of the two must be a mistake, and guessing locks out."""
    for path, friends in (("firewall.allow", policy.firewall.allow), ("ssh.trusted", policy.ssh.trusted)):
        everyone = PrefixSet(p for friend in friends.entries for p in addresses_of(friend, resolved))
        for enemy in policy.firewall.deny.entries:
            if not any(everyone.overlaps(p) for p in addresses_of(enemy, resolved)):
                continue
            for friend in friends.entries:
                if _meet(addresses_of(enemy, resolved), addresses_of(friend, resolved)):
                    yield Problem(enemy.origin, f"deny {enemy} overlaps {path} {friend} at {friend.origin}",
                                  "take one of them out, or narrow it")  # fmt: skip


def _meet(one: Iterable[Prefix], other: Iterable[Prefix]) -> bool:
    there = PrefixSet(other)
    return any(there.overlaps(p) for p in one)


def unresolved(policy: Policy, resolved: Resolved) -> Iterator[Problem]:
    """A problem for each place of a host name that has no address."""
    for name, origin in policy.names():
        if not resolved.get(name.text):
            yield Problem(origin, f"the name {name} does not resolve", "mend it, write the address instead, or see to DNS")


def ssh_rules(policy: Policy, ports: Sequence[int]) -> Iterator[Problem]:
    """A warning for each inbound rule that only concerns SSH ports, which `[ssh]` decides before any rule."""
    for rule in policy.firewall.rules:
        if rule.direction == "in" and rule.protocol == 6 and rule.ports and all(p.low == p.high and p.low in ports for p in rule.ports):
            yield Problem(rule.origin, f'rule "{rule.name}" never decides: its ports are SSH ports, which [ssh] decides first',
                          "use `from`, `trusted` and `limit` in [ssh], or firewall.deny")  # fmt: skip
