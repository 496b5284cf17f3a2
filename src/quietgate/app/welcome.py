"""Who has logged in: he is known, an administrator is on the floor, and his place among the strangers is free again.

The journal's word is believed, since the kernel says who wrote it. A file's is not: there has to be a session, and that user's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from quietgate.app import admins
from quietgate.app.shared import Shared
from quietgate.app.startups import give_back, places_of
from quietgate.clock import Instant
from quietgate.errors import KernelError, StateError
from quietgate.firewall import names
from quietgate.guard import engine as core
from quietgate.guard.alerts import Raise
from quietgate.host import sockets
from quietgate.host.sessions import administrators, live, user_number
from quietgate.net import BITS
from quietgate.values import Login

CHECKS = (0.0, 0.05, 0.2, 1.0)  # seconds: a session opens a moment after the line that tells of it
MOST_CHECKS = 64  # logins that are being verified: anybody can write such lines, as many as he likes


class Welcome:
    """Does what the engine says of logins."""

    def __init__(self, shared: Shared, tell: Callable[[Raise], None]) -> None:
        """`tell`: where a login that a person should know of goes."""
        self._shared = shared
        self._tell = tell
        self._checks: set[core.Check] = set()

    def do(self, command: core.Know | core.LoggedIn | core.Check | Raise) -> None:
        """One command."""
        if isinstance(command, Raise):
            self._tell(command)
        elif isinstance(command, core.Know):
            self._know(command)
        elif isinstance(command, core.LoggedIn):
            self._logged_in(command)
        elif command not in self._checks and len(self._checks) < MOST_CHECKS:
            self._checks.add(command)
            self._shared.spawn(self._check(command))

    def _know(self, command: core.Know) -> None:
        if self._shared.policy.ssh.known is not None:
            version = command.source.version
            key = command.source.value.to_bytes(BITS[version] // 8, "big")
            with contextlib.suppress(KernelError):
                self._shared.sets.add(names.known(version, self._shared.counting), [(key, int(command.seconds * 1000))])

    def _logged_in(self, command: core.LoggedIn) -> None:
        with contextlib.suppress(StateError):
            self._shared.store.put_logins([Login(command.user, command.address, command.at, "journal")])
        self._shared.publish("login", user=command.user, address=str(command.address), at=command.at)
        self._pin(command)
        self._give_place_back(command)
        self._shared.spawn(self._floor_soon())

    def _pin(self, command: core.LoggedIn) -> None:
        """An administrator's address is on the floor from his login on: where nothing else is a witness, the journal is one."""
        lockout, counting, store = self._shared.policy.lockout, self._shared.counting, self._shared.store
        uid = user_number(command.user)
        now = time.time()
        left = command.at + lockout.keep - now
        with contextlib.suppress(StateError, KernelError):
            # Who was evicted is banned, and stays off.
            if left > 0 and uid is not None and uid in administrators(lockout.admins) and not store.covering(command.address, now):
                store.put_floor([(command.address, uid)], now + left)
                admins.fill(self._shared.sets, counting, {counting.source_of(command.address): left}, gain=True)

    def _give_place_back(self, command: core.LoggedIn) -> None:
        """He waits no more: his place among the strangers is free."""
        places = places_of(self._shared)
        if places is None:
            return
        with contextlib.suppress(KernelError):
            for flow in sockets.flows(frozenset(self._shared.prepared.ports.ports)):
                if flow.peer == command.address and flow.peer_port == command.port:
                    give_back(self._shared.sets, places, flow)

    async def _floor_soon(self) -> None:
        """An administrator's session opens a moment after the line that tells of his login."""
        for pause in CHECKS:
            await asyncio.sleep(pause)
            with contextlib.suppress(StateError):  # the next tick looks again
                self._shared.look(Instant(time.time(), time.monotonic()))

    async def _check(self, command: core.Check) -> None:
        """A line in a file tells of a login: only a session counts that is there, and that user's: who is logged in himself
        could otherwise write that an administrator is.
        """
        wanted = (user_number(command.user), command.address, command.port)
        try:
            for pause in CHECKS:
                await asyncio.sleep(pause)
                sessions = live(frozenset(self._shared.prepared.ports.ports))
                if wanted in {(s.uid, s.flow.peer, s.flow.peer_port) for s in sessions}:
                    now = Instant(time.time(), time.monotonic())
                    for following in self._shared.engine.logged_in(command.user, command.address, command.port, now):
                        self.do(following)
                    return
            for found in self._shared.engine.unproven(command.user, command.address, Instant(command.at, time.monotonic())):
                self._tell(found)
        finally:
            self._checks.discard(command)
