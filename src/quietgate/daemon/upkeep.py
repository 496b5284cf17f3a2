"""What the store needs from time to time, in the disk's thread; and what is said of a disk that does not answer."""

from __future__ import annotations

import asyncio
import time

from quietgate.alerts.notifier import Alerting
from quietgate.bans.clock import follow
from quietgate.bans.writer import Bans
from quietgate.clock import Instant
from quietgate.daemon.commit import Pending
from quietgate.daemon.context import Shared
from quietgate.daemon.health import Senses
from quietgate.errors import QuietgateError
from quietgate.generations.in_force import number
from quietgate.host.lock import locked
from quietgate.state.disk import Desk

HANGS = 5.0  # seconds after which a disk that does not answer is said


class Upkeep:
    """One per guard."""

    def __init__(self, shared: Shared, pending: Pending, alerting: Alerting, senses: Senses) -> None:
        self._shared, self._pending, self._alerting, self._senses = shared, pending, alerting, senses

    def trim(self, now: Instant) -> None:
        """Move the store with the clock; where there are more than `bans.max`, the soonest to end leave."""
        shared = self._shared
        counting, most, tell, lock = shared.counting, shared.policy.bans.max, shared.teller.tell, shared.parts.paths.lock

        def work(desk: Desk) -> bool:
            with locked(lock):
                moved = follow(desk.store)
                Bans(desk.store, desk.sets, counting, most, tell).trim(now.wall)
                return moved

        def then(moved: bool | None, error: QuietgateError | None) -> None:
            if error is not None:
                shared.refused(error)  # its turn comes again at the next tick
            shared.missed = shared.missed or bool(moved)
            shared.publish_deeds()

        shared.disk.do(work, then)

    def forget(self, now: float) -> None:
        """What is older than the policy keeps, and what there is no room for: a slice at a time, and others' work between two."""
        policy = self._shared.policy
        attempts, logins, size = now - number(policy, "store.events"), now - number(policy, "store.logins"), number(policy, "store.size")

        def then(more: bool | None, error: QuietgateError | None) -> None:
            if error is not None:
                self._shared.refused(error)
            elif more:
                self._shared.disk.do(lambda desk: desk.store.forget_old(attempts, logins, size), then)

        self._shared.disk.do(lambda desk: desk.store.forget_old(attempts, logins, size), then)
        self._alerting.forget(now)

    async def watch_disk(self) -> None:
        """A disk that does not answer is said; bans go on without it."""
        while True:
            await asyncio.sleep(1.0)
            lasts = self._shared.disk.lasts()
            if lasts > HANGS:
                self._pending.late()
                self._shared.trouble(
                    "disk", f"the disk has not answered for more than {HANGS:.0f} s: bans are made all the same, and written when it does"
                )
                self._senses.ourselves(Instant(time.time(), time.monotonic()))
            elif "disk" in self._shared.troubles:
                self._shared.trouble("disk", "")
                self._senses.ourselves(Instant(time.time(), time.monotonic()))
