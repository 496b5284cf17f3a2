"""What the guard has decided and not yet written: bans, evidence, how far was read; one commit for all of it, in the disk's thread.

Bans are in the kernel already. One commit is on its way at a time, and what is decided meanwhile goes with the next. While a command
holds the lock, or the disk is full, they are kept and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from quietgate.bans.clock import Jumps, follow
from quietgate.bans.writer import Bans, made
from quietgate.daemon.context import Shared
from quietgate.errors import Busy, Damaged, QuietgateError, StateError
from quietgate.generations.history import event
from quietgate.guard.sentences import Past
from quietgate.host.lock import locked
from quietgate.net import Prefix
from quietgate.state.disk import Desk
from quietgate.state.sums import HOUR, TALLY
from quietgate.values import Ban, Deed, Guess

MOST = 5000  # attempts that wait for a commit
WAIT = 1.0  # seconds that attempts without a ban may wait for it
CLOCK_WAITS = 5.0  # seconds that a clock which was set waits for a commit that is on its way
AGAIN = 0.1  # seconds after which a lock that somebody holds is tried again


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one commit writes. `published`: so many of its bans listeners were told of before."""

    bans: list[Ban]
    decided: list[float]
    guesses: list[Guess]
    offenders: list[tuple[Prefix, int, float]]
    places: dict[str, str]
    touched: set[str]
    jumped: bool
    published: int


