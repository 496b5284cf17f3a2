"""Who has logged in: they are known, an administrator is on the floor, and their place among the strangers is free again.

No line is believed, whoever wrote it: there has to be a session in the kernel, and that user's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from quietgate.clock import Instant
from quietgate.daemon.context import Shared
from quietgate.daemon.startups import give_back, places_of
from quietgate.errors import KernelError
from quietgate.firewall import names
from quietgate.guard import engine as core
from quietgate.guard.alerts import Raise
from quietgate.host import sight, sockets
from quietgate.host.accounts import user_number
from quietgate.net import BITS
from quietgate.values import Session

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
        self._shared.publish("login", user=command.user, address=str(command.address), at=command.at)
        self._give_place_back(command)

    def _give_place_back(self, command: core.LoggedIn) -> None:
        """He waits no more: his place among the strangers is free."""
        places = places_of(self._shared)
        if places is None:
            return
        with contextlib.suppress(KernelError):
            for flow in sockets.flows(frozenset(self._shared.prepared.ports.ports)):
                if flow.peer == command.address and flow.peer_port == command.port:
                    give_back(self._shared.sets, places, flow)

    async def _check(self, command: core.Check) -> None:
        """A line tells of a login: only a session counts that the kernel shows, and that user's. Whoever is logged in could otherwise
        write that an administrator is.
        """
        try:
            session = await self._session(command)
            now = Instant(time.time(), time.monotonic())
            if session is None:
                for found in self._shared.engine.unproven(
                    command.user, command.address, Instant(command.at, time.monotonic()), command.trust
                ):
                    self._tell(found)
                return
            for following in self._shared.engine.logged_in(command.user, command.address, command.port, now):
                self.do(following)
            await self._shared.look(now, noted=[session])
        finally:
            self._checks.discard(command)

    async def _session(self, command: core.Check) -> Session | None:
        """The session that the line tells of."""
        uid = user_number(command.user)
        if uid is None:
            return None
        ports = frozenset(self._shared.prepared.ports.ports)
        return await sight.login(ports, command.pid, uid, command.address, command.port)
