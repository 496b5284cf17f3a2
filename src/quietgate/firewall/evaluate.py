"""Packet -> decision: the rule model run as the kernel runs it.

Used by `why`, and held against the kernel with real packets by a test. What the kernel knows and a packet does not
(sets, conntrack, sockets) is asked of a `World`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from quietgate.firewall import rules as r
from quietgate.net import BITS, Prefix, PrefixSet


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet and what conntrack and the socket table say of it.

    `protocol` is the transport's number; ports are 0 where it has none; `flags` are the TCP flags set. `tracked` is
    conntrack's state, `settled` whether its entry bears our label; `expires` the seconds its entry has left, None without an entry.
    `socket` is "none", "listener" (bound to no address), "bound" (a listener bound to one) or "full". `own`: it comes from an address
    of this host. `published`: the port of this host that it came to, where NAT has sent it on; 0 where it has not.
    """

    src: Prefix
    dst: Prefix
    protocol: int
    sport: int = 0
    dport: int = 0
    flags: frozenset[str] = frozenset()
    icmp_type: int = 0
    iif: str = ""
    oif: str = ""
    tracked: str = "new"
    original: bool = True
    assured: bool = False
    settled: bool = False
    expires: float | None = None
    socket: str = "none"
    to_local: bool = True
    own: bool = False
    published: int = 0

    def __post_init__(self) -> None:
        if self.src.version != self.dst.version or not self.src.single or not self.dst.single:
            raise ValueError(f"no packet goes from {self.src} to {self.dst}")


class World(Protocol):
    """What the kernel remembers."""

    def holds(self, name: str, version: int, address: int) -> bool:
        """True if the shared set `name` holds this (masked) address."""

    def holds_flow(self, name: str, packet: Packet) -> bool:
        """True if the shared set `name` holds the packet's two ends."""

    def take(self, name: str, version: int, address: int) -> bool:
        """Put the address into the shared set; False if the set is full. Idempotent."""

    def free(self, name: str, version: int, address: int) -> None:
        """Take the address out of the shared set. Idempotent."""

    def token(self, bucket: str) -> bool:
        """Take a token out of a bucket; False if it is empty."""

    def waits(self, name: str, packet: Packet) -> bool:
        """True if the packet's connection holds one of the places `name`."""

    def place(self, name: str, packet: Packet) -> bool:
        """Give the packet's connection a place, if it has none; False if none is free. Idempotent."""

    def leave(self, name: str, packet: Packet) -> None:
        """Take the place of the packet's connection back. Idempotent."""

    def remember(self, name: str, packet: Packet) -> None:
        """Put the packet's two ends into the shared set `name`. Idempotent."""

    def forget(self, name: str, packet: Packet, *, back: bool) -> None:
        """Take them out (`back`: those of the other direction). Idempotent."""


@dataclass(slots=True)
class Memory:
    """A world in memory: sets that only the caller and `add` change, buckets that are full unless named empty."""

    sets: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    nets: dict[str, PrefixSet] = field(default_factory=dict)
    flows: set[tuple[str, Prefix, int, Prefix, int]] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    places: set[tuple[str, frozenset[tuple[Prefix, int]]]] = field(default_factory=set)

    def holds(self, name: str, version: int, address: int) -> bool:
        if name in self.nets:
            return Prefix(version, address, BITS[version]) in self.nets[name]
        return (version, address) in self.sets.get(name, set())

    def holds_flow(self, name: str, packet: Packet) -> bool:
        return (name, packet.src, packet.sport, packet.dst, packet.dport) in self.flows

    def take(self, name: str, version: int, address: int) -> bool:
        if name in self.full:
            return False
        self.sets.setdefault(name, set()).add((version, address))
        return True

    def free(self, name: str, version: int, address: int) -> None:
        self.sets.get(name, set()).discard((version, address))

    def token(self, bucket: str) -> bool:
        return bucket not in self.empty

    def waits(self, name: str, packet: Packet) -> bool:
        return (name, *_ends(packet)) in self.places

    def place(self, name: str, packet: Packet) -> bool:
        if name in self.full and not self.waits(name, packet):
            return False
        self.places.add((name, *_ends(packet)))
        return True

    def leave(self, name: str, packet: Packet) -> None:
        self.places.discard((name, *_ends(packet)))

    def remember(self, name: str, packet: Packet) -> None:
        self.flows.add((name, packet.src, packet.sport, packet.dst, packet.dport))

    def forget(self, name: str, packet: Packet, *, back: bool) -> None:
        near, far = (packet.src, packet.sport), (packet.dst, packet.dport)
        self.flows.discard((name, *far, *near) if back else (name, *near, *far))


