"""The guard as a service: what the engine decides is done here. Composition only.

One loop. Each source hands over batches of events; a batch's decisions reach the kernel first, by one netlink message, then
the disk in one commit (bans, evidence, how far was read), then whoever listens. While a command holds the lock, bans still
reach the kernel at once, and the commit follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from quietgate.alerts.notifier import Alerting
from quietgate.bans.clock import follow
from quietgate.bans.recover import mend
from quietgate.clock import Instant, format_duration
from quietgate.control.server import Control, wrong
from quietgate.daemon.commit import Pending
from quietgate.daemon.context import Shared
from quietgate.daemon.guard_state import GUARDS, STOPS
from quietgate.daemon.health import Senses
from quietgate.daemon.logins import Welcome
from quietgate.daemon.measure import Measured
from quietgate.daemon.sources import Batch, Source, find, others
from quietgate.daemon.startups import Startups
from quietgate.daemon.table import Watch
from quietgate.daemon.upkeep import Upkeep
from quietgate.errors import Damaged, InputError, KernelError, QuietgateError, StateError
from quietgate.firewall import names
from quietgate.generations.deciding import of_guard
from quietgate.generations.history import event as form_of
from quietgate.generations.in_force import flag, number, settings
from quietgate.generations.installation import Parts
from quietgate.guard import engine as core
from quietgate.guard import widen
from quietgate.guard.alerts import History, Login, Raise
from quietgate.guard.crowded import HOLDS, Crowded
from quietgate.guard.detect import Finding
from quietgate.guard.sentences import Past
from quietgate.host import sockets
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.sight import authenticated
from quietgate.host.surroundings import surroundings
from quietgate.host.systemd import notify
from quietgate.hostile_text import safe
from quietgate.net import Prefix
from quietgate.people.history import history
from quietgate.people.usernames import Names
from quietgate.rollout.repair import refill
from quietgate.sshlog.connection import Outcome
from quietgate.state import history as deeds
from quietgate.state.database import Store
from quietgate.values import Ban, Guess

COUNTED = (Outcome.FAILED, Outcome.NOISE, Outcome.PENALTY)  # what speaks against a whole network
AT_ONCE = 200  # deeds that are read at once for a listener who asks what was missed
STOP_WAITS = 80.0  # seconds that a guard which stops waits for the disk; systemd gives it 90
TICK = 30.0  # seconds between two looks at windows, sessions and retention
RELOAD_AGAIN = 2.0  # seconds after which a policy that could not be read is read again
LOOK_WAITS = 0.5  # seconds that a command waits until we know what it changed; tell() waits one
LOOK_AGAIN = 0.3  # seconds after a ban: what was in its handshake when we looked has a socket now
LIVE_LATE = 60.0  # a live line's stamp that is off by more is taken as of now: a clock or a zone is wrong


class Daemon:
    """The guard. `run` returns when it is told to stop."""

    def __init__(self, parts: Parts) -> None:
        prepared = of_guard(parts)
        values = prepared.policy.values
        around = surroundings(parts.paths.root)
        engine = core.Engine(settings(prepared, around), self._past, self._until, history=self._history)
        control = Control(parts.paths.control, str(values["control.group"]), self._answer, self._recorded, self._newest)
        self.shared = Shared(parts, _opened(parts), SetWriter(), prepared, engine, control, around)
        self.engine, self.control = engine, control
        self.pending = Pending(self.shared)
        self.shared.on_damage = self.pending.mend
        self.alerting = Alerting(self.shared)
        self.welcome = Welcome(self.shared, lambda found: self.alerting.take([found]))
        self.names = self._names()
        self.sources: list[Source] = find(values["guard.sources"], parts.paths, cast("tuple[str, ...]", values["guard.units"]))
        self.senses = Senses(self.shared, self.alerting, self.sources)
        self.startups = Startups(self.shared)
        self.crowded = Crowded()
        self.upkeep = Upkeep(self.shared, self.pending, self.alerting, self.senses)
        self.begun = time.time()
        self.bans_made = 0
        self.heard: Counter[str] = Counter()  # attempts and logins, by outcome
        self.measured = Measured(parts)
        self._stop = asyncio.Event()

    def _names(self) -> Names:
        found = Names(str(self.shared.policy.values["store.users"]), self.shared.parts.paths.key)
        self.shared.trouble("key", found.trouble)
        if found.said:
            self.shared.log(f"warning: {found.said}")
        return found

    # -- life

    async def run(self, *, until_end: bool = False) -> None:
        """Guard until SIGTERM or SIGINT (or, `until_end`, until every source has ended)."""
        loop = asyncio.get_running_loop()
        for number_ in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number_, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # see ui/commands/run
        try:
            self._restore()
        except Damaged:
            self.shared.mend()
            self._restore()
        await self.control.start()
        follows = [loop.create_task(self._following(s)) for s in self.sources]
        watch = Watch(self.shared, self.senses.saw, self._mended)
        for beside in (self._ticking(), watch.run(), self._catch_up(), self._watchdog(), self.upkeep.watch_disk(), self.startups.run()):
            self.shared.spawn(beside)
        notify("READY=1", f"STATUS=reading {', '.join(s.name for s in self.sources)}")
        self.shared.log(f"{GUARDS}{', '.join(s.name for s in self.sources)}")
        stopped = loop.create_task(self._stop.wait())
        wanted: set[asyncio.Task[Any]] = {stopped, *((loop.create_task(_all(follows)),) if until_end else ())}
        await asyncio.wait(wanted, return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        beside_us = (*follows, *self.shared.tasks)
        for task in beside_us:
            task.cancel()
        await asyncio.gather(*beside_us, return_exceptions=True)
        self.alerting.flush()
        self.pending.finish(STOP_WAITS)
        self.shared.disk.close()
        await self.control.stop()
        self.shared.log(STOPS if stopped.done() else "quietgate stops: every source has ended")

    async def _following(self, source: Source) -> None:
        await source.follow(self.shared.store.about(f"place:{source.name}"), self.take)

    def _look_for_others(self, now: Instant) -> None:
        """Where the policy leaves it to us, a log that tells of SSH while ours are silent is read as well: a journal that stores nothing any
        more, a file that nobody writes to.
        """
        if self.shared.policy.values["guard.sources"] != "auto" or not self.senses.hears_nothing(now):
            return
        with contextlib.suppress(InputError):
            for source in others(self.sources, self.shared.parts.paths):
                self.shared.log(f"{source.name} tells of SSH while {', '.join(s.name for s in self.sources)} is silent: it is read as well")
                self.sources.append(source)
                self.engine.several(len(self.sources))
                self.shared.spawn(self._following(source))
        self.alerting.take(self.engine.alerts.listen([s.name for s in self.sources], now))

    def _restore(self) -> None:
        """Bans into the kernel again where it has lost them, who is known, and the windows of before: what must be there before
        the first line is read. The rest follows in `_catch_up`, since whoever attacks now should not have to wait for it.
        """
        now = Instant(time.time(), time.monotonic())
        with contextlib.suppress(QuietgateError), locked(self.shared.parts.paths.lock, 10):
            follow(self.shared.store)
            bans = self.shared.bans()
            if bans.lost(now.wall):
                bans.restore(now.wall)
        for guess in self.shared.store.recent(now.wall - 86400, now.wall, self.engine.settings.most_sources):
            self.engine.replay(guess, now)
        self.engine.several(len(self.sources))
        for source in self.sources:
            with contextlib.suppress(ValueError, TypeError):
                self.engine.resume(source.name, source.trust, json.loads(self.shared.store.about(f"open:{source.name}") or "[]"))
        self.alerting.restore(now)
        self.alerting.take(self.engine.alerts.listen([s.name for s in self.sources], now))
        self.senses.restore()
        self.shared.look_now(now)

    async def _catch_up(self) -> None:
        """The bans that somebody took out of the kernel one by one; and who was banned near whom."""
        run, now = asyncio.get_running_loop().run_in_executor, Instant(time.time(), time.monotonic())
        within = number(self.shared.policy, "bans.widen.within")
        try:
            await run(None, refill, self.shared.parts)
            banned = await run(None, _banned_since, self.shared.parts, now.wall - within)
        except QuietgateError as error:
            self.shared.trouble("store", error.message)
            return
        for count, (version, first, length, since) in enumerate(banned):
            self.engine.replay_ban(Prefix(version, int.from_bytes(first, "big"), length), since, now)
            if count % 200 == 0:
                await asyncio.sleep(0)

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await self._tick()
            except Damaged:
                self.pending.mend()
            except StateError as error:
                self.shared.trouble("store", error.message)
            except Exception as error:  # noqa: BLE001  whatever it is, the next one comes
                self.shared.trouble("tick", f"{type(error).__name__}: {ascii(str(error))[:200]}")
            else:
                self.shared.trouble("tick", "")
            self.senses.ourselves(Instant(time.time(), time.monotonic()))

    async def _tick(self) -> None:
        self.pending.look_at_the_clock()
        now = Instant(time.time(), time.monotonic())
        self.engine.tick(now)
        due = self.engine.due(now)
        for command in due:
            if not isinstance(command, core.Ban):
                self._do(command, live=False)
        self._ban([c for c in due if isinstance(c, core.Ban)])
        self.pending.flush()
        self.shared.look_around()
        self.shared.look(now)
        self.upkeep.trim(now)
        self.upkeep.forget(now.wall)
        await self.senses.tick(now)
        self._look_for_others(now)
        self.alerting.tick(now)

    async def _watchdog(self) -> None:
        usec = int(os.environ.get("WATCHDOG_USEC") or 0)
        while usec:
            notify("WATCHDOG=1")
            await asyncio.sleep(usec / 2e6)

    def _reload(self) -> None:
        self.shared.spawn(self._reloading())

    async def _reloading(self) -> None:
        """The policy in force, anew. Windows, places and sources go on; a mistake leaves everything as it was. Where the host
        could not do it now, it is tried again.

        In a thread: names may have to be resolved, and guarding goes on meanwhile.
        """
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self.shared.prepared = await asyncio.get_running_loop().run_in_executor(None, of_guard, self.shared.parts)
            self.shared.look_around()
            self.engine.change(settings(self.shared.prepared, self.shared.around))
            self.names = self._names()
            self.alerting.change()
            await self.shared.look(Instant(time.time(), time.monotonic()))
            self.shared.trouble("policy", "")
        except QuietgateError as error:
            self.shared.trouble("policy", f"the policy could not be read again: {error.message}")
            if not isinstance(error, InputError):
                asyncio.get_running_loop().call_later(RELOAD_AGAIN, self._reload)
        notify("READY=1")

    # -- what is read

    async def take(self, batch: Batch) -> None:
        """One batch: decide, do, remember."""
        self.pending.look_at_the_clock()
        wall, mono = time.time(), time.monotonic()
        if batch.live and batch.events:
            self.alerting.take(self.engine.alerts.heard(batch.source, Instant(wall, mono)))
        made: list[core.Ban] = []
        for event in batch.events:
            # What is read live happened now, whatever its stamp says; what is older happened then, but never in the future.
            at = wall if batch.live and abs(wall - event.at) > LIVE_LATE else min(event.at, wall)
            try:
                for command in self.engine.read(batch.source, batch.trust, event, Instant(at, mono - (wall - at))):
                    if isinstance(command, core.Ban):
                        made.append(command)
                    else:
                        self._do(command, live=batch.live)
            except Exception as error:  # noqa: BLE001  one line that we do not bear must not make us deaf to the next
                self.shared.trouble(
                    "reading", f"a line of {batch.source} was passed over: {type(error).__name__}: {ascii(str(error))[:200]}"
                )
        if made:
            self._ban(made)
        self.pending.read(batch.source, batch.place)
        self.pending.soon(now=bool(made))

    def _do(self, command: core.Command, *, live: bool) -> None:
        if isinstance(command, core.Remember):
            a = command.attempt
            self.heard[a.outcome.value] += a.times
            if live and a.outcome is not Outcome.EXCUSED and self.engine.is_stranger(command.source):
                self.senses.attempt()
            kept = self.names.kept(a.user)
            if a.outcome is not Outcome.SUCCEEDED:
                self.pending.guesses.append(Guess(a.at, command.source, a.address, a.outcome.value, kept, a.method,
                                                  self.names.line(a.evidence), a.times))  # fmt: skip
            if a.outcome in COUNTED:
                self._crowded(command.source)
            if self.control.heard:  # there is one for every guess: a burst has hundreds of thousands
                self.shared.publish("attempt", address=str(a.address), source=str(command.source), outcome=a.outcome.value,
                                    user=kept, method=a.method, at=a.at, times=a.times)  # fmt: skip
        elif isinstance(command, (core.Know, core.LoggedIn, core.Check)):
            self.heard["logins"] += isinstance(command, core.Check)  # as the log tells of them; what they earn is another matter
            self.welcome.do(command)
        elif isinstance(command, Raise):
            self.alerting.take([command])
        elif isinstance(command, core.Doubt):
            if live:
                self.senses.doubt(command)
        elif isinstance(command, core.Spared):
            self.shared.log(f"not banned: {command.source}: {command.why} ({_because(command.finding)})")
            self.shared.publish("spared", source=str(command.source), why=command.why, detector=command.finding.detector)

    def _crowded(self, source: Prefix) -> None:
        network = self.crowded.failed(source, time.monotonic())
        if network is not None:
            with contextlib.suppress(KernelError):  # the policy may have no limit of a /48
                self.shared.sets.add(names.crowded(), [(network.value.to_bytes(16, "big"), int(HOLDS * 1000))])

    # -- bans

    def _ban(self, made: Sequence[core.Ban]) -> None:
        """Into the kernel, and their connections ended; the commit follows."""
        now = time.time()
        fresh: list[Ban] = []
        for one in made:
            until = one.at.wall + one.seconds
            end = None if until == float("inf") else until
            if until <= now:
                continue  # it happened while nobody looked, and would be over
            reason = _because(one.finding)
            if one.observed:
                observed = Ban(one.source, one.scope, one.at.wall, end, reason, "observed")
                self.shared.disk.do(lambda desk, observed=observed: desk.store.put_observed([observed]))  # type: ignore[misc]
                self.shared.publish("would-ban", source=str(one.source), detector=one.finding.detector, until=end, reason=reason)
                continue
            ban = Ban(one.source, one.scope, one.at.wall, end, reason, "guard")
            fresh.append(ban)
            self.pending.ban(ban, one.steps if one.finding.detector != "widen" else None)  # and published with the commit
        if not fresh:
            return
        self.bans_made += len(fresh)
        try:
            self.shared.bans().at_once(fresh, now)
        except QuietgateError as error:  # the commit tries it again
            self.shared.trouble("kernel", error.message)
        else:
            self.shared.trouble("kernel", "")
        if flag(self.shared.policy, "bans.cut"):
            sources = [b.prefix for b in fresh]
            self._cut(sources)
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._cut, sources)

    def _cut(self, sources: Sequence[Prefix]) -> None:
        """End what these sources hold and have not logged in over. A login behind the same address stays."""
        with contextlib.suppress(KernelError):
            flows = [f for f in sockets.flows(frozenset(self.shared.prepared.ports.ports)) if any(p.covers(f.peer) for p in sources)]
            kept = authenticated(flows) if flows else frozenset()
            for flow in flows:
                if flow.cookie not in kept:
                    with contextlib.suppress(QuietgateError):
                        sockets.destroy(flow)

    def _past(self, source: Prefix) -> Past:
        pending = next(self.pending.past(source), None)
        if pending is not None:
            return pending
        try:
            return Past(*self.shared.store.past(source))
        except StateError:
            return Past()

    def _history(self, login: Login) -> History:
        return history(self.alerting.book, self.pending.unwritten, self.names, login)

    def _mended(self, done: str) -> None:
        self.alerting.take(self.engine.alerts.table(done, time.time()))

    def _until(self, source: Prefix) -> float:
        pending = self.pending.until(source)
        try:
            found = self.shared.store.covering(source, time.time())
        except StateError:
            return pending
        return max([pending, *(float("inf") if b.until is None else b.until for b in found)])

    # -- who asks

    def _recorded(self, since: int) -> list[dict[str, Any]]:
        with contextlib.suppress(StateError):
            return [form_of(d) for d in deeds.read(self.shared.store, after=since, limit=AT_ONCE)]
        return []

    def _newest(self) -> int:
        with contextlib.suppress(StateError):
            return deeds.newest(self.shared.store)
        return 0

    async def _answer(self, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        if name == "measures":
            return {**await self._answer("status", {}), "measures": await self.measured.now()}
        if name == "status":
            return {
                "form": "quietgate/guard", "version": 1, "pid": os.getpid(), "since": self.begun, "bans": self.bans_made,
                "trouble": "; ".join(self.shared.troubles.values()),
                "mode": "observe" if self.engine.settings.observe else "enforce", "figures": self.engine.figures(),
                "alerts": self.alerting.figures(), "heard": dict(self.heard),
                "places": {"freed": self.startups.freed, "ended": self.startups.ended}, **self.senses.figures(),
                "sources": [{"name": s.health.name, "trust": s.health.trust.value, "last": s.health.last, "events": s.health.events,
                             "trouble": s.health.trouble, "lines": s.health.lines,
                             "unread": {why.value: [count, safe(s.health.unread.examples.get(why, ""))]
                                        for why, count in s.health.unread.counts.items()}} for s in self.sources],
            }  # fmt: skip
        if name == "changed":
            self.shared.publish_deeds()
            if asked.get("what") == "bans":
                self.engine.look_again()
                with contextlib.suppress(TimeoutError):  # who was let in, or is not to be banned again
                    await asyncio.wait_for(self.shared.look(Instant(time.time(), time.monotonic())), LOOK_WAITS)
            elif asked.get("what") == "history":
                pass
            elif asked.get("what") == "alerts":
                self.alerting.seen()
            elif asked.get("what") == "messages":
                self.alerting.more()
            else:
                self._reload()
            return {"form": "quietgate/ok", "version": 1, "ok": True}
        return wrong("unknown request", "input")


def _opened(parts: Parts) -> Store:
    """The store; a damaged one is mended first."""
    try:
        return parts.store()
    except Damaged:
        with locked(parts.paths.lock, 10):
            Shared.log(f"warning: {mend(parts)}")
        return parts.store()


def _banned_since(parts: Parts, since: float) -> list[tuple[int, bytes, int, float]]:
    with parts.store() as store:
        return store.made_by("guard", since, widen.MOST)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _because(finding: Finding) -> str:
    said = f"{finding.detector}: {finding.count} in {format_duration(finding.window)}"
    return f"{said}; {finding.evidence}" if finding.detector == "widen" else said
