"""The guard as a service: what the engine decides is done here. Composition only.

One loop. Each source hands over batches of events; a batch's decisions reach the kernel first, by one netlink message, then
the disk in one commit (bans, evidence, how far was read), then whoever listens. While a command holds the lock, bans still
reach the kernel at once, and the commit follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from quietgate.app import admins, known
from quietgate.app.bans import Bans
from quietgate.app.control import Control
from quietgate.app.names_kept import Names
from quietgate.app.parts import Parts
from quietgate.app.policy_of import flag, number, of_force, settings
from quietgate.app.prepare import Prepared
from quietgate.app.restore import put_back, refill
from quietgate.app.sources import Batch, Source, find
from quietgate.clock import Instant, format_duration
from quietgate.errors import Busy, KernelError, QuietgateError, StateError
from quietgate.firewall import names
from quietgate.firewall.limiter import Door, Places
from quietgate.guard import engine as core
from quietgate.guard import widen
from quietgate.guard.bans import Past
from quietgate.guard.connections import Outcome
from quietgate.host import conntrack, sockets
from quietgate.host.changes import Changes
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.sessions import administrators, authenticated, live, user_number
from quietgate.host.systemd import notify
from quietgate.net import BITS, Prefix
from quietgate.values import Ban, Guess, Login

TICK = 30.0  # seconds between two looks at windows, sessions and retention
MOST_PENDING = 5000  # attempts that wait for a commit
WAIT = 1.0  # seconds that attempts without a ban may wait for it
LOOK_AGAIN = 0.3  # seconds after a ban: what was in its handshake when we looked has a socket now
CHECKS = (0.0, 0.05, 0.2, 1.0)  # seconds: a session opens a moment after the line that tells of it
WATCH = 0.7  # seconds between two looks at the ruleset's generation: together with the file's less than two wake-ups a second
MOST_LOOKS, WATCH_LESS = 30, 5.0  # after so many in a minute it is looked at less often
SETTLED = 0.2  # seconds for whoever is at our table to finish: one of ours then has everything on disk
FIGHT, MOST_MENDED = 600.0, 3  # so often in so many seconds is our table put back
MOST_CHECKS = 64  # logins that are being verified
LIVE_LATE = 60.0  # a live line's stamp that is off by more is taken as of now: a clock or a zone is wrong


@dataclass(slots=True)
class Pending:
    """What the next commit writes."""

    bans: list[Ban] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    offenders: list[tuple[Prefix, int, float]] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.bans or self.guesses or self.places)


class Daemon:
    """The guard. `run` returns when it is told to stop."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.store = parts.store()
        self.sets = SetWriter()
        self.prepared: Prepared = of_force(parts)
        policy = self.prepared.policy
        self.names = Names(str(policy.values["store.users"]), parts.paths.state / "key")
        self.engine = core.Engine(settings(self.prepared), self._past, self._until)
        self.sources: list[Source] = find(policy.values["guard.sources"], parts.paths)
        self.control = Control(parts.paths.control, str(policy.values["control.group"]), self._answer)
        self.pending = Pending()
        self.begun = time.time()
        self.bans_made = 0
        self.troubles: dict[str, str] = {}  # by what is in trouble
        self._tasks: set[asyncio.Task[None]] = set()
        self._checks: set[core.Check] = set()
        self._stop = asyncio.Event()
        self._flush_at: asyncio.TimerHandle | None = None
        self._mended: list[float] = []

    # -- life

    async def run(self, *, until_end: bool = False) -> None:
        """Guard until SIGTERM or SIGINT (or, `until_end`, until every source has ended)."""
        loop = asyncio.get_running_loop()
        for number_ in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number_, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._restore()
        await self.control.start()
        follows = [loop.create_task(s.follow(self.store.about(f"place:{s.name}"), self.take)) for s in self.sources]
        self._spawn(self._ticking())
        self._spawn(self._watch_table())
        self._spawn(self._catch_up())
        self._spawn(self._watchdog())
        notify("READY=1", f"STATUS=reading {', '.join(s.name for s in self.sources)}")
        print(f"quietgate guards: {', '.join(s.name for s in self.sources)}", file=sys.stderr, flush=True)
        stopped = loop.create_task(self._stop.wait())
        wanted: set[asyncio.Task[Any]] = {stopped, *((loop.create_task(_all(follows)),) if until_end else ())}
        await asyncio.wait(wanted, return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        for task in (*follows, *self._tasks):
            task.cancel()
        await asyncio.gather(*follows, *self._tasks, return_exceptions=True)
        self.flush(wait=5.0)
        await self.control.stop()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.troubles["task"] = f"{type(task.exception()).__name__}: {task.exception()}"
            print(self.troubles["task"], file=sys.stderr, flush=True)

    def _restore(self) -> None:
        """Bans into the kernel again where it has lost them, who is known, and the windows of before: what must be there before
        the first line is read. The rest follows in `_catch_up`, since whoever attacks now should not have to wait for it.
        """
        now = Instant(time.time(), time.monotonic())
        with contextlib.suppress(QuietgateError), locked(self.parts.paths.lock, 10):
            if self._bans().lost(now.wall):
                self._bans().restore(now.wall)
        for guess in self.store.recent(now.wall - 86400, now.wall, self.engine.settings.most_sources):
            self.engine.replay(guess, now)
        for source in self.sources:
            with contextlib.suppress(ValueError, TypeError):
                self.engine.resume(source.name, json.loads(self.store.about(f"open:{source.name}") or "[]"))
        self._look(now)

    async def _catch_up(self) -> None:
        """The bans that somebody took out of the kernel one by one; and who was banned near whom."""
        run, now = asyncio.get_running_loop().run_in_executor, Instant(time.time(), time.monotonic())
        within = number(self.prepared.policy, "bans.widen.within")
        try:
            await run(None, refill, self.parts)
            banned = await run(None, _banned_since, self.parts, now.wall - within)
        except QuietgateError as error:
            self._trouble("store", error.message)
            return
        for count, (version, first, length, since) in enumerate(banned):
            self.engine.replay_ban(Prefix(version, int.from_bytes(first, "big"), length), since, now)
            if count % 200 == 0:
                await asyncio.sleep(0)

    def _look(self, now: Instant) -> None:
        """Who is known and who is on the floor, as the store has it; administrators who are logged in are noted first."""
        policy, counting = self.prepared.policy, self.prepared.policy.ssh.counting
        with contextlib.suppress(StateError):
            admins.refresh(self.store, policy, self.prepared.ports.ports, now.wall)
            floor = admins.sources(self.store, counting, now.wall)
            sources = known.sources(self.store, policy.ssh, now.wall)
            self.engine.know({s: now.wall + left for s, left in sources.items()}, frozenset(floor))
            with contextlib.suppress(KernelError):
                admins.fill(self.sets, counting, floor, gain=True)

    async def _ticking(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(TICK)
            now = Instant(time.time(), time.monotonic())
            self.engine.tick(now)
            self._look(now)
            self.flush()
            with contextlib.suppress(QuietgateError), locked(self.parts.paths.lock):
                self._bans().trim(now.wall)
            turn += 1
            if turn % 120 == 0:
                policy = self.prepared.policy
                with contextlib.suppress(StateError):
                    self.store.forget_old(now.wall - number(policy, "store.events"), now.wall - number(policy, "store.logins"),
                                          number(policy, "store.size"))  # fmt: skip

    async def _watchdog(self) -> None:
        usec = int(os.environ.get("WATCHDOG_USEC") or 0)
        while usec:
            notify("WATCHDOG=1")
            await asyncio.sleep(usec / 2e6)

    # -- somebody else at our table

    async def _watch_table(self) -> None:
        """Where something was committed that we did not commit, see whether our table is still what it should be."""
        changes = Changes(self.sets)
        looks: list[float] = []
        again = False
        while True:
            # A host where some program changes its rules all the time (kube-proxy) must not make us run nft all the time.
            await asyncio.sleep(WATCH if len(looks) < MOST_LOOKS else WATCH_LESS)
            now = time.monotonic()
            looks = [at for at in looks if now - at < 60]
            try:
                if changes.new() or again:
                    await asyncio.sleep(SETTLED)
                    looks.append(now)
                    again = not await self._mend()
            except KernelError as error:
                self.troubles["table"] = error.message

    async def _mend(self) -> bool:
        """Put back what somebody else took; a conflict is not fought for ever. False if one of ours is at work: look again."""
        now = time.monotonic()
        self._mended = [at for at in self._mended if now - at < FIGHT]
        given_up = len(self._mended) >= MOST_MENDED
        try:
            done = await asyncio.get_running_loop().run_in_executor(None, functools.partial(put_back, self.parts, only_look=given_up))
        except Busy:
            return False
        except QuietgateError as error:
            self._trouble("table", f"our table was changed by somebody else, and could not be mended: {error.message}")
            return True
        if not done:
            self.troubles.pop("table", None)
        elif given_up:
            self._trouble("table", "another tool keeps changing our table: it is left as it is (see `quietgate doctor`)")
        else:
            self._mended.append(now)
            print(f"warning: somebody else changed our table; {done}", file=sys.stderr, flush=True)
            self._publish("table", done=done)
        return True

    def _trouble(self, what: str, said: str) -> None:
        """Say it once."""
        if self.troubles.get(what) != said:
            self.troubles[what] = said
            print("; ".join(self.troubles.values()), file=sys.stderr, flush=True)

    def _reload(self) -> None:
        self._spawn(self._reloading())

    async def _reloading(self) -> None:
        """The policy in force, anew. Windows, places and sources go on; a mistake leaves everything as it was.

        In a thread: names may have to be resolved, and guarding goes on meanwhile.
        """
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self.prepared = await asyncio.get_running_loop().run_in_executor(None, of_force, self.parts)
            self.engine.change(settings(self.prepared))
            self.names = Names(str(self.prepared.policy.values["store.users"]), self.parts.paths.state / "key")
            self._look(Instant(time.time(), time.monotonic()))
            self.troubles.pop("policy", None)
        except QuietgateError as error:
            self.troubles["policy"] = f"the policy could not be read again: {error.message}"
            print("; ".join(self.troubles.values()), file=sys.stderr, flush=True)
        notify("READY=1")

    # -- what is read

    async def take(self, batch: Batch) -> None:
        """One batch: decide, do, remember."""
        wall, mono = time.time(), time.monotonic()
        made: list[core.Ban] = []
        for event in batch.events:
            # What is read live happened now, whatever its stamp says; what is older happened then, but never in the future.
            at = wall if batch.live and abs(wall - event.at) > LIVE_LATE else min(event.at, wall)
            for command in self.engine.read(batch.source, batch.trust, event, Instant(at, mono - (wall - at))):
                if isinstance(command, core.Ban):
                    made.append(command)
                else:
                    self._do(command)
        if made:
            self._ban(made)
        self.pending.places[f"place:{batch.source}"] = batch.place
        self.pending.touched.add(batch.source)
        if made or len(self.pending.guesses) >= MOST_PENDING:
            self.flush()
        elif self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(WAIT, self.flush)

    def _do(self, command: core.Command) -> None:
        if isinstance(command, core.Remember):
            a = command.attempt
            kept = self.names.kept(a.user)
            if a.outcome is not Outcome.SUCCEEDED:
                self.pending.guesses.append(Guess(a.at, command.source, a.address, a.outcome.value, kept, a.method,
                                                  self.names.line(a.evidence), a.times))  # fmt: skip
            if self.control.heard:  # there is one for every guess: a burst has hundreds of thousands
                self._publish("attempt", address=str(a.address), source=str(command.source), outcome=a.outcome.value,
                              user=kept, method=a.method, at=a.at, times=a.times)  # fmt: skip
        elif isinstance(command, core.Know):
            self._know(command)
        elif isinstance(command, core.LoggedIn):
            self._logged_in(command)
        elif isinstance(command, core.Check):
            if command not in self._checks and len(self._checks) < MOST_CHECKS:  # anybody can write such lines, as many as he likes
                self._checks.add(command)
                self._spawn(self._check(command))
        elif isinstance(command, core.Spared):
            print(f"not banned: {command.source}: {command.why} ({_because(command.finding)})", file=sys.stderr, flush=True)
            self._publish("spared", source=str(command.source), why=command.why, detector=command.finding.detector)

    def _know(self, command: core.Know) -> None:
        ssh = self.prepared.policy.ssh
        if ssh.known is not None:
            with contextlib.suppress(KernelError):
                self.sets.add(names.known(command.source.version, ssh.counting), [(_key(command.source), int(command.seconds * 1000))])

    def _logged_in(self, command: core.LoggedIn) -> None:
        with contextlib.suppress(StateError):
            self.store.put_logins([Login(command.user, command.address, command.at, "journal")])
        self._publish("login", user=command.user, address=str(command.address), at=command.at)
        self._pin(command)
        self._give_place_back(command)
        self._spawn(self._floor_soon())

    def _pin(self, command: core.LoggedIn) -> None:
        """An administrator's address is on the floor from his login on: where nothing else is a witness, the journal is one."""
        policy, counting = self.prepared.policy, self.prepared.policy.ssh.counting
        uid = user_number(command.user)
        now = time.time()
        with contextlib.suppress(StateError, KernelError):
            # Who was evicted is banned, and stays off.
            left = command.at + policy.lockout.keep - now
            if (
                left > 0
                and uid is not None
                and uid in administrators(policy.lockout.admins)
                and not self.store.covering(command.address, now)
            ):
                self.store.put_floor([(command.address, uid)], now + left)
                admins.fill(self.sets, counting, {counting.source_of(command.address): left}, gain=True)

    def _give_place_back(self, command: core.LoggedIn) -> None:
        """He waits no more: his place among the strangers is free."""
        ports = self.prepared.ports
        places = Places.of(self.prepared.policy.ssh, Door(ports.ports, ports.bound, ports.begin, ports.grace))
        if places is None:
            return
        for flow in sockets.flows(frozenset(ports.ports)):
            if flow.peer == command.address and flow.peer_port == command.port:
                key = conntrack.entry_id(flow)
                if key is not None:
                    with contextlib.suppress(KernelError):
                        self.sets.delete(places.set, [key])

    async def _floor_soon(self) -> None:
        """An administrator's session opens a moment after the line that tells of his login."""
        for pause in CHECKS:
            await asyncio.sleep(pause)
            self._look(Instant(time.time(), time.monotonic()))

    async def _check(self, command: core.Check) -> None:
        """A line in a file tells of a login: only a session counts that is there, and that user's: who is logged in himself
        could otherwise write that an administrator is.
        """
        try:
            for pause in CHECKS:
                await asyncio.sleep(pause)
                uid = user_number(command.user)
                for session in live(frozenset(self.prepared.ports.ports)):
                    if (session.uid, session.flow.peer, session.flow.peer_port) == (uid, command.address, command.port):
                        for following in self.engine.logged_in(
                            command.user, command.address, command.port, Instant(time.time(), time.monotonic())
                        ):
                            self._do(following)
                        return
        finally:
            self._checks.discard(command)

    # -- bans

    def _ban(self, made: list[core.Ban]) -> None:
        now = time.time()
        for one in made:
            until = one.at.wall + one.seconds
            end = None if until == float("inf") else until
            if until <= now:
                continue  # it happened while nobody looked, and would be over
            reason = _because(one.finding)
            if one.observed:
                with contextlib.suppress(StateError):
                    self.store.put_observed([Ban(one.source, one.scope, one.at.wall, end, reason, "observed")])
                self._publish("would-ban", source=str(one.source), detector=one.finding.detector, until=end, reason=reason)
                continue
            self.pending.bans.append(Ban(one.source, one.scope, one.at.wall, end, reason, "guard"))
            if one.finding.detector != "widen":
                self.pending.offenders.append((one.source, one.steps, until))
            self.bans_made += 1
            self._publish("ban", source=str(one.source), scope=one.scope.value, until=end, detector=one.finding.detector, reason=reason)
        if not self.pending.bans:
            return
        with contextlib.suppress(KernelError):
            self._bans().at_once(self.pending.bans, now)
        if flag(self.prepared.policy, "bans.cut"):
            sources = [b.prefix for b in self.pending.bans]
            self._cut(sources)
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._cut, sources)

    def _cut(self, sources: list[Prefix]) -> None:
        """End what these sources hold and have not logged in over. A login behind the same address stays."""
        flows = [f for f in sockets.flows(frozenset(self.prepared.ports.ports)) if any(p.covers(f.peer) for p in sources)]
        if flows:
            kept = authenticated(flows)
            for flow in flows:
                if flow.cookie not in kept:
                    with contextlib.suppress(QuietgateError):
                        sockets.destroy(flow)

    def flush(self, wait: float = 0.0) -> None:
        """Write what is pending, in one commit. Where the lock or the disk refuses, it is kept and tried again."""
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        if not self.pending:
            return
        p = self.pending
        p.places.update({f"open:{name}": json.dumps(self.engine.unfinished(name)) for name in p.touched})
        try:
            with locked(self.parts.paths.lock, wait):
                self._bans().add(p.bans, p.guesses, p.offenders, list(p.places.items()), time.time())
        except Busy:
            del p.guesses[: max(0, len(p.guesses) - MOST_PENDING * 4)]  # a command may hold the lock for minutes
            self._flush_at = asyncio.get_running_loop().call_later(0.1, self.flush)
            return
        except (StateError, KernelError) as error:
            self.troubles["store"] = error.message
            del p.guesses[: max(0, len(p.guesses) - MOST_PENDING * 4)]
            with contextlib.suppress(RuntimeError):
                self._flush_at = asyncio.get_running_loop().call_later(WAIT, self.flush)
            return
        self.troubles.pop("store", None)
        self.pending = Pending()

    def _bans(self) -> Bans:
        policy = self.prepared.policy
        return Bans(self.store, self.sets, policy.ssh.counting, policy.bans.max)

    def _past(self, source: Prefix) -> Past:
        for prefix, steps, ended in reversed(self.pending.offenders):
            if prefix == source:
                return Past(steps, ended)
        try:
            return Past(*self.store.past(source))
        except StateError:
            return Past()

    def _until(self, source: Prefix) -> float:
        try:
            found = self.store.covering(source, time.time())
        except StateError:
            return 0.0
        return max((float("inf") if b.until is None else b.until for b in found), default=0.0)

    # -- who asks

    def _publish(self, what: str, **fields: Any) -> None:
        self.control.publish({"form": "quietgate/event", "version": 1, "event": what, "at": time.time(), **fields})

    def _answer(self, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        if name == "status":
            return {
                "form": "quietgate/guard", "version": 1, "pid": os.getpid(), "since": self.begun, "bans": self.bans_made, "trouble": "; ".join(self.troubles.values()),
                "mode": "observe" if self.engine.settings.observe else "enforce", "figures": self.engine.figures(),
                "sources": [{"name": s.health.name, "trust": s.health.trust.value, "last": s.health.last, "events": s.health.events,
                             "trouble": s.health.trouble} for s in self.sources],
            }  # fmt: skip
        if name == "changed":
            if asked.get("what") == "bans":
                self.engine.look_again()
            else:
                self._reload()
            return {"ok": True}
        return {"error": "unknown request", "id": "input"}


def _banned_since(parts: Parts, since: float) -> list[tuple[int, bytes, int, float]]:
    with parts.store() as store:
        return store.made_by("guard", since, widen.MOST)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _because(finding: Any) -> str:
    said = f"{finding.detector}: {finding.count} in {format_duration(finding.window)}"
    return f"{said}; {finding.evidence}" if finding.detector == "widen" else said


def _key(source: Prefix) -> bytes:
    return source.value.to_bytes(BITS[source.version] // 8, "big")
