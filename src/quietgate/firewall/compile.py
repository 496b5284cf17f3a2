"""Policy -> Ruleset. The order of the rules here is the precedence that the design promises.

Prerouting: ICMP that must pass, floor and trusted on SSH ports, bans. Input: the same ICMP, DHCP replies, floor and
trusted on SSH ports, deny, the limiter, allow, ping, established, unknown packets to SSH, the rules, other ICMP, the default.
Loopback comes before all of it, in the base chains that `render` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from quietgate.errors import Origin
from quietgate.firewall import friends, limiter, names, published
from quietgate.firewall.limiter import Door
from quietgate.firewall.places import aborted, keys
from quietgate.firewall.rules import (
    Accept,
    Address,
    Chain,
    Count,
    Drop,
    Flags,
    Goto,
    Icmp,
    InSet,
    Interface,
    Key,
    Part,
    PolicySet,
    Port,
    Protocol,
    Published,
    Reject,
    Rule,
    Ruleset,
    Settle,
    State,
    StateSet,
    Take,
    ToLocal,
    Version,
    Within,
)
from quietgate.net import BITS, LINK_LOCAL6, Prefix, PrefixSet
from quietgate.policy.model import Policy, Resolved, prefixes_of
from quietgate.policy.model import Rule as PolicyRule
from quietgate.policy.terms import Addresses, Ports, Rate
from quietgate.values import Scope

# Unreachable, time exceeded, parameter problem: without them path MTU discovery and error handling break.
ICMP4_MUST = (3, 11, 12)
# RFC 4890 4.4.1: errors, neighbour and router discovery, its inverse, MLD 1 and 2, SEND, multicast router discovery.
# Conntrack does not track neighbour discovery: dropping it ends every IPv6 session within half a minute.
ICMP6_MUST = (1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 141, 142, 143, 148, 149, 151, 152, 153)
ECHO = {4: 8, 6: 128}
PING_BURST = 5
METER_SIZE = 65536
ANSWERED = State(("established", "related"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the host tells the compiler: sshd's ports and listeners, and what the host names resolved to."""

    door: Door
    resolved: Resolved


def compile_policy(policy: Policy, facts: Facts) -> Ruleset:
    """The generation that a policy means on this host. The policy must be free of problems."""
    c = _Compiler(policy, facts)
    chains = (
        Chain("pre", tuple(c.prerouting())),
        Chain("in", tuple(c.input())),
        *limiter.chains(policy.ssh, facts.door, tuple(c.ssh_from()), c.origin("ssh.limit")),
        *friends.chains(policy.ssh, facts.door, c.origin("ssh.reserve")),
        *c.ping_chain(),
        Chain("out", tuple(c.output())),
        Chain("fwd", tuple(c.forward())),
        *published.chains(policy.ssh, facts.door, c.origin("ssh.published")),
    )
    counters = {**COUNTERS, **{names.rule_counter(r.name): f"matched by rule {r.name}" for r in policy.firewall.rules}}
    counters.update(limiter.COUNTERS)
    return Ruleset(
        chains=chains,
        policy_sets=tuple(c.policy_sets.values()),
        state_sets=tuple(c.state_sets()),
        counters=tuple(counters.items()),
        buckets=tuple(limiter.buckets(policy.ssh)),
        ssh_ports=facts.door.ports,
    )


COUNTERS = {
    "ban_ssh": "packets of banned sources to SSH, dropped",
    "ban_host": "packets of sources banned from the whole host, dropped",
    "deny": "packets of `deny`, dropped",
    "ssh_from": "SYNs to SSH from outside `from`, dropped",
    "ping": "echo requests accepted",
    "ping_over": "echo requests dropped",
    "other_icmp": "ICMP of other kinds, decided by other_icmp",
    "in_default": "inbound packets decided by the default",
    "out_default": "outbound packets decided by the default",
    "fwd_default": "forwarded packets decided by forward",
}


