"""What a person should know: recorded when it happens, told when `guard/pacing` says so, by the ways that the policy names.

Record and messages are one commit. While the disk is full both are kept in memory and written later; messages go out all the
same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections.abc import Iterable

from quietgate.alerts import messages
from quietgate.alerts.guard import Guard
from quietgate.alerts.outbox import Delivery
from quietgate.clock import Instant
from quietgate.errors import Damaged, QuietgateError, StateError
from quietgate.generations.in_force import manners, minutes, number
from quietgate.guard.alerts import Alert, Topic
from quietgate.guard.pacing import DAY, Quiet
from quietgate.policy.routes import for_digest, key
from quietgate.state.alerts import Book
from quietgate.values import Noted, Parcel

SENT, USUAL = "alerts:sent", "alerts:usual"  # in the store: when messages went out; how long sources are silent as a rule
SUMMED = "digest:until"  # in the store: the wall second up to which the last digest told
KEEP = 600.0  # seconds between two times that it is written: nobody shall wake the disk for it
SOON = 0.2  # seconds in which what happens together is one commit
DIGEST_AGAIN = 600.0  # seconds after which a digest that could not be made is tried again
AGAIN = 2.0  # seconds after which a commit that failed is tried again


class Alerting:
    """The guard's alerts. One per guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._quiet = Quiet(manners(guard.policy))
        self._dirty: dict[tuple[Topic, str], None] = {}
        self._unwritten: list[Parcel] = []
        self._writing: dict[tuple[Topic, str], None] | None = None  # what a commit on its way holds
        self._carried = 0  # messages that it holds
        self._again = False  # more is to be written than that
        self._due: asyncio.TimerHandle | None = None
        self._digest_tried = float("-inf")
        self._usual, self._kept = "", float("-inf")  # what was written of it, and when
        self.delivery = Delivery(guard, self._arrived)

    @property
    def book(self) -> Book:
        """The record, in the store of now."""
        return Book(self._guard.store)

    def restore(self, now: Instant) -> None:
        """What was before this process began, and what still waits for a way out. Raises StateError."""
        offset = now.wall - now.mono
        things = []
        for n in reversed(self.book.noted(now.wall - DAY)):
            with contextlib.suppress(ValueError):
                things.append(messages.thing(n, offset))
        with contextlib.suppress(ValueError, TypeError):
            self._quiet.restore(json.loads(self._guard.store.about(SENT) or "[]"), things, now)
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            self._guard.engine.alerts.restore(json.loads(self._guard.store.about(USUAL) or "{}"), now)
        # What lasted when the last guard stopped may be over, or last on: whoever looks will say so.
        for thing in things:
            if thing.raised.lasting and not thing.over:
                self._guard.engine.alerts.stood(thing.raised.topic, thing.raised.subject)
        self.delivery.take(self.book.parcels())
        self._wake(now)

    def change(self) -> None:
        """Another policy."""
        self._quiet.manners = manners(self._guard.policy)
        self.delivery.change()
        self._soon(0.0)

    def take(self, alerts: Iterable[Alert]) -> None:
        """Something happened, or is over."""
        now = Instant(time.time(), time.monotonic())
        for alert in alerts:
            key = self._quiet.take(alert, now)
            if key is not None:
                self._dirty[key] = None
                self._soon(0.0 if len(self._dirty) == 1 else SOON)

    def seen(self) -> None:
        """A person acknowledged something: look into the record which."""
        with contextlib.suppress(StateError):
            ids = {t.id: key for key, t in self._quiet.things.items() if t.id and not t.seen}
            for n in self.book.noted(time.time() - DAY):
                if n.seen and n.id in ids:
                    self._quiet.acknowledge(ids[n.id])

    def more(self) -> None:
        """Somebody put a message into the queue."""
        with contextlib.suppress(StateError):
            self.delivery.take(p for p in self.book.parcels() if not self.delivery.holds(p))

    def figures(self) -> dict[str, object]:
        """For `status`."""
        standing: dict[str, int] = {}
        with contextlib.suppress(StateError):
            standing = self.book.open_things()
        return {"standing": standing, "unwritten": len(self._dirty), "waiting": self.delivery.waiting(), "failing": self.delivery.failing()}

    def tick(self, now: Instant) -> None:
        """Forget what is over; keep what is usual."""
        self._quiet.forget(now)
        self.delivery.tick()
        self._digest(now)
        self._guard.trouble("delivery", "; ".join(f"{route}: {said}" for route, said in self.delivery.failing().items()))
        usual = json.dumps(self._guard.engine.alerts.snapshot())
        if usual != self._usual and now.mono - self._kept > KEEP:
            self._usual, self._kept = usual, now.mono

            def then(_: None, error: QuietgateError | None) -> None:
                if error is not None:
                    self._kept = float("-inf")  # the next tick tries again
                    self._usual = ""

            self._guard.disk.do(lambda desk: desk.store.put_about(USUAL, usual), then)

    def _digest(self, now: Instant) -> None:
        """When its time has come, a process of its own looks at everything and writes it."""
        policy = self._guard.policy
        if policy.values["digest.every"] == "off" or for_digest(policy) is None or now.mono - self._digest_tried < DIGEST_AGAIN:
            return
        with contextlib.suppress(StateError, ValueError):
            last = self._guard.store.about(SUMMED)
            if last is None:  # since today, not since ever
                self._guard.disk.do(lambda desk: desk.store.put_about(SUMMED, str(now.wall)))
            elif float(last) < due_since(str(policy.values["digest.every"]), str(policy.values["digest.at"]), now.wall):
                self._digest_tried = now.mono
                self._guard.spawn(self._summed())

    async def _summed(self) -> None:
        root = str(self._guard.parts.paths.root)
        words = [sys.executable, "-I", "-m", "quietgate", "--root", root, "report", "--send"]
        try:
            child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                                                         stderr=asyncio.subprocess.PIPE)  # fmt: skip
            try:
                _, said = await asyncio.wait_for(child.communicate(), DIGEST_AGAIN / 2)
            finally:
                if child.returncode is None:
                    child.kill()
            wrong = ascii(said.decode(errors="replace"))[1:300] if child.returncode else ""
        except OSError as error:  # a timeout is one, too
            wrong = type(error).__name__
        self._guard.trouble("digest", wrong and f"the digest could not be made: {wrong}")

    def forget(self, now: float) -> None:
        """Drop what the policy keeps no longer: a slice at a time."""
        since = now - number(self._guard.policy, "store.events")

        def then(more: bool | None, _: QuietgateError | None) -> None:
            if more:
                self._guard.disk.do(lambda desk: Book(desk.store).forget(since, now), then)

        self._guard.disk.do(lambda desk: Book(desk.store).forget(since, now), then)

    def flush(self) -> None:
        """Write what happened, and send what is due."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        now = Instant(time.time(), time.monotonic())
        message = self._quiet.due(now, _minute(now.wall))
        fresh = []
        if message is not None:
            self._dirty |= dict.fromkeys((t.raised.topic, t.raised.subject) for t in message.things)
            self._dirty |= dict.fromkeys(k for k, t in self._quiet.things.items() if t.told_at == now.mono)  # those it only counts
            name = uuid.uuid4().hex
            for route in self._guard.policy.routes:
                found = messages.for_route(message, route.severity, name)
                if found is not None:
                    fresh.append(Parcel(name, key(route), messages.text(found), now.wall, now.wall))
            for told in message.things:
                self._guard.log(f"alert: {told.raised.what}" if not told.over else f"over: {told.over}")
                self._guard.publish("alert", topic=told.raised.topic.value, subject=told.raised.subject, said=told.raised.what,
                                     severity=told.severity.value, count=told.count, over=told.over)  # fmt: skip
        self._unwritten += fresh
        keys = [k for k in self._dirty if k in self._quiet.things]
        noted = [messages.noted(self._quiet.things[k], now.wall - now.mono) for k in keys]
        if noted or self._unwritten:
            self._write(keys, noted, now)
        self.delivery.take(fresh)
        if self._due is None:
            self._wake(now)

    def _write(self, keys: list[tuple[Topic, str]], noted: list[Noted], now: Instant) -> None:
        """Give it to the disk. What happens meanwhile is written after it."""
        if self._writing is not None:
            self._again = self._again or bool(noted) or len(self._unwritten) > self._carried
            return
        self._writing, self._dirty = dict(self._dirty), {}
        parcels, sent = list(self._unwritten), json.dumps(self._quiet.snapshot(now))
        self._carried = len(parcels)

        def then(ids: list[int] | None, error: QuietgateError | None) -> None:
            before, self._writing = self._writing or {}, None
            again, self._again = self._again, False
            if ids is not None:
                self._guard.trouble("record", "")
                for key, number_ in zip(keys, ids, strict=True):
                    if key in self._quiet.things:
                        self._quiet.things[key].id = number_
                written = {(p.id, p.route) for p in parcels}
                self._unwritten = [p for p in self._unwritten if (p.id, p.route) not in written]
                if again:
                    self._soon(0.0)
                return
            self._dirty = before | self._dirty
            if isinstance(error, Damaged):
                with contextlib.suppress(QuietgateError):
                    self._guard.mend()
            elif error is not None:
                self._guard.trouble("record", error.message)
            self._soon(AGAIN)

        self._guard.disk.do(lambda desk: Book(desk.store).write(noted, parcels, [(SENT, sent)]), then)

    def _arrived(self, parcel: Parcel) -> None:
        """It came to its end: what waits to be written need not wait any more. (What is being written leaves the store after that.)"""
        self._unwritten = [p for p in self._unwritten if (p.id, p.route) != (parcel.id, parcel.route)]

    def _wake(self, now: Instant) -> None:
        after = self._quiet.wake(now, _minute(now.wall))
        if after is not None:
            self._soon(after + 0.05)

    def _soon(self, after: float) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: the guard has stopped
            loop = asyncio.get_running_loop()
            if self._due is not None:
                if self._due.when() <= loop.time() + after:
                    return
                self._due.cancel()
            self._due = loop.call_later(after, self.flush)


def due_since(every: str, at: str, wall: float) -> float:
    """The wall second at which the digest was due last: at that time of the local day, weekly on Mondays."""
    there = time.localtime(wall)
    hour, minute = divmod(minutes(at), 60)
    days = there.tm_wday if every == "weekly" else 0
    due = time.mktime((there.tm_year, there.tm_mon, there.tm_mday - days, hour, minute, 0, 0, 0, -1))
    if due > wall:
        back = 7 if every == "weekly" else 1
        due = time.mktime((there.tm_year, there.tm_mon, there.tm_mday - days - back, hour, minute, 0, 0, 0, -1))
    return due


def _minute(wall: float) -> int:
    there = time.localtime(wall)
    return there.tm_hour * 60 + there.tm_min
