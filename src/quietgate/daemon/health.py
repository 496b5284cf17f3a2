"""What the guard looks at besides the log: is each source of lines heard, does the kernel count what the log tells of, is there room,
and what became of a trial. Every TICK of the daemon's; nothing is asked of nft unless something makes it worth asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

from quietgate.alerts.notifier import Alerting
from quietgate.clock import Instant
from quietgate.daemon.context import Shared
from quietgate.daemon.sources import Source
from quietgate.errors import KernelError, QuietgateError, StateError
from quietgate.generations.kernel import Inside
from quietgate.guard import engine as core
from quietgate.guard.alerts import Alert
from quietgate.host import conntrack
from quietgate.host.sight import Startups
from quietgate.hostile_text import safe
from quietgate.sshlog.lines import Trust
from quietgate.sshlog.unread import REMEDIES, Why
from quietgate.values import Ban

QUIET = 60.0  # seconds of silence after which it is worth knowing what the kernel counts meanwhile
ASKED = 60.0  # seconds between two questions because of attempts
SILENT_ASKED = 600.0  # seconds between two questions because of silence
LAST_GUESSES = 240.0  # seconds that connections which were counted may go on guessing (LoginGraceTime is two minutes)
OLD_BAN = 180.0  # seconds after which a banned source's last connection is over
COUNT_BANS = 600.0  # seconds between two counts of the bans
LATE = 2.0  # seconds after a trial's end in which `up` may still confirm it
TRIAL = "alerts:trial"  # in the store: the trial that runs
OUR_OWN = ("kernel", "table", "store", "disk", "task", "tick")  # troubles of the guard's that deserve a person
_COUNTED = ("ssh_counted", "ssh_known", "ssh_overflow")  # connections that came through, by who counts them
MOST_TRIES = 20  # attempts that one connection may make (MaxAuthTries is 6, unless sshd's configuration says otherwise)


class Senses:
    """One per guard."""

    def __init__(self, shared: Shared, alerting: Alerting, sources: Sequence[Source]) -> None:
        self._shared, self._alerting, self._sources = shared, alerting, sources
        # Of each source: what the kernel had counted when it fell silent, and when it was asked last.
        self._silence: dict[str, tuple[int, float]] = {}
        self._attempts = 0
        self._asked = time.monotonic()
        self._moved = time.monotonic()
        self._before: int | None = None  # connections that the kernel had counted
        self._overflow: int | None = None
        self._bans_counted = 0.0
        self._trial: tuple[int, float] | None = None  # number, wall second of its end
        self._startups = Startups()
        self._understood: dict[str, tuple[int, int]] = {}  # of each source: lines read and lines not read, at the last look
        self._silent_though = False  # the kernel counted connections, and no source told of one

    def attempt(self) -> None:
        """A stranger tried, just now."""
        self._attempts += 1

    def figures(self) -> dict[str, Any]:
        """For `status`: sshd's startups, and the second that a trial ends."""
        return {
            "startups": self._waiting(),
            "trial": None if self._trial is None else self._trial[1],
        }

    async def tick(self, now: Instant) -> None:
        """Look at everything."""
        alerts = self._shared.engine.alerts
        for source in self._sources:
            counted = await self._since_heard(source, now)
            if counted is not None:  # of the source that was heard last; of the others nothing is asked
                self._silent_though = counted > 0 or (counted == 0 and self._silent_though)
            self._alerting.take(alerts.source(source.name, source.health.trouble, counted, now))
            self._alerting.take(self._not_understood(source, now))
        await self._effect(now)
        await self._room(now)

    def hears_nothing(self, now: Instant) -> bool:
        """True if connections come, and no source has told of one for a while."""
        usual = self._shared.engine.alerts.usual
        return self._silent_though and all(now.mono - usual[s.name].last.mono >= QUIET for s in self._sources)

    def _not_understood(self, source: Source, now: Instant) -> list[Alert]:
        """Lines that name a server and cannot be read, while none could: a form that is not known here, not a quiet host."""
        unread, (lines, before) = source.health.unread, self._understood.get(source.name, (0, 0))
        self._understood[source.name] = (source.health.lines, unread.forms)
        why = next((w for w in unread.counts if w is not Why.MESSAGE), None)
        if why is None or unread.forms == before or source.health.lines > lines:
            return []
        example = safe(unread.examples.get(why, ""))
        return [*self._shared.engine.alerts.unread(source.name, unread.forms - before, REMEDIES[why], example, now)]

    def ourselves(self, now: Instant) -> None:
        """The guard's own troubles. Also after a look that failed."""
        for what in OUR_OWN:
            self._alerting.take(self._shared.engine.alerts.trouble(what, self._shared.troubles.get(what, ""), now))

    # -- does the kernel see what the log tells

    async def _counters(self) -> dict[str, int] | None:
        """None where the limit does not count: nothing is up, or it is off."""
        with contextlib.suppress(QuietgateError):
            found = await asyncio.get_running_loop().run_in_executor(None, self._shared.parts.nft.counters)
            return found if "ssh_counted" in found else None
        return None

    async def _since_heard(self, source: Source, now: Instant) -> int | None:
        """Connections that the kernel has counted while this source was silent; None if it cannot be told."""
        usual = self._shared.engine.alerts.usual
        # Of several sources one may tell what another does not: the silence of all is that of the one heard last.
        last = max(self._sources, key=lambda s: usual[s.name].last.mono)
        if source is not last or now.mono - usual[last.name].last.mono < QUIET:
            self._silence.pop(source.name, None)
            return None
        begun = self._silence.get(source.name)
        if begun is not None and now.mono - begun[1] < SILENT_ASKED:
            return 0
        counters = await self._counters()
        if counters is None:
            return None
        total = sum(counters.get(c, 0) for c in _COUNTED)
        if begun is None or total < begun[0]:  # a new generation begins at none
            self._silence[source.name] = (total, now.mono)
            return 0
        self._silence[source.name] = (begun[0], now.mono)
        return total - begun[0]

    async def _effect(self, now: Instant) -> None:
        """Strangers in the log whom the kernel does not count: the limit has no effect.

        SYNs that were let in say nothing: what is compared is connections that took a place, with attempts that need one.
        """
        if not self._attempts or now.mono - self._asked < ASKED:
            return
        attempts, self._attempts, self._asked = self._attempts, 0, now.mono
        counters = await self._counters()
        if counters is None or self._shared.policy.ssh.limit is None:
            self._before = None
            return
        counted = sum(counters.get(c, 0) for c in _COUNTED)
        before, self._before = self._before, counted
        moved = before is None or counted < before or (counted - before) * MOST_TRIES >= attempts  # a new generation begins at none
        if moved:
            self._moved = now.mono
        elif now.mono - self._moved < LAST_GUESSES:
            return
        alerts = self._shared.engine.alerts
        self._alerting.take(alerts.uncounted(attempts, moved, now, forgeable=any(s.trust is Trust.FILE for s in self._sources)))
        overflow, self._overflow = self._overflow, counters.get("ssh_overflow", 0)
        slots = self._shared.policy.ssh.slots
        full = overflow is not None and self._overflow > overflow  # the kernel does not say how many it has, but that there was no room
        self._alerting.take(alerts.pressure("slots", slots if full else 0, slots, now))

    def doubt(self, command: core.Doubt) -> None:
        """A banned source is still heard. Where somebody took its element out of the kernel it is put back."""
        now = time.time()
        with contextlib.suppress(StateError, KernelError):
            old = [b for b in self._shared.store.covering(command.source, now) if now - b.since > OLD_BAN]
            bans = self._shared.bans()
            missing = [b for b in old if not bans.holds(b)]
            if missing:
                bans.at_once(missing, now)
                self._shared.log(f"warning: the ban of {_named(missing)} was not in the kernel any more, and was put back")
                self._shared.publish("table", done=f"the ban of {_named(missing)} was put back")
            elif old and command.trust is Trust.JOURNAL:  # a line in a file may be anybody's
                self._alerting.take(self._shared.engine.alerts.unshut(command.source, now))

    # -- is there room

    async def _room(self, now: Instant) -> None:
        alerts = self._shared.engine.alerts
        found = conntrack.fill()
        if found is not None:
            self._alerting.take(alerts.pressure("conntrack", *found, now))
        waiting = self._waiting()
        if waiting:
            count, begin, _ = max(waiting, key=lambda s: s[0] / max(1, s[1]))
            self._alerting.take(alerts.pressure("MaxStartups", count, begin, now))
        if now.mono - self._bans_counted > COUNT_BANS or not self._bans_counted:
            self._bans_counted = now.mono
            with contextlib.suppress(StateError):
                self._alerting.take(alerts.pressure("bans", self._shared.store.count(now.wall), self._shared.policy.bans.max, now))

    def _waiting(self) -> list[tuple[int, int, int]]:
        """Of each sshd that says it."""
        with contextlib.suppress(QuietgateError):
            return self._startups.now()
        return []

    # -- what became of a change

    def restore(self) -> None:
        """A trial that ran when the last guard stopped; and which processes are sshd."""
        self._waiting()
        with contextlib.suppress(StateError, ValueError, TypeError):
            number, end = json.loads(self._shared.store.about(TRIAL) or "null")
            self._await(int(number), float(end))

    def saw(self, inside: Inside) -> None:
        """What is in the kernel now: a trial that runs is watched to its end, one that somebody ended is not."""
        if inside.on_trial and inside.candidate is not None:
            end = time.time() + max(inside.left.values())
            if self._trial is None or self._trial[0] != inside.candidate:
                self._await(inside.candidate, end)
        elif self._trial is not None and time.time() < self._trial[1] - LATE:
            self._keep(None)  # confirmed or reverted by hand
        if not inside.on_trial and inside.confirmed is not None:
            self._alerting.take(self._shared.engine.alerts.in_force(inside.confirmed, time.time()))

    def _await(self, number: int, end: float) -> None:
        self._keep((number, end))
        self._shared.spawn(self._ended(number, end))

    async def _ended(self, number: int, end: float) -> None:
        await asyncio.sleep(max(0.0, end - time.time()) + LATE)
        if self._trial is None or self._trial[0] != number:
            return
        self._keep(None)
        with contextlib.suppress(QuietgateError):
            newest = self._shared.parts.generations.newest()
            if newest is not None and newest.number >= number:
                return
            then = f"generation {newest.number}" if newest is not None else "nothing"
            self._alerting.take(self._shared.engine.alerts.reverted(number, f"{then} is in force", time.time()))

    def _keep(self, trial: tuple[int, float] | None) -> None:
        self._trial = trial
        self._shared.disk.do(lambda desk: desk.store.put_about(TRIAL, json.dumps(trial)))


def _named(bans: Sequence[Ban]) -> str:
    return ", ".join(str(b.prefix) for b in bans)
