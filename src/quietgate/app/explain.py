"""`why`: what happens to a packet from an address, by which rule and policy line, and what the sets say of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from quietgate.app.inside import in_force, look
from quietgate.app.parts import Parts
from quietgate.app.prepare import Prepared, prepare
from quietgate.app.rehearse import Proved
from quietgate.errors import NotPermitted, QuietgateError
from quietgate.firewall import names
from quietgate.firewall.evaluate import Decision, Packet, decide
from quietgate.host.netlink import SetWriter
from quietgate.host.store import Store
from quietgate.net import BITS, Prefix
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
    """The answer. `kernel` False: the sets were not looked at (no root, or not up) and taken as empty."""

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


class _Kernel:
    """The kernel's sets as a World; buckets count as full."""

    def __init__(self, get: Callable[[str, bytes], Element | None]) -> None:
        self._get = get
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
        return True

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


def why(parts: Parts, address: Prefix, port: int | None = None, protocol: str = "tcp", interface: str = "eth0", *,
        prove: bool = False) -> Explanation:  # fmt: skip
    """What happens to the first packet of a new connection from `address`. Raises QuietgateError for a bad policy."""
    prepared = prepare(parts.paths)
    port = prepared.ports.ports[0] if port is None else port
    number = PROTOCOLS[protocol]
    if number == 1 and address.version == 6:
        number = 58
    packet = Packet(
        src=address,
        dst=Prefix(address.version, 1, BITS[address.version]),
        protocol=number,
        sport=40000,
        dport=0 if protocol == "icmp" else port,
        flags=frozenset({"syn"}) if protocol == "tcp" else frozenset(),
        icmp_type=(8 if address.version == 4 else 128) if protocol == "icmp" else 0,
        iif=interface,
        expires=120.0,
    )
    record, kernel = None, True
    try:
        record = in_force(parts.generations, look(parts.nft))
        writer = SetWriter()
    except NotPermitted:
        kernel = False
    if not kernel or record is None:
        world = _Kernel(lambda _name, _key: None)
        decision = decide(prepared.ruleset, packet, world)
        used = None
    else:
        with writer:
            world = _Kernel(writer.get)
            decision = decide(prepared.ruleset, packet, world)
            used = _slots(prepared, address, world)
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
        up=record is not None,
        kernel=kernel,
        policy_differs=record is not None and record.digest != prepared.digest,
        history=history,
        logins=logins,
        proved=_proved(parts, prepared, address, packet.dport) if prove else None,
    )


def _proved(parts: Parts, prepared: Prepared, address: Prefix, port: int) -> Proved:
    from quietgate.app.rehearse import prove

    with parts.store() as store:
        return prove(prepared, store, address, port, time.time())


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
        with Store(parts.paths.store, read_only=True) as store:
            logins = [x for x in store.logins(0.0) if source.covers(x.address)]
            return tuple(store.attempts(source, SHOWN)), tuple(logins[:SHOWN])
    except QuietgateError:
        return (), ()


def _bans(parts: Parts, address: Prefix) -> tuple[Ban, ...]:
    try:
        with Store(parts.paths.store, read_only=True) as store:
            return tuple(store.covering(address, time.time()))
    except QuietgateError:
        return ()  # no store yet, or not ours to read: `kernel` tells
