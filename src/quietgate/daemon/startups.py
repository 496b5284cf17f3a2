"""The places in sshd, held against the sockets themselves: the kernel's sets are right by packets, and this makes them right by fact.

Each second, where anybody is logging in:
- a place whose connection is gone is free (a reset without ACK, a flushed conntrack: firewall/places);
- a connection that has not logged in has its place, also one that conntrack does not know; where none is left it is ended;
- an exempt source's tokens last as long as its connections: by themselves they would end after a few seconds;
- who only sits there is ended when places are short (guard/startups).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from quietgate.daemon.context import Shared
from quietgate.errors import KernelError, QuietgateError
from quietgate.firewall.limiter import Door
from quietgate.firewall.places import OWN_FOR, Places
from quietgate.guard.startups import Waiting, to_end
from quietgate.host import conntrack, sockets
from quietgate.host.netlink import SetWriter, ends
from quietgate.host.sessions import authenticated
from quietgate.net import BITS, Prefix
from quietgate.values import Flow

EVERY = 1.0  # seconds between two sweeps
GREETING = 300  # bytes: a client's version line is at most 255 (RFC 4253 4.2), what follows it is longer than the rest
ASK_AGAIN = 5.0  # seconds after which it is asked again whether somebody has logged in over a connection
MOST = 512  # connections looked at in one sweep: sshd's MaxStartups, and some that it has not accepted yet


def places_of(shared: Shared) -> Places | None:
    """How sshd's MaxStartups is shared out under the policy in force."""
    ports = shared.prepared.ports
    return Door(ports.ports, ports.bound, ports.begin, ports.grace).places(shared.policy.ssh)


def give_back(sets: SetWriter, places: Places, flow: Flow) -> None:
    """Free whatever this connection holds: somebody has logged in over it. Idempotent. Raises KernelError."""
    key = conntrack.entry_id(flow)
    if key is None:
        return
    for tokens, counting in ((places.shares(), places.networks), (places.owns(), places.counting)):
        for connections, sources in tokens:
            if sets.get(connections, key) is not None:
                sets.delete(sources[flow.peer.version], [_key(counting.source_of(flow.peer))])
                sets.delete(connections, [key])
    sets.delete(places.sitting(flow.peer.version), [ends(flow)])
    sets.delete(places.set, [key])