def _ends(packet: Packet) -> tuple[frozenset[tuple[Prefix, int]]]:
    """A connection, whichever way the packet goes."""
    return (frozenset(((packet.src, packet.sport), (packet.dst, packet.dport))),)


@dataclass(frozen=True, slots=True)
class Asked:
    """A set that was asked, the address it was asked for, and what it said."""

    set: str
    address: Prefix
    held: bool


@dataclass(slots=True)
class Decision:
    """What happens to a packet. `verdict` is accept, drop, reject or reset; `rule` decided, in chain `chain`.

    `passed` are the ids of all rules that matched on the way, `asked` the sets that were looked at, `settled` whether the
    connection bears our label afterwards, `counted` the counters that went up, `logged` the log prefixes written.
    """

    verdict: str
    rule: r.Rule
    hook: r.Hook
    settled: bool
    passed: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)


LOOPBACK = r.Rule("loopback", (r.Accept(),))
INBOUND = (r.Hook.PREROUTING, r.Hook.INPUT)
FORWARDED = (r.Hook.PREROUTING, r.Hook.FORWARD)
OUTBOUND = (r.Hook.OUTPUT,)


def decide(ruleset: r.Ruleset, packet: Packet, world: World, hooks: Iterable[r.Hook] = INBOUND) -> Decision:
    """Run a packet through the hooks it passes; the first that does not accept it decides."""
    run = _Run(ruleset, packet, world)
    decision = None
    for hook in hooks:
        decision = run.hook(hook)
        if decision.verdict != "accept":
            break
    if decision is None:
        raise ValueError("a packet passes at least one hook")
    return decision


def decide_sent(ruleset: r.Ruleset, packet: Packet, world: World, to: Prefix, port: int) -> Decision:
    """The same, of a packet that NAT sends on to another host after our prerouting (-300) and before forward: the input chain never
    sees it.
    """
    first = decide(ruleset, packet, world, (r.Hook.PREROUTING,))
    if first.verdict != "accept":
        return first
    sent = replace(packet, dst=to, dport=port, settled=first.settled, to_local=False, socket="none")
    then = decide(ruleset, sent, world, (r.Hook.FORWARD,))
    then.passed[:0], then.asked[:0] = first.passed, first.asked
    return then


