"""`why`: what happens to a packet from an address, by which rule and policy line, and what the sets say of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from quietgate.errors import NotPermitted, QuietgateError
from quietgate.firewall import names
from quietgate.firewall.evaluate import Decision, Packet, World, decide, decide_sent
from quietgate.firewall.rules import Hook
from quietgate.generations.deciding import Deciding, deciding
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import drifted
from quietgate.generations.plan import Prepared, prepare
from quietgate.host import other_firewalls, sockets
from quietgate.host.netlink import SetWriter
from quietgate.host.other_firewalls import Published
from quietgate.host.scratch import paths_to
from quietgate.inspect.prove import Proved, prove
from quietgate.net import BITS, Prefix, parse_address
from quietgate.rollout.rehearsal import Probe, State
from quietgate.values import Ban, Element, Guess, Login

SHOWN = 10  # attempts and logins of one source


@dataclass(frozen=True, slots=True)
class SetState:
    """What one set in the kernel says of the address. `left` in seconds, None for ever or not held."""

    name: str
    address: Prefix
    held: bool
    left: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer. `decision` is what our rules say; `certain`: nothing that could change it was left out, so it is what happens.

    `looked_at` and `not_looked_at` say in words what was, and what was not. `kernel` False: nothing but the policy on disk was (no root).
    `up` False: nothing is in force, and the answer is for after `up`. `trial`: the candidate decides. `sent`: NAT sends the packet on to a
    container or guest. `listening` False: nothing listens on that port here; None where it was not asked.

    `wrong`: a line about a mistake in the policy on disk. `after`: what would be decided after `up`, where that is something else.
    """

    address: Prefix
    source: Prefix
    port: int
    protocol: str
    decision: Decision
    sets: tuple[SetState, ...]
    slots_used: int | None
    slots: int | None
    next_slot: float | None
    bans: tuple[Ban, ...]
    up: bool
    kernel: bool
    policy_differs: bool
    proved: Proved | None = None
    history: tuple[Guess, ...] = ()
    logins: tuple[Login, ...] = ()
    generation: int | None = None
    trial: bool = False
    sent: Published | None = None
    listening: bool | None = None
    looked_at: tuple[str, ...] = ()
    not_looked_at: tuple[str, ...] = ()
    wrong: str = ""
    after: Decision | None = None

    @property
    def certain(self) -> bool:
        """True if the decision is what happens to the packet now."""
        return self.up and not self.not_looked_at