def _key(source: Prefix) -> bytes:
    return source.value.to_bytes(BITS[source.version] // 8, "big")


def _stand_in(flow: Flow) -> bytes:
    """The key of a connection that conntrack does not know."""
    return (flow.cookie & 0xFFFFFFFF).to_bytes(4, "little")


@dataclass(slots=True)
class _Seen:
    """A connection from one sweep to the next."""

    since: float
    asked: float = 0.0
    logged_in: bool = False


@dataclass(slots=True)
class Startups:
    """Sweeps. `ended`: connections that were ended; `freed`: places that no packet had freed."""

    shared: Shared
    ended: int = 0
    freed: int = 0
    _seen: dict[int, _Seen] = field(default_factory=dict)  # by cookie
    _gone: set[tuple[str, bytes]] = field(default_factory=set)  # set and key that the last sweep found without a connection
    _held: bool = True  # something was held when we last looked

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                self.sweep(time.monotonic())
                self.shared.trouble("places", "")
            except QuietgateError as error:
                # Without our table there is nothing to keep right; that it is missing is said elsewhere.
                if not (isinstance(error, KernelError) and error.errno == errno.ENOENT):
                    self.shared.trouble("places", error.message)

    def sweep(self, now: float) -> None:
        """One of them. Raises KernelError."""
        places = places_of(self.shared)
        if places is None:
            return
        sets = self.shared.sets
        # The sets first: whoever takes a place after that is not missed among the sockets.
        busy = self._held or any(not s.logged_in for s in self._seen.values())
        held = {name: sets.keys(name) for name in (self._names(places) if busy else [places.set])}
        sitting = sockets.sitting(frozenset(self.shared.prepared.ports.ports))
        self._note((f for f, _ in sitting), now)
        self._held = any(held.values())
        open_now = [(f, n) for f, n in sitting if not self._seen[f.cookie].logged_in]
        open_now = sorted(open_now, key=lambda one: not one[0].inode)[:MOST]  # who sits in sshd before who is in a handshake
        if not self._held and not open_now:
            return
        self._ask(
            [f for f, _ in open_now if now - self._seen[f.cookie].asked >= ASK_AGAIN and now - self._seen[f.cookie].since >= EVERY], now
        )
        logging_in = [(f, n) for f, n in open_now if not self._seen[f.cookie].logged_in]
        ids = {f.cookie: conntrack.entry_id(f) or _stand_in(f) for f, _ in logging_in}
        self._free(places, held, [f for f, _ in logging_in], ids)
        exempt = {f.cookie for f, _ in logging_in if not self.shared.engine.is_stranger(places.counting.source_of(f.peer))}
        for flow, _ in logging_in:
            if flow.cookie in exempt:
                self._renew(places, held, flow, ids[flow.cookie])
        if self.shared.policy.ssh.observe or self.shared.engine.settings.observe:
            return
        for flow, _ in logging_in:
            if (
                flow.cookie not in exempt
                and ids[flow.cookie] not in held.get(places.set, set())
                and now - self._seen[flow.cookie].since >= EVERY
            ):
                self._place(places, flow, ids[flow.cookie], now)
        self._shorten(places, [(f, n) for f, n in logging_in if f.inode], exempt, now)

    @staticmethod
    def _names(places: Places) -> list[str]:
        found = [places.set, places.sitting(4), places.sitting(6)]
        for connections, sources in (*places.shares(), *places.owns()):
            found += [connections, *sources.values()]
        return found

    def _note(self, flows: Iterable[Flow], now: float) -> None:
        there = {f.cookie for f in flows}
        for cookie in [c for c in self._seen if c not in there]:
            del self._seen[cookie]
        for cookie in there:
            self._seen.setdefault(cookie, _Seen(now))

    def _ask(self, flows: list[Flow], now: float) -> None:
        """Has anybody logged in over these? It takes a look at all processes, so it is asked rarely."""
        if not flows:
            return
        found = authenticated(flows)
        places = places_of(self.shared)
        for flow in flows:
            seen = self._seen[flow.cookie]
            seen.asked, seen.logged_in = now, flow.cookie in found
            if seen.logged_in and places is not None:
                give_back(self.shared.sets, places, flow)

    def _free(self, places: Places, held: dict[str, set[bytes]], flows: list[Flow], ids: dict[int, bytes]) -> None:
        """What is held and has no connection, in two sweeps one after the other: between our two looks one may have begun."""
        living = set(ids.values())
        gone: set[tuple[str, bytes]] = {(places.set, key) for key in held[places.set] - living}
        for version in (4, 6):
            sitting = places.sitting(version)
            gone |= {(sitting, key) for key in held.get(sitting, set()) - {ends(f) for f in flows if f.peer.version == version}}
        for connections, sources in places.shares():
            if connections not in held:
                continue
            gone |= {(connections, key) for key in held[connections] - living}
            for version, name in sources.items():
                taken = {
                    _key(places.networks.source_of(f.peer))
                    for f in flows
                    if f.peer.version == version and ids[f.cookie] in held[connections]
                }
                gone |= {(name, key) for key in held[name] - taken}
        for name, key in gone & self._gone:
            self.shared.sets.delete(name, [key])
            self.freed += name == places.set
        self._gone = gone - self._gone

    def _renew(self, places: Places, held: dict[str, set[bytes]], flow: Flow, key: bytes) -> None:
        for connections, sources in places.owns():
            if key in held.get(connections, set()):
                span = int(OWN_FOR * 1000)
                self.shared.sets.renew(connections, [(key, span)])
                self.shared.sets.renew(sources[flow.peer.version], [(_key(places.counting.source_of(flow.peer)), span)])

    def _place(self, places: Places, flow: Flow, key: bytes, now: float) -> None:
        """It sits in sshd and holds no place: it gets one, or goes."""
        if not flow.inode:
            return  # still in its handshake, or in the queue of the listener
        self._ask([flow], now)
        if self._seen[flow.cookie].logged_in:
            return
        try:
            self.shared.sets.add(places.set, [(key, places.grace * 1000)])
        except KernelError as error:
            if error.errno != errno.ENFILE:
                raise
            self._end(flow)

    def _shorten(self, places: Places, sitting: list[tuple[Flow, int]], exempt: set[int], now: float) -> None:
        flows = {f.cookie: f for f, _ in sitting}
        waiting = [
            Waiting(
                f.cookie,
                (places.counting if f.cookie in exempt else places.networks).source_of(f.peer),
                self._seen[f.cookie].since,
                received > GREETING,
                f.cookie in exempt,
            )
            for f, received in sitting
            if not self._seen[f.cookie].logged_in
        ]
        chosen = to_end(waiting, places.count, places.own, now)
        self._ask([flows[w.cookie] for w in chosen], now)
        for one in chosen:
            if not self._seen[one.cookie].logged_in:
                self._end(flows[one.cookie])

    def _end(self, flow: Flow) -> None:
        with contextlib.suppress(QuietgateError):
            self.ended += sockets.destroy(flow)