@dataclass(slots=True)
class Pending:
    """What the next commit writes."""

    shared: Shared
    bans: list[Ban] = field(default_factory=list)
    _decided: list[float] = field(default_factory=list)  # wall second at which each of them was decided
    _published: int = 0  # of them, before they were written
    guesses: list[Guess] = field(default_factory=list)
    _offenders: list[tuple[Prefix, int, float]] = field(default_factory=list)
    _places: dict[str, str] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)
    _tallies: dict[str, Counter[str]] = field(default_factory=dict)  # bans of an hour, by detector
    _jumps: Jumps = field(default_factory=Jumps)
    _jumped: bool = False
    _ends: dict[Prefix, float] = field(default_factory=dict)  # of bans that are not in the store yet; there may be many while a disk hangs
    _lengths: set[int] = field(default_factory=set)
    _due: asyncio.TimerHandle | None = None
    _writing: _Batch | None = None
    _more: bool = False  # a flush was asked for meanwhile

    def ban(self, ban: Ban, steps: int | None) -> None:
        """A ban; with `steps` it is remembered how often this source was banned."""
        self.bans.append(ban)
        self._decided.append(time.time())
        self._ends[ban.prefix] = float("inf") if ban.until is None else ban.until
        self._lengths.add(ban.prefix.length)
        hour = f"{TALLY}{int(time.time()) // HOUR:08d}"
        if hour not in self._tallies:
            self._tallies[hour] = Counter()
            with contextlib.suppress(StateError, ValueError):
                self._tallies[hour].update(json.loads(self.shared.store.about(hour) or "{}"))
        self._tallies[hour][ban.reason.partition(":")[0]] += 1
        if steps is not None:
            self._offenders.append((ban.prefix, steps, float("inf") if ban.until is None else ban.until))

    def read(self, source: str, place: str) -> None:
        """How far a source of lines was read: it is written with what followed from it, never before."""
        self._places[f"place:{source}"] = place
        self._touched.add(source)

    def past(self, source: Prefix) -> Iterator[Past]:
        """What is not in the store yet of a source's earlier bans, the latest first."""
        written = self._writing.offenders if self._writing is not None else []
        return (Past(steps, ended) for prefix, steps, ended in reversed([*written, *self._offenders]) if prefix == source)

    def until(self, source: Prefix) -> float:
        """The wall second at which the last ban of a source ends that is not in the store yet; 0 without one."""
        wider = (Prefix.of(source.version, source.value, length) for length in self._lengths if length <= source.length)
        return max((self._ends.get(prefix, 0.0) for prefix in wider), default=0.0)

    @property
    def unwritten(self) -> list[Guess]:
        """Attempts that are not in the store yet, the oldest first."""
        return [*(self._writing.guesses if self._writing is not None else []), *self.guesses]

    def look_at_the_clock(self) -> None:
        """If it was set, bans that were made since somebody first looked move with it, here and (in the next commit) in the store."""
        jump = self._jumps.new()
        if jump is None:
            return
        if self._writing is not None:  # its bans bear the old time, and would be written after the store has moved
            self._more = False  # what waits behind it is moved first
            self.shared.disk.finish(CLOCK_WAITS)
        self.shared.log(f"warning: the clock was set by {jump.by:+.0f} s: bans that were made meanwhile move with it")
        self.bans = [replace(b, since=b.since + jump.by, until=None if b.until is None else b.until + jump.by) for b in self.bans]
        self._decided = [at + jump.by for at in self._decided]
        self._ends = {prefix: end + jump.by for prefix, end in self._ends.items()}
        self._jumped = True
        self.soon(now=True)

    def soon(self, *, now: bool) -> None:
        """Commit `now`, or within a second."""
        if now or len(self.guesses) >= MOST:
            self.flush()
        elif self._due is None:
            self._again(WAIT)

    def flush(self, wait: float = 0.0) -> None:
        """Give it to the disk, as one commit that waits `wait` seconds for the lock. Where the lock or the disk refuses, it is kept."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.look_at_the_clock()
        if self._writing is not None:
            self._more = True
            self._bound()
            return
        if not (self.bans or self.guesses or self._places or self._jumped):
            return
        engine = self.shared.engine
        self._places.update({hour: json.dumps(tally) for hour, tally in self._tallies.items()})
        self._places.update({f"open:{name}": json.dumps(engine.unfinished(name)) for name in self._touched})
        batch = self._writing = _Batch(self.bans, self._decided, self.guesses, self._offenders, self._places, self._touched, self._jumped,
                                       self._published)  # fmt: skip
        self.bans, self._decided, self.guesses, self._offenders, self._places, self._touched = [], [], [], [], {}, set()
        self._jumped, self._published = False, 0
        shared = self.shared
        counting, most, tell, lock = shared.counting, shared.policy.bans.max, shared.teller.tell, shared.parts.paths.lock

        def write(desk: Desk) -> tuple[bool, bool, list[Deed]]:
            with locked(lock, wait):
                # Always: while this process was stopped, a command may have followed a clock that is right again by now.
                moved = follow(desk.store)
                in_kernel, done = Bans(desk.store, desk.sets, counting, most, tell).add(
                    batch.bans, batch.decided, batch.guesses, batch.offenders, list(batch.places.items()), time.time()
                )
                return moved or batch.jumped, in_kernel, done

        shared.disk.do(write, self._written)

    def _written(self, result: tuple[bool, bool, list[Deed]] | None, error: QuietgateError | None) -> None:
        batch, self._writing = self._writing, None
        assert batch is not None
        more, self._more = self._more, False
        if result is not None:
            moved, in_kernel, done = result
            # Whoever filled the sets meanwhile saw bans end that have not.
            self.shared.missed = self.shared.missed or moved or not in_kernel
            self.shared.trouble("store", "")
            for ban in batch.bans:
                self._ends.pop(ban.prefix, None)
            if done:
                self.shared.publish_deeds(frozenset(d.id for d in done[: batch.published]))
            for hour in sorted(self._tallies)[:-1]:
                del self._tallies[hour]
            if more:
                self.flush()
            return
        # What came meanwhile goes behind it.
        self.bans, self._decided = [*batch.bans, *self.bans], [*batch.decided, *self._decided]
        self.guesses, self._offenders = [*batch.guesses, *self.guesses], [*batch.offenders, *self._offenders]
        self._places, self._touched = batch.places | self._places, batch.touched | self._touched
        self._jumped, self._published = batch.jumped or self._jumped, batch.published
        if isinstance(error, Busy):
            self._keep(AGAIN)
        elif isinstance(error, Damaged):
            self.mend()
        else:
            self.shared.trouble("store", "" if error is None else error.message)
            self._keep(WAIT)

    def finish(self, within: float) -> None:
        """Write what there is, and wait for it: the guard stops."""
        until = time.monotonic() + within
        while True:
            self.flush(wait=5.0)
            if not self.shared.disk.finish(max(0.0, until - time.monotonic())):
                self.shared.log("warning: the disk did not answer in time: what was not written is read from the log again")
                return
            if time.monotonic() > until or not (self.bans or self.guesses or self._places):
                return
            time.sleep(AGAIN)

    def mend(self) -> None:
        """The database is damaged: mend it (the guard waits for that), then write. Where that cannot be done, it is said and tried
        again.
        """
        try:
            self.shared.mend()
        except QuietgateError as error:
            self.shared.trouble("store", error.message)
            self._keep(WAIT)
        else:
            self._keep(AGAIN)

    def late(self) -> None:
        """The disk does not answer: who listens need not wait for it."""
        if self._writing is not None:
            batch = self._writing
            for ban, at in list(zip(batch.bans, batch.decided, strict=True))[batch.published :]:
                self.shared.control.publish(event(made(ban, at)))
            self._writing = replace(batch, published=len(batch.bans))

    def _keep(self, seconds: float) -> None:
        self._bound()
        for ban, at in list(zip(self.bans, self._decided, strict=True))[self._published :]:
            self.shared.control.publish(event(made(ban, at)))  # who listens need not wait for that; it has no number yet
        self._published = len(self.bans)
        self._again(seconds)

    def _bound(self) -> None:
        """A command may hold the lock for minutes, and a disk hang: the oldest attempts go, bans stay."""
        del self.guesses[: max(0, len(self.guesses) - MOST * 4)]

    def _again(self, seconds: float) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: the guard has stopped
            self._due = asyncio.get_running_loop().call_later(seconds, self.flush)
