"""What the guard has decided and not yet written: bans, evidence, how far was read; one commit for all of it.

Bans are in the kernel already. While a command holds the lock, or the disk is full, they are kept and tried again.
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
from quietgate.bans.writer import made
from quietgate.daemon.context import Shared
from quietgate.errors import Busy, Damaged, KernelError, QuietgateError, StateError
from quietgate.generations.history import event
from quietgate.guard.sentences import Past
from quietgate.host.lock import locked
from quietgate.net import Prefix
from quietgate.state.sums import HOUR, TALLY
from quietgate.values import Ban, Guess

MOST = 5000  # attempts that wait for a commit
WAIT = 1.0  # seconds that attempts without a ban may wait for it
AGAIN = 0.1  # seconds after which a lock that somebody holds is tried again


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
    _due: asyncio.TimerHandle | None = None

    def ban(self, ban: Ban, steps: int | None) -> None:
        """A ban; with `steps` it is remembered how often this source was banned."""
        self.bans.append(ban)
        self._decided.append(time.time())
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
        return (Past(steps, ended) for prefix, steps, ended in reversed(self._offenders) if prefix == source)

    def look_at_the_clock(self) -> None:
        """If it was set, bans that were made since somebody first looked move with it, here and (in the next commit) in the store."""
        jump = self._jumps.new()
        if jump is None:
            return
        self.shared.log(f"warning: the clock was set by {jump.by:+.0f} s: bans that were made meanwhile move with it")
        self.bans = [replace(b, since=b.since + jump.by, until=None if b.until is None else b.until + jump.by) for b in self.bans]
        self._decided = [at + jump.by for at in self._decided]
        self._jumped = True
        self.soon(now=True)

    def soon(self, *, now: bool) -> None:
        """Commit `now`, or within a second."""
        if now or len(self.guesses) >= MOST:
            self.flush()
        elif self._due is None:
            self._again(WAIT)

    def flush(self, wait: float = 0.0) -> None:
        """Write it, in one commit; `wait` that many seconds for the lock. Where the lock or the disk refuses, it is kept."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.look_at_the_clock()
        if not (self.bans or self.guesses or self._places or self._jumped):
            return
        engine = self.shared.engine
        self._places.update({hour: json.dumps(tally) for hour, tally in self._tallies.items()})
        self._places.update({f"open:{name}": json.dumps(engine.unfinished(name)) for name in self._touched})
        try:
            with locked(self.shared.parts.paths.lock, wait):
                # Always: while this process was stopped, a command may have followed a clock that is right again by now.
                if follow(self.shared.store) or self._jumped:
                    self._jumped = False
                    self.shared.missed = True  # whoever filled the sets meanwhile saw bans end that have not
                in_kernel, done = self.shared.bans().add(
                    self.bans, self._decided, self.guesses, self._offenders, list(self._places.items()), time.time()
                )
                if not in_kernel:
                    self.shared.missed = True
        except Busy:
            self._keep(AGAIN)
        except Damaged:
            self.mend()
        except (StateError, KernelError) as error:
            self.shared.trouble("store", error.message)
            self._keep(WAIT)
        else:
            self.shared.trouble("store", "")
            if done:
                self.shared.publish_deeds(frozenset(d.id for d in done[: self._published]))
            self._published = 0
            for written in (self.bans, self._decided, self.guesses, self._offenders, self._places, self._touched):
                written.clear()
            for hour in sorted(self._tallies)[:-1]:
                del self._tallies[hour]

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

    def _keep(self, seconds: float) -> None:
        del self.guesses[: max(0, len(self.guesses) - MOST * 4)]  # a command may hold the lock for minutes
        for ban, at in list(zip(self.bans, self._decided, strict=True))[self._published :]:
            self.shared.control.publish(event(made(ban, at)))  # who listens need not wait for that; it has no number yet
        self._published = len(self.bans)
        self._again(seconds)

    def _again(self, seconds: float) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: the guard has stopped
            self._due = asyncio.get_running_loop().call_later(seconds, self.flush)
