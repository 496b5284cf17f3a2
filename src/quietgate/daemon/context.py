"""What the parts of the running guard work with together: the policy in force, the store, the kernel's sets, the engine, and
the ways to say something.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from quietgate.bans.recover import mend
from quietgate.bans.writer import Bans
from quietgate.clock import Instant
from quietgate.control.server import Control
from quietgate.errors import Damaged, KernelError, QuietgateError, StateError
from quietgate.generations.history import Teller, event
from quietgate.generations.in_force import settings
from quietgate.generations.installation import Parts
from quietgate.generations.plan import Prepared
from quietgate.guard.engine import Engine
from quietgate.guard.never import stand_for_many
from quietgate.host import output
from quietgate.host.journal_write import Log
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.surroundings import surroundings
from quietgate.net import Counting, Prefix
from quietgate.people import admins, known
from quietgate.policy.model import Policy
from quietgate.state import grants, history
from quietgate.state.database import Store
from quietgate.state.disk import Thread
from quietgate.values import Session, Surroundings

LATELY = 5.0  # seconds after a mending in which damage that is told of is the old one
MANY_FOR = 30 * 86400.0  # seconds in which logins of several users from one address count together


@dataclass(frozen=True, slots=True)
class _Known:
    """Sources with the wall second until which they are known; the floor with seconds to go; who stands for many; who is not to be banned
    before which wall second.
    """

    known: dict[Prefix, float]
    floor: dict[Prefix, float]
    many: frozenset[Prefix]
    pardoned: dict[Prefix, float]


def _look(
    store: Store, policy: Policy, ports: tuple[int, ...], around: Surroundings, now: Instant, noted: Sequence[Session] | None
) -> _Known:
    if noted is None:
        admins.refresh(store, policy, ports, now.wall)
    else:
        admins.take(store, policy, noted, now.wall)
    counting = policy.ssh.counting
    return _Known(
        {s: now.wall + left for s, left in known.sources(store, policy.ssh, now.wall).items()},
        admins.sources(store, counting, now.wall),
        frozenset(map(counting.source_of, stand_for_many(store.logins(now.wall - MANY_FOR), around))),
        {g.prefix: g.until for g in grants.standing(store, grants.Kind.PARDON, now.wall)},
    )


@dataclass(slots=True)
class Shared:
    """One per guard. `prepared` changes with a reload, `store` when it was damaged; the rest stays."""

    parts: Parts
    store: Store
    sets: SetWriter
    prepared: Prepared
    engine: Engine
    control: Control
    around: Surroundings
    disk: Thread = field(init=False)
    troubles: dict[str, str] = field(default_factory=dict)  # by what is in trouble
    missed: bool = False  # the kernel may lack bans that are in the store
    _mended: float = float("-inf")  # CLOCK_MONOTONIC at which the database was mended
    on_damage: Callable[[], None] = field(default=lambda: None)  # what is done about a damaged database
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    teller: Teller = field(init=False)
    published: int = 0  # the highest number of the history that listeners were told of

    def __post_init__(self) -> None:
        """What was done before this guard began is not told as it begins."""
        self.teller = Teller(Log(self.parts.paths.root))
        self.disk = Thread(self.parts.store, lambda said: self.trouble("task", said))
        self._skip_deeds()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.prepared.policy

    @property
    def counting(self) -> Counting:
        """What counts as one source under it."""
        return self.policy.ssh.counting

    def bans(self) -> Bans:
        """The writer of bans, under the policy in force."""
        return Bans(self.store, self.sets, self.counting, self.policy.bans.max, self.teller.tell)

    def look(self, now: Instant, *, noted: Sequence[Session] | None = None) -> asyncio.Future[None]:
        """Who is known, who is on the floor and who stands for many, as the store has it; who is logged in (or `noted` alone) is noted
        first. In the disk's thread; the future ends when the engine knows, or when that cannot be told now.
        """
        policy, ports, around = self.policy, self.prepared.ports.ports, self.around
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(found: _Known | None, error: QuietgateError | None) -> None:
            if found is not None:
                self.know(found)
            elif error is not None:
                self.refused(error)
            if not ended.done():
                ended.set_result(None)

        self.disk.do(lambda desk: _look(desk.store, policy, ports, around, now, noted), then)
        return ended

    def look_now(self, now: Instant) -> None:
        """The same, before anything else is done: for the start. Raises Damaged."""
        try:
            found = _look(self.store, self.policy, self.prepared.ports.ports, self.around, now, None)
        except Damaged:
            raise
        except (StateError, KernelError):
            return  # what was known before still is
        self.know(found)

    def know(self, found: _Known) -> None:
        """The engine, and the kernel's floor."""
        self.engine.know(found.known, frozenset(found.floor), found.many, found.pardoned)
        with contextlib.suppress(KernelError):
            admins.fill(self.sets, self.counting, found.floor, gain=True)

    def look_around(self) -> None:
        """What this host lives from moves with its networks."""
        around = surroundings(self.parts.paths.root)
        if around != self.around:
            self.around = around
            self.engine.change(settings(self.prepared, around))

    def refused(self, error: QuietgateError) -> None:
        """The disk did not do what it was given, and it is looked at again some time: a damaged database is mended at once."""
        if isinstance(error, Damaged):
            self.on_damage()

    def mend(self) -> None:
        """A damaged database: what can be read of it goes on in a new one. Raises QuietgateError where that cannot be done. Work that was on its
        way found the old one, too: what it says of that is no news.
        """
        if time.monotonic() - self._mended < LATELY:
            return
        with locked(self.parts.paths.lock, 5):
            said = mend(self.parts)
            damaged, self.store = self.store, self.parts.store()
        self._mended = time.monotonic()
        damaged.close()
        self.disk.reopen()
        self._skip_deeds()
        self.log(f"warning: {said}")
        self.publish("mended", done=said)

    # -- saying

    def publish(self, what: str, **fields: Any) -> None:
        """Tell whoever listens at the control socket."""
        self.control.publish({"form": "quietgate/event", "version": 1, "event": what, "at": time.time(), **fields})

    def publish_deeds(self, but: frozenset[int] = frozenset()) -> None:
        """Tell listeners what is new in the history, also what commands did; but not those numbers again."""
        if not self.control.heard:
            self._skip_deeds()
            return
        with contextlib.suppress(StateError):  # the next time
            for deed in history.read(self.store, after=self.published):
                self.published = deed.id
                if deed.id not in but:
                    self.control.publish(event(deed))

    def _skip_deeds(self) -> None:
        with contextlib.suppress(StateError):
            self.published = history.newest(self.store)

    def trouble(self, what: str, said: str) -> None:
        """Something does not work: for `status`, and once for the log. An empty `said` ends it."""
        if not said:
            self.troubles.pop(what, None)
        elif self.troubles.get(what) != said:
            self.troubles[what] = said
            self.log("; ".join(self.troubles.values()))

    @staticmethod
    def log(said: str) -> None:
        """A line for the service's log."""
        output.bound()
        print(said, file=sys.stderr, flush=True)

    # -- doing beside

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it beside the rest until the guard stops. One that dies is in trouble, not silent."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            if os.environ.get("QUIETGATE_DEBUG"):
                traceback.print_exception(task.exception())
            self.trouble("task", f"{type(task.exception()).__name__}: {task.exception()}")