class _Run:
    def __init__(self, ruleset: r.Ruleset, packet: Packet, world: World) -> None:
        self.chains = {c.name: c for c in ruleset.chains}
        self.policy_sets = {s.name: PrefixSet(s.prefixes) for s in ruleset.policy_sets}
        self.packet = packet
        self.world = world
        self.settled = packet.settled and packet.expires is not None
        self.passed: list[str] = []
        self.asked: list[Asked] = []
        self.counted: list[str] = []
        self.logged: list[str] = []

    def hook(self, hook: r.Hook) -> Decision:
        loop = self.packet.oif if hook is r.Hook.OUTPUT else self.packet.iif
        if loop == "lo" and hook is not r.Hook.FORWARD and (hook is not r.Hook.INPUT or self.packet.own):
            return self._decision("accept", LOOPBACK, hook)
        chain = self.chains[r.ENTRY[hook]]
        found = self._chain(chain)
        verdict, rule = found or ("accept", chain.rules[-1] if chain.rules else LOOPBACK)
        return self._decision(verdict, rule, hook)

    def _decision(self, verdict: str, rule: r.Rule, hook: r.Hook) -> Decision:
        return Decision(verdict, rule, hook, self.settled, self.passed, self.asked, self.counted, self.logged)

    def _chain(self, chain: r.Chain) -> tuple[str, r.Rule] | None:
        for rule in chain.rules:
            found = self._rule(rule)
            if found == "return":
                return None
            if isinstance(found, tuple):
                return found
        return None

    def _rule(self, rule: r.Rule) -> tuple[str, r.Rule] | str | None:
        for part in rule.parts:
            match part:
                case r.Count(name):
                    self.counted.append(name)
                case r.Log(prefix, _):
                    self.logged.append(prefix)
                case r.Settle():
                    self.settled = self.packet.expires is not None
                case r.Leave(name):
                    self.world.leave(name, self.packet)
                case r.Free(key, name):
                    masked = self._key(key)
                    if masked is None:
                        return None
                    self.world.free(name, masked.version, masked.value)
                case r.Finish():
                    self.packet = replace(self.packet, flags=frozenset({"fin", "ack"}))
                case r.Remember(version, name):
                    if self._tcp(version):
                        self.world.remember(name, self.packet)
                case r.Forget(version, name, back):
                    if self._tcp(version):
                        self.world.forget(name, self.packet, back=back)
                case r.Return():
                    self.passed.append(rule.id)
                    return "return"
                case r.Accept():
                    return self._end("accept", rule)
                case r.Drop():
                    return self._end("drop", rule)
                case r.Reject(reset):
                    return self._end("reset" if reset else "reject", rule)
                case r.Goto(chain):
                    self.passed.append(rule.id)
                    return self._chain(self.chains[chain]) or "return"
                case r.Jump(chain):
                    self.passed.append(rule.id)
                    found = self._chain(self.chains[chain])
                    if found is not None:
                        return found
                case _:
                    if not self._matches(part, rule):
                        return None
        self.passed.append(rule.id)
        return None

    def _tcp(self, version: int) -> bool:
        return self.packet.protocol == 6 and self.packet.src.version == version

    def _end(self, verdict: str, rule: r.Rule) -> tuple[str, r.Rule]:
        self.passed.append(rule.id)
        return verdict, rule

    def _matches(self, part: r.Match, rule: r.Rule) -> bool:
        p = self.packet
        tcp = p.protocol == 6
        match part:
            case r.Version(version):
                return p.src.version == version
            case r.Interface(way, name, absent):
                return _named(p.oif if way == "oifname" else p.iif, name) is not absent
            case r.Protocol(numbers, absent):
                return (p.protocol in numbers) is not absent
            case r.Port(side, ranges, protocol, absent):
                port = p.dport if side == "dport" else p.sport
                return (protocol is None or p.protocol == protocol) and any(x.low <= port <= x.high for x in ranges) is not absent
            case r.Address(version, side, prefixes, absent):
                address = p.src if side == "saddr" else p.dst
                return address.version == version and any(x.covers(address) for x in prefixes) is not absent
            case r.InSet(key, name, shared, absent):
                masked = self._key(key)
                return masked is not None and self._held(masked, key, name, shared=shared) is not absent
            case r.Tuple4(version, name):
                return tcp and p.src.version == version and self.world.holds_flow(name, p)
            case r.Flags(mask, value, absent):
                return tcp and ((p.flags & set(mask)) == set(value)) is not absent
            case r.State(states):
                return p.tracked in states
            case r.Published(ports):
                return tcp and p.published in ports
            case r.Assured():
                return p.assured
            case r.Original():
                return p.expires is not None and p.original
            case r.Expires(seconds, longer):
                return p.expires is not None and (p.expires > seconds) is longer
            case r.Settled():
                return self.settled
            case r.Icmp(version, types):
                return p.src.version == version and p.protocol == (1 if version == 4 else 58) and p.icmp_type in types
            case r.Socket(wildcard):
                return p.socket == "listener" if wildcard else p.socket in ("full", "bound")
            case r.ToLocal():
                return p.to_local
            case r.Within(over=over):
                return self.world.token(rule.id) is not over
            case r.Bucket(name):
                return self.world.token(name)
            case r.Waits(name, absent):
                return p.expires is not None and self.world.waits(name, p) is not absent
            case r.Place(name):
                return p.expires is not None and self.world.place(name, p)
            case r.Take(key, name, once, update, over):
                return self._take(key, name, once=once, update=update, over=over is not None)
            case _:
                raise AssertionError(part)

    def _key(self, key: r.Key) -> Prefix | None:
        address = self.packet.src if key.side == "saddr" else self.packet.dst
        return Prefix.of(key.version, address.value, key.length) if address.version == key.version else None

    def _held(self, masked: Prefix, key: r.Key, name: str, *, shared: bool) -> bool:
        if not shared:
            return masked in self.policy_sets[name]
        held = self.world.holds(name, key.version, masked.value)
        self.asked.append(Asked(name, masked, held))
        return held

    def _take(self, key: r.Key, name: str, *, once: bool, update: bool, over: bool) -> bool:
        masked = self._key(key)
        if masked is None:
            return False
        held = self.world.holds(name, key.version, masked.value)
        self.asked.append(Asked(name, masked, held))
        if not held and not self.world.take(name, key.version, masked.value):
            return False
        if over:
            return not self.world.token(f"{name} {masked}")
        return not held if once else (update or not held)


def _named(interface: str, pattern: str) -> bool:
    return interface.startswith(pattern[:-1]) if pattern.endswith("*") else interface == pattern