class _Compiler:
    def __init__(self, policy: Policy, facts: Facts) -> None:
        self.policy = policy
        self.firewall = policy.firewall
        self.facts = facts
        self.door = facts.door
        self.policy_sets: dict[str, PolicySet] = {}
        self.meters: list[StateSet] = []
        # `allow` may do anything, so it may also come in by SSH without a limit.
        friends = (*self.resolve(policy.ssh.trusted), *self.resolve(policy.firewall.allow))
        self.policy_set("door", friends)
        self.policy_set("allow", self.resolve(policy.firewall.allow))
        self.policy_set("deny", self.resolve(policy.firewall.deny))

    def resolve(self, addresses: Addresses) -> tuple[Prefix, ...]:
        return prefixes_of(addresses, self.facts.resolved)

    def origin(self, path: str) -> Origin | None:
        found = self.policy.origins.get(path)
        return found[-1] if found else None

    def policy_set(self, name: str, prefixes: Iterable[Prefix]) -> None:
        """Make the sets NAME4 and NAME6, each only if it would hold something."""
        merged = PrefixSet(prefixes)
        for version in (4, 6):
            if found := merged.prefixes(version):
                self.policy_sets[f"{name}{version}"] = PolicySet(f"{name}{version}", version, found)

    def in_policy_set(self, name: str, side: str = "saddr") -> Iterator[tuple[int, InSet]]:
        for version in (4, 6):
            if f"{name}{version}" in self.policy_sets:
                yield version, InSet(Key(version, side, BITS[version]), f"{name}{version}", shared=False)

    # -- the hooks, in the order of precedence

    def prerouting(self) -> Iterator[Rule]:
        yield from self.must_pass("pre")
        places = self.door.places(self.policy.ssh)
        if places is not None and not self.policy.ssh.observe:
            yield from aborted(places, self.door.port(), self.origin("ssh.reserve"))
        yield from self.friends("pre")
        for scope in (Scope.HOST, Scope.SSH):
            # Scope ssh means packets to this host's sshd: not our own connections out, not a guest's sshd.
            where: tuple[Part, ...] = (self.arriving(),) if scope is Scope.SSH else ()
            local: tuple[Part, ...] = (ToLocal(),) if scope is Scope.SSH else ()
            if scope is Scope.SSH and self.policy.ssh.observe:
                # Enforced, the SYN would have been the only packet: so no other one is counted.
                end: tuple[Part, ...] = (*local, limiter.SYN, Count(f"ban_{scope}"), Accept())
            else:
                end = (*local, Count(f"ban_{scope}"), Drop())
            yield from self.banned("", scope, where, end)

    def arriving(self) -> Port:
        """The SSH ports as packets arrive, before NAT sends some of them on."""
        at = self.door.port()
        more = tuple(Ports(p, p) for p in self.policy.ssh.published if p not in self.door.ports)
        return replace(at, ranges=(*at.ranges, *more)) if more else at

    def banned(self, chain: str, scope: Scope, where: tuple[Part, ...], end: tuple[Part, ...]) -> Iterator[Rule]:
        """What becomes of banned sources, in single and in wide sets."""
        counting = self.policy.ssh.counting
        for name, guard, key in keys(counting):
            found = InSet(key, names.ban(key.version, scope, counting), shared=True)
            yield Rule(f"{chain}ban.{scope}{name}", (*where, *(guard if name == "6x" else ()), found, *end))
        for version in (4, 6):
            net = InSet(Key(version, "saddr", BITS[version]), names.ban_net(version, scope), shared=True)
            yield Rule(f"{chain}ban.{scope}net{version}", (*where, net, *end))

    def input(self) -> Iterator[Rule]:
        ssh = self.origin("ssh.limit")
        # By loopback, from an address that is not ours: SYNPROXY and transparent proxies bring somebody else's connection so.
        yield Rule("in.lo", (Interface("iifname", "lo"), Protocol((6,), absent=True), Accept()))
        yield Rule("in.lo.tcp", (Interface("iifname", "lo"), replace(self.door.port(), absent=True), Accept()))
        yield from self.must_pass("in")
        if self.firewall.dhcp:
            at = self.origin("firewall.dhcp")
            yield Rule("in.dhcp4", (_udp("sport", 67), _udp("dport", 68), Accept()), at)
            link_local = Address(6, "saddr", (LINK_LOCAL6,))
            yield Rule("in.dhcp6", (link_local, _udp("sport", 547), _udp("dport", 546), Accept()), at)
        yield from self.friends("in")
        yield from self.denied("in")
        if self.policy.ssh.observe:  # counted in prerouting: the limiter would count them a second time
            yield from self.banned("in.", Scope.SSH, (self.door.port(), limiter.SYN), (Settle(), Accept()))
        yield from limiter.input_rules(self.policy.ssh, self.door, ssh)
        for version, friend in self.in_policy_set("allow"):
            yield Rule(f"in.allow{version}", (friend, Accept()), self.origin("firewall.allow"))
        # Before `established`: conntrack calls every echo request after a sender's first one established.
        for version in (4, 6):
            yield Rule(f"in.ping{version}", (Icmp(version, (ECHO[version],)), Goto("ping")), self.origin("firewall.ping"))
        yield Rule("in.answered", (ANSWERED, Accept()))
        yield from limiter.unknown_rules(self.policy.ssh, self.door, ssh)
        yield from self.rules("in")
        yield Rule("in.icmp", (Protocol((1, 58)), Count("other_icmp"), _verdict(self.firewall.other_icmp)),
                   self.origin("firewall.other_icmp"))  # fmt: skip
        yield Rule("in.default", (Count("in_default"), _verdict(self.firewall.default)), self.origin("firewall.default"))

    def output(self) -> Iterator[Rule]:
        yield from self.must_pass("out")
        yield from limiter.output_rules(self.policy.ssh, self.door, self.origin("ssh.reserve"))
        yield from limiter.close_rules(self.door, self.origin("ssh.limit"))
        yield Rule("out.answered", (ANSWERED, Accept()))
        # Replies of sshd pass whatever conntrack knows: after the first load it knows nothing of open sessions.
        replies = (self.door.port("sport"), Flags(("syn", "ack"), ("syn",), absent=True), Accept())
        yield Rule("out.ssh", replies)
        yield from self.rules("out")
        if self.firewall.output == "drop":
            at = self.origin("firewall.output")
            yield Rule("out.dns.udp", (_udp("dport", 53), Accept()), at)
            yield Rule("out.dns.tcp", (Port("dport", (Ports(53, 53),), 6), Accept()), at)
            yield Rule("out.dhcp4", (_udp("sport", 68), _udp("dport", 67), Accept()), at)
            yield Rule("out.dhcp6", (_udp("sport", 546), _udp("dport", 547), Accept()), at)
        yield Rule("out.default", (Count("out_default"), _verdict(self.firewall.output)), self.origin("firewall.output"))

    def forward(self) -> Iterator[Rule]:
        if self.policy.ssh.published:
            yield from self.friends("fwd")
        yield from self.denied("fwd")
        yield from published.rules(self.policy.ssh, self.origin("ssh.published"))
        rules = tuple(self.rules("forward"))
        drop = self.firewall.forward == "drop"
        if rules or drop:
            yield from self.must_pass("fwd")
            yield Rule("fwd.answered", (ANSWERED, Accept()))
        yield from rules
        verdict = "drop" if drop else "accept"
        yield Rule("fwd.default", (Count("fwd_default"), _verdict(verdict)), self.origin("firewall.forward"))

    # -- pieces

    def must_pass(self, chain: str) -> Iterator[Rule]:
        yield Rule(f"{chain}.icmp4", (Icmp(4, ICMP4_MUST), Accept()))
        yield Rule(f"{chain}.icmp6", (Icmp(6, ICMP6_MUST), Accept()))

    def friends(self, chain: str) -> Iterator[Rule]:
        """The floor, then who is trusted: on the SSH ports, before everything that could refuse them. In input, one source may not
        log in too often at the same time, since that would shut others out (`friends`).
        """
        # Settled in the input chain: a session goes on when its source is no friend any more.
        end: tuple[Part, ...] = (Settle(), Accept()) if chain == "in" else (Accept(),)
        if chain == "in" and self.door.places(self.policy.ssh) is not None:
            end = (Goto("friend"),)
        at: Part = self.arriving() if chain == "pre" else Published(self.policy.ssh.published) if chain == "fwd" else self.door.port()
        for name, guard, key in keys(self.policy.ssh.counting):
            floor = InSet(key, names.floor(key.version, self.policy.ssh.counting), shared=True)
            yield Rule(f"{chain}.floor{name}", (at, *(guard if name == "6x" else ()), floor, *end))
        origin = self.origin("ssh.trusted") or self.origin("firewall.allow")
        for version, friend in self.in_policy_set("door"):
            yield Rule(f"{chain}.trusted{version}", (at, friend, *end), origin)

    def denied(self, chain: str) -> Iterator[Rule]:
        for version, enemy in self.in_policy_set("deny"):
            yield Rule(f"{chain}.deny{version}", (enemy, Count("deny"), Drop()), self.origin("firewall.deny"))

    def ssh_from(self) -> Iterator[Rule]:
        """Who may reach SSH at all; asked at the SYN, so that open sessions go on."""
        if self.policy.ssh.sources.anywhere:
            return
        self.policy_set("from", self.resolve(self.policy.ssh.sources))
        origin = self.origin("ssh.from")
        # Observed, it passes, and is no connection of the limit's: enforced, there would be none.
        end: tuple[Part, ...] = (Settle(), Accept()) if self.policy.ssh.observe else (Drop(),)
        elsewhere = tuple(Interface("iifname", name, absent=True) for name in self.policy.ssh.interfaces)
        inside = dict(self.in_policy_set("from"))
        for version in (4, 6):
            outside = replace(inside[version], absent=True) if version in inside else Version(version)
            yield Rule(f"ssh.from{version}", (*elsewhere, outside, Count("ssh_from"), *end), origin)

    def ping_chain(self) -> Iterator[Chain]:
        ping = self.firewall.ping
        origin = self.origin("firewall.ping")
        if isinstance(ping, Rate):
            within = Within(ping.count, ping.window, max(PING_BURST, ping.count))
            yield Chain("ping", (
                Rule("ping.within", (within, Count("ping"), Accept()), origin),
                Rule("ping.over", (Count("ping_over"), Drop()), origin),
            ))  # fmt: skip
        else:
            counter = "ping" if ping == "accept" else "ping_over"
            yield Chain("ping", (Rule("ping.all", (Count(counter), _verdict(ping)), origin),))

    def rules(self, direction: str) -> Iterator[Rule]:
        for rule in self.firewall.rules:
            if rule.direction == direction:
                yield from self.rule(rule)

    def rule(self, rule: PolicyRule) -> Iterator[Rule]:
        """One policy rule as one or two kernel rules: an address list has a version, a rule need not."""
        for version in self.versions(rule):
            parts: list[Part] = []
            if rule.interface != "*":
                parts.append(Interface("oifname" if direction_out(rule) else "iifname", rule.interface))
            if version is not None and rule.source.anywhere and rule.to.anywhere:
                parts.append(Version(version))  # else the rule for IPv4 would decide IPv6 as well
            parts += _transport(rule)
            for side, addresses in (("saddr", rule.source), ("daddr", rule.to)):
                if not addresses.anywhere:
                    assert version is not None
                    found = PrefixSet(self.resolve(addresses)).prefixes(version)
                    parts.append(Address(version, side, found))
            suffix = f".{version}" if version else ""
            yield from self.action(rule, f"rule.{rule.name}{suffix}", tuple(parts), version)

    def versions(self, rule: PolicyRule) -> tuple[int | None, ...]:
        """IP versions a rule needs a kernel rule for; None where one serves both."""
        found = {4, 6}
        limited = False
        for addresses in (rule.source, rule.to):
            if not addresses.anywhere:
                limited = True
                found &= {p.version for p in self.resolve(addresses)}
        if rule.protocol in (1, 58):
            found &= {4 if rule.protocol == 1 else 6}
        if not limited and not (rule.action == "rate" and rule.per == "source"):
            return (None,)
        return tuple(sorted(found))

    def action(self, rule: PolicyRule, id_: str, parts: tuple[Part, ...], version: int | None) -> Iterator[Rule]:
        count = Count(names.rule_counter(rule.name))
        if rule.action == "rate" and rule.rate is not None:
            bucket = Within(rule.rate.count, rule.rate.window, rule.rate.count, over=True)
            if rule.per == "all":
                yield Rule(f"{id_}.over", (*parts, bucket, count, Drop()), rule.origin)
            else:
                assert version is not None
                for name, guard, key in keys(self.policy.ssh.counting):
                    if key.version == version:
                        meter = self.meter(rule, key)
                        take = Take(key, meter.name, update=True, over=bucket)
                        known = (g for g in guard if g not in parts)
                        yield Rule(f"{id_}.over{name}", (*parts, *known, take, count, Drop()), rule.origin)
            yield Rule(id_, (*parts, Accept()), rule.origin)
        elif rule.action == "reject":
            yield Rule(id_, (*parts, count, Reject(reset=rule.reject == "tcp-reset")), rule.origin)
        else:
            yield Rule(id_, (*parts, count, _verdict(rule.action)), rule.origin)

    def meter(self, rule: PolicyRule, key: Key) -> StateSet:
        assert rule.rate is not None
        name = names.meter(rule.name, key.version, rule.rate, self.policy.ssh.counting)
        found = StateSet(name, names.TYPE[key.version], ("dynamic", "timeout"), METER_SIZE, rule.rate.window)
        if found not in self.meters:
            self.meters.append(found)
        return found

    def state_sets(self) -> Iterator[StateSet]:
        yield from ban_sets(self.policy)
        for version in (4, 6):
            yield StateSet(names.floor(version, self.policy.ssh.counting), names.TYPE[version], ("timeout",))
        yield from limiter.state_sets(self.policy.ssh, self.door)
        yield from self.meters


def ban_sets(policy: Policy) -> Iterator[StateSet]:
    """The sets that hold bans; they exist under every policy."""
    for scope in (Scope.HOST, Scope.SSH):
        for version in (4, 6):
            yield StateSet(names.ban(version, scope, policy.ssh.counting), names.TYPE[version], ("timeout",))
            yield StateSet(names.ban_net(version, scope), names.TYPE[version], ("interval", "timeout"))


def direction_out(rule: PolicyRule) -> bool:
    """True if the rule looks at packets that leave this host's processes."""
    return rule.direction == "out"


def _transport(rule: PolicyRule) -> Iterator[Part]:
    if rule.ports is None:
        if rule.protocol is not None:
            yield Protocol((rule.protocol,))
    elif rule.protocol in (6, 17):
        yield Port("dport", rule.ports, rule.protocol)
    else:
        yield Protocol((6, 17) if rule.protocol is None else (rule.protocol,))
        yield Port("dport", rule.ports)


def _udp(side: str, port: int) -> Port:
    return Port(side, (Ports(port, port),), 17)


def _verdict(word: str) -> Accept | Drop:
    return Accept() if word == "accept" else Drop()
