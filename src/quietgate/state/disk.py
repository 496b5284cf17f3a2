"""One thread that writes, so that no ban waits for a disk.

Work is done in the order in which it was given, with a store and a netlink socket of the thread's own; what came of it is told in the loop
that gave it. A disk that does not answer holds up what follows here, and nobody else. Reads go on beside it: SQLite's WAL lets them. Of what
waits there is a most: more is refused at once, as a full disk refuses it, and whoever gave it keeps it or lets it go.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from quietgate.errors import QuietgateError, StateError
from quietgate.host.netlink import SetWriter
from quietgate.state.database import Store

MOST = 1000  # pieces of work that wait
T = TypeVar("T")
Then: TypeAlias = Callable[[T | None, QuietgateError | None], object]


@dataclass(slots=True)
class Desk:
    """What work has before it."""

    store: Store
    sets: SetWriter


class Disk(Protocol):
    """Who writes."""

    def do(self, work: Callable[[Desk], T], then: Then[T] | None = None) -> None:
        """Do it after all that was given before; then tell, in the loop, what it returned or with which error it ended."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Desk], Any]
    then: Then[Any] | None
    result: Any = None
    error: QuietgateError | None = None
    bug: str = ""


@dataclass(slots=True)
class Thread:
    """The real one. `opens` gives the store; it is called in the thread, and again after `reopen`. `tell` is told, in the loop, of errors that
    nobody has expected.
    """

    opens: Callable[[], Store]
    tell: Callable[[str], object]
    outstanding: int = 0  # work whose end nobody was told of yet
    begun: float | None = None  # CLOCK_MONOTONIC at which the work of now began
    _given: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    _done: queue.SimpleQueue[_Job] = field(default_factory=queue.SimpleQueue)
    _stale: bool = False
    _sets: SetWriter | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    def do(self, work: Callable[[Desk], T], then: Then[T] | None = None) -> None:
        """As `Disk.do`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
            self._thread.start()
        with contextlib.suppress(RuntimeError):  # no loop: whoever gave it waits with `finish`
            self._loop = asyncio.get_running_loop()
        job = _Job(work, then)
        self.outstanding += 1
        if self.outstanding > MOST:
            job.error = StateError("the disk does not answer, and too much waits for it", "see to the disk; nothing was changed")
            self._ended(job)
        else:
            self._given.put(job)

    def reopen(self) -> None:
        """The database is another file now."""
        self._stale = True

    def lasts(self) -> float:
        """Seconds for which the work of now has lasted; 0 while there is none."""
        begun = self.begun
        return 0.0 if begun is None else time.monotonic() - begun

    def made(self) -> int:
        """Transactions that it made in the kernel."""
        sets = self._sets
        return 0 if sets is None else sets.made

    def finish(self, within: float) -> bool:
        """Wait for what was given, and tell what came of it; False where that takes longer. For the end of a process: it holds the loop."""
        until = time.monotonic() + within
        while self.outstanding:
            try:
                job = self._done.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return False
            self._tell(job)
        return True

    def close(self) -> None:
        """No more is given. What hangs is left to the end of the process."""
        if self._thread is not None:
            self._given.put(None)
            self._thread.join(1.0)

    def _tell(self, job: _Job) -> None:
        self.outstanding -= 1
        if job.bug:
            self.tell(job.bug)
        if job.then is not None:
            job.then(job.result, job.error)

    def _tell_all(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._tell(self._done.get_nowait())

    def _ended(self, job: _Job) -> None:
        self._done.put(job)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: `finish` tells
                self._loop.call_soon_threadsafe(self._tell_all)

    def _work(self) -> None:
        desk: Desk | None = None
        while (job := self._given.get()) is not None:
            self.begun = time.monotonic()
            try:
                self._sets = self._sets or SetWriter()
                if desk is not None and self._stale:
                    desk.store.close()
                    desk = None
                if desk is None:
                    self._stale = False
                    desk = Desk(self.opens(), self._sets)
                job.result = job.work(desk)
            except QuietgateError as error:
                job.error = error
            except Exception as error:  # noqa: BLE001  whatever it is, the next one has its turn, and whoever gave it is told
                job.bug = f"{type(error).__name__}: {ascii(str(error))[:200]}"
                job.error = StateError(job.bug, "nothing was changed")
            self.begun = None
            self._ended(job)
        if desk is not None:
            desk.store.close()