class _Kernel:
    """The kernel's sets as a World; buckets count as full, or all as empty."""

    def __init__(self, get: Callable[[str, bytes], Element | None], *, empty: bool = False) -> None:
        self._get = get
        self._empty = empty
        self.seen: dict[tuple[str, int, int], Element | None] = {}

    def holds(self, name: str, version: int, address: int) -> bool:
        key = (name, version, address)
        if key not in self.seen:
            self.seen[key] = self._get(name, address.to_bytes(BITS[version] // 8, "big"))
        return self.seen[key] is not None

    def holds_flow(self, name: str, packet: Packet) -> bool:  # noqa: ARG002  a new connection is no flow yet
        return False

    def take(self, name: str, version: int, address: int) -> bool:  # noqa: ARG002  asking takes nothing
        return True

    def token(self, bucket: str) -> bool:  # noqa: ARG002  how full a bucket is, the kernel does not tell
        return not self._empty

    def waits(self, name: str, packet: Packet) -> bool:  # noqa: ARG002  a new connection has no place yet
        return False

    def place(self, name: str, packet: Packet) -> bool:  # noqa: ARG002  asking takes nothing
        return True

    def leave(self, name: str, packet: Packet) -> None:
        """Nothing to give back."""

    def free(self, name: str, version: int, address: int) -> None:
        """Asking changes nothing."""

    def remember(self, name: str, packet: Packet) -> None:
        """Asking takes nothing."""

    def forget(self, name: str, packet: Packet, *, back: bool) -> None:
        """Nothing to take out."""


PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}


@dataclass(frozen=True, slots=True)
class _Question:
    """A packet, the policy that answers, and what the kernel's sets hold."""

    packet: Packet
    told: Deciding
    get: Callable[[str, bytes], Element | None]
    memory: World | None = None

    def decide(self, prepared: Prepared, sent: Published | None, *, empty: bool = False) -> tuple[Decision, _Kernel]:
        """What these rules say of it, and the sets that were asked. `empty`: with every rate used up."""
        world = _Kernel(self.get, empty=empty)
        asked = self.memory or world
        if sent is None:
            return decide(prepared.ruleset, self.packet, asked), world
        return decide_sent(prepared.ruleset, self.packet, asked, parse_address(sent.address), sent.inside), world


def why(parts: Parts, address: Prefix, port: int | None = None, protocol: str = "tcp", interface: str | None = None, *,
        proving: bool = False) -> Explanation:  # fmt: skip
    """What happens to the first packet of a new connection from `address`, by what is in force; with nothing in force, after `up`.

    `interface` None is the one by which this host answers that address. Raises QuietgateError: for a bad policy where nothing is in force.
    """
    kernel = True
    try:
        told, sets = deciding(parts), SetWriter()
    except NotPermitted:
        written = prepare(parts.paths)
        told, sets, kernel = Deciding(written, None, None, False, written), None, False
    prepared = told.prepared
    with sets or contextlib.nullcontext():
        packet = _packet(address, prepared.ports.ports[0] if port is None else port, protocol, interface)
        question = _Question(packet, told, sets.get if sets and told.number is not None else lambda _name, _key: None,
                             _remembered(parts, prepared, address) if kernel and told.number is None else None)  # fmt: skip
        decision, world = question.decide(prepared, None)
        # What a ban stops in prerouting, nobody sees after us: then there is no need to look around.
        alone = not kernel or (decision.hook is Hook.PREROUTING and decision.verdict != "accept" and not proving)
        around = other_firewalls.Around((), (), (), ()) if alone else other_firewalls.around()
        sent = around.sent_on(address.version, protocol, packet.dport)
        surely = sent if sent is not None and sent.sure else None
        if surely is not None:
            decision, world = question.decide(prepared, surely)
        used = _slots(prepared, address, world) if kernel and told.faithful else None
        limited, _ = question.decide(prepared, surely, empty=True)
        after = question.decide(told.written, surely)[0] if told.differs and told.written else None
    proved = _proved(parts, prepared, address, packet.dport, around) if proving else None
    looked: list[str] = []
    missed: list[str] = []
    if kernel:
        looked, missed = _looked(parts, told, packet, decision, around, sent, proved)
        if limited.verdict != decision.verdict:
            missed.append(f"how much of its rate is used up, over which rule {limited.rule.id} would stop it")
    else:
        looked, missed = ["the policy on disk"], ["what is in force, our sets in the kernel, other tools' tables: that needs root"]
    source = prepared.policy.ssh.counting.source_of(address)
    history, logins = _story(parts, source)
    states = tuple(
        SetState(name, Prefix(version, value, BITS[version]), element is not None, element.left if element else None)
        for (name, version, value), element in world.seen.items()
    )
    limit = prepared.policy.ssh.limit
    held = [left for left in used or () if left is not None]
    return Explanation(
        address=address,
        source=source,
        port=packet.dport,
        protocol=protocol,
        decision=decision,
        sets=tuple(s for s in states if s.held),
        slots_used=None if used is None else len(held),
        slots=limit.count if limit else None,
        next_slot=min(held, default=None),
        bans=_bans(parts, address),
        up=told.number is not None,
        kernel=kernel,
        policy_differs=told.differs,
        history=history,
        logins=logins,
        proved=proved,
        generation=told.number,
        trial=told.trial,
        sent=sent,
        listening=_listening(packet) if surely is None else None,
        looked_at=tuple(looked),
        not_looked_at=tuple(missed),
        wrong=told.wrong,
        after=after if after is not None and (after.verdict, after.rule.id) != (decision.verdict, decision.rule.id) else None,
    )


def _packet(address: Prefix, port: int, protocol: str, interface: str | None) -> Packet:
    number = PROTOCOLS[protocol]
    if number == 1 and address.version == 6:
        number = 58
    way = None
    with contextlib.suppress(QuietgateError):
        way = paths_to([address]).get(address)
    return Packet(
        src=address,
        dst=way.local if way else Prefix(address.version, 1, BITS[address.version]),
        protocol=number,
        sport=40000,
        dport=0 if protocol == "icmp" else port,
        flags=frozenset({"syn"}) if protocol == "tcp" else frozenset(),
        icmp_type=(8 if address.version == 4 else 128) if protocol == "icmp" else 0,
        iif=interface or (way.interface if way else "eth0"),
        expires=120.0,
    )


def _looked(parts: Parts, told: Deciding, packet: Packet, decision: Decision, around: other_firewalls.Around, sent: Published | None,
            proved: Proved | None) -> tuple[list[str], list[str]]:  # fmt: skip
    """What the answer goes by, and what it leaves out, in words. What can only drop a packet does not matter to one that we drop."""
    looked, missed = [], []
    if told.number is None:
        looked.append("the policy on disk, and what the database remembers")
    elif told.faithful:
        looked += [f"generation {told.number}, which {'is on trial' if told.trial else 'is in force'}", "our sets in the kernel"]
        if told.record is not None and drifted(parts.nft, told.record) is True:
            missed.append("what somebody changed in our table since it was loaded, which `quietgate up` mends")
    else:
        looked.append("the policy on disk")
        missed.append(f"generation {told.number}, which is in force and which the disk does not have: quietgate up")
    if decision.hook is Hook.PREROUTING and decision.verdict != "accept":
        return looked, missed
    if sent is not None:
        looked.append(f"NAT, which sends {'' if sent.sure else 'some packets for '}this port on to {sent}")
        if not sent.sure:
            missed.append(f"whether NAT sends this one on to {sent}, past the input rules")
    elif rule := around.unread_for(packet.dport):
        missed.append(f"where NAT sends it: {rule}")
    else:
        looked.append("NAT, which leaves it on this host")
    if decision.verdict == "accept":
        tables = around.stopping(packet.src.version, frozenset({"ingress", "prerouting", "forward" if sent else "input"}))
        if not tables:
            looked.append("other tools' tables: none may drop it")
        elif proved is not None and not proved.unknown:
            looked.append("other tools' tables, with a real packet")
        else:
            missed += tables
    return looked, missed


def _listening(packet: Packet) -> bool | None:
    """True if something listens there, on an address that others reach."""
    if packet.protocol not in (6, 17):
        return None
    try:
        found = sockets.listeners() if packet.protocol == 6 else sockets.udp_listeners()
    except QuietgateError:
        return None
    return any(x.port == packet.dport and (x.wildcard or (x.address is not None and not str(x.address).startswith(("127.", "::1"))))
               for x in found)  # fmt: skip


def _remembered(parts: Parts, prepared: Prepared, address: Prefix) -> World | None:
    """What the sets will hold after `up`, as far as it touches the address; None where there is no database to ask."""
    try:
        with parts.look() as store:
            return State.of(prepared, store, [Probe(address, 0, "asked for")], time.time()).memory()
    except QuietgateError:
        return None


def _proved(parts: Parts, prepared: Prepared, address: Prefix, port: int, around: other_firewalls.Around) -> Proved:
    with parts.store() as store:
        return prove(prepared, store, address, port, time.time(), around)


def _slots(prepared: Prepared, address: Prefix, world: _Kernel) -> list[float | None]:
    """Seconds left in each slot set that holds the source, None where it is free."""
    ssh = prepared.policy.ssh
    source = ssh.counting.source_of(address)
    found: list[float | None] = []
    for index in range(1, (ssh.limit.count if ssh.limit else 0) + 1):
        assert ssh.limit is not None
        name = names.slot(address.version, index, ssh.limit.window, ssh.counting, ssh.slots)
        held = world.holds(name, source.version, source.value)
        element = world.seen[(name, source.version, source.value)]
        found.append(element.left if held and element else None)
    return found


def _story(parts: Parts, source: Prefix) -> tuple[tuple[Guess, ...], tuple[Login, ...]]:
    """What the store remembers of a source: its last attempts, and the logins from it."""
    try:
        with parts.look() as store:
            logins = [x for x in (*store.logins(0.0), *store.remembered(0.0)) if source.covers(x.address)]
            return tuple(store.attempts(source, SHOWN)), tuple(logins[:SHOWN])
    except QuietgateError:
        return (), ()


def _bans(parts: Parts, address: Prefix) -> tuple[Ban, ...]:
    try:
        with parts.look() as store:
            return tuple(store.covering(address, time.time()))
    except QuietgateError:
        return ()  # no store yet, or not ours to read: `kernel` tells
