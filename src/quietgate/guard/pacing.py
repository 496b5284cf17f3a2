"""When a message goes out, and what it tells of. Pure: time is an argument.

One thing (a kind and its subject) is told of once, whatever number of times it happens. All messages together keep to this:

    at once     the first thing after a quiet time of `group_for`; a break-in does not wait for what else was told lately, only
                for the last message of break-ins
    together    what comes within `group_for` of a message waits, and goes out as one message at its end
    again       a thing that goes on happening is told of again with its count after `group_for`, then twice that, ... a day
    over        a thing that lasted and was told of is said to be over, once; what was over before anybody was told is not told
    at_most     so many messages in so long; break-ins excepted, though they count
    hours       `quiet` holds back what is no page until it ends

Nothing is lost by being held back: the record has it when it happens, whoever is told when.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from quietgate.clock import Instant
from quietgate.guard.alerts import SEVERITIES, Alert, Raise, Severity, Topic

DAY = 86400.0
SHOWN = 20  # things that one message names; of the rest it gives the number
MOST = 20_000  # things that are held in mind; of more, those that were quiet longest are told of anew
_ORDER = {Severity.PAGE: 0, Severity.WARN: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class Manners:
    """The policy's. Seconds; `at_most` messages in so many seconds (None: any number); `hours` first and last minute of the local
    day between which only pages go out (None: none); `kept`: kinds for the digest alone.
    """

    group_for: float = 300.0
    at_most: tuple[int, float] | None = (3, 3600.0)
    hours: tuple[int, int] | None = None
    kept: frozenset[Topic] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """One thing as a message tells of it: how often in all, first and last wall second, and if it is over, why."""

    raised: Raise
    count: int
    first: float
    last: float
    over: str = ""

    @property
    def severity(self) -> Severity:
        """What is over is for whoever wants to read everything that he was told of: it has the severity that it had."""
        return self.raised.severity


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out. `more`: things beyond those that are named."""

    at: float
    things: tuple[Told, ...]
    more: int = 0

    @property
    def severity(self) -> Severity:
        """That of the worst thing in it."""
        return min((t.severity for t in self.things), key=_ORDER.__getitem__)


@dataclass(slots=True)
class Thing:
    """What is known of one thing. `told`: how many times of `count` somebody was told of; `since` and `told_at` monotonic."""

    raised: Raise
    first: float
    last: float
    heard: float
    count: int = 1
    told: int = 0
    tellings: int = 0
    told_at: float = 0.0
    over: str = ""
    over_told: bool = False
    seen: bool = False  # a person has acknowledged it
    id: int = 0  # in the record

    @property
    def waits(self) -> bool:
        """True if there is something to tell."""
        if self.seen:
            return False
        return not self.over_told if self.over else self.count > self.told

    def ready(self, group_for: float) -> float:
        """Monotonic second from which on it may be told of."""
        if not self.tellings or self.over:
            return 0.0
        return self.told_at + min(DAY, group_for * 2.0 ** min(self.tellings - 1, 20))


@dataclass(slots=True)
class Quiet:
    """All things that are not long over, and what was sent."""

    manners: Manners = Manners()
    things: OrderedDict[tuple[Topic, str], Thing] = field(default_factory=OrderedDict)
    _sent: list[float] = field(default_factory=list)  # monotonic
    _last_page: float = float("-inf")  # the last message with a break-in

    def take(self, alert: Alert, now: Instant) -> tuple[Topic, str] | None:
        """Something happened, or is over; which thing changed, if any."""
        key = (alert.topic, alert.subject)
        thing = self.things.get(key)
        if isinstance(alert, Raise):
            if thing is None:
                if len(self.things) >= MOST:
                    self.things.popitem(last=False)
                self.things[key] = Thing(alert, alert.at, alert.at, now.mono)
            else:
                thing.raised, thing.last, thing.heard = alert, alert.at, now.mono
                thing.count += 1
                thing.over, thing.over_told, thing.seen = "", False, thing.seen and not thing.over
                self.things.move_to_end(key)
            return key
        if thing is None or thing.over:
            return None
        thing.over, thing.heard = alert.what or "it is over", now.mono
        # What nobody was told of, nobody needs to hear the end of.
        thing.over_told = thing.count > thing.told
        thing.told = thing.count
        return key

    def acknowledge(self, key: tuple[Topic, str]) -> None:
        """A person knows: nothing more is said of it while it is the same."""
        if key in self.things:
            self.things[key].seen = True

    def due(self, now: Instant, minute: int) -> Message | None:
        """The message that should go out now (`minute` of the local day), if there is one; it then counts as sent."""
        waiting = [t for t in self.things.values() if self._may(t, now, minute)]
        if not waiting or self._gate(waiting, now) > now.mono:
            return None
        self._sent.append(now.mono)
        if any(t.raised.topic is Topic.BREAK_IN and not t.over for t in waiting):
            self._last_page = now.mono
        waiting.sort(key=lambda t: _ORDER[t.raised.severity])
        named: list[Told] = []
        for t in waiting:
            if len(named) < SHOWN:
                named.append(Told(t.raised, t.count, t.first, t.last, t.over))
            t.over_told, t.told, t.told_at = bool(t.over), t.count, now.mono
            t.tellings += 0 if t.over else 1
        return Message(now.wall, tuple(named), len(waiting) - len(named))

    def wake(self, now: Instant, minute: int) -> float | None:
        """Seconds after which `due` may have something; None if nothing waits."""
        waiting = [t for t in self.things.values() if t.waits and t.raised.topic not in self.manners.kept]
        if not waiting:
            return None
        ready = [t for t in waiting if self._may(t, now, minute)]
        times = [self._gate(ready, now)] if ready else []
        for t in waiting:
            at = t.ready(self.manners.group_for)
            if self._held(t, minute):
                at = max(at, now.mono + 60.0 * (((self.manners.hours or (0, 0))[1] - minute) % 1440) + 1.0)
            if at > now.mono:
                times.append(at)
        return max(0.0, min(times) - now.mono)

    def forget(self, now: Instant) -> None:
        """Drop what is over, or has not happened for a day. Call now and then."""
        window = max(DAY, self.manners.at_most[1] if self.manners.at_most else 0.0)
        self._sent = [at for at in self._sent if now.mono - at <= window]
        for key in [k for k, t in self.things.items() if not t.waits and now.mono - t.heard > DAY and (t.over or not t.raised.lasting)]:
            del self.things[key]

    # -- for a restart

    def snapshot(self, now: Instant) -> list[float]:
        """When messages went out, in wall seconds; the last one is of break-ins (0: none)."""
        page = now.wall - (now.mono - self._last_page) if self._last_page > float("-inf") else 0.0
        return [*(now.wall - (now.mono - at) for at in self._sent), page]

    def restore(self, sent: Any, things: Iterable[Thing], now: Instant) -> None:
        """What was before. Anything else than `snapshot` gave is passed over."""
        if isinstance(sent, list) and sent:
            *sent, page = [now.mono - max(0.0, now.wall - float(at)) if at else float("-inf") for at in sent]
            self._sent, self._last_page = sent, page
        for thing in things:
            self.things[thing.raised.topic, thing.raised.subject] = thing

    # -- inside

    def _may(self, t: Thing, now: Instant, minute: int) -> bool:
        return (t.waits and t.raised.topic not in self.manners.kept and t.ready(self.manners.group_for) <= now.mono
                and not self._held(t, minute))  # fmt: skip

    def _held(self, t: Thing, minute: int) -> bool:
        if self.manners.hours is None or SEVERITIES.get(t.raised.topic) is Severity.PAGE:
            return False
        first, last = self.manners.hours
        return first <= minute < last if first <= last else minute >= first or minute < last

    def _gate(self, waiting: list[Thing], now: Instant) -> float:
        """Monotonic second from which on a message may go out that tells of these."""
        open_at = self._sent[-1] + self.manners.group_for if self._sent else float("-inf")
        if self.manners.at_most is not None:
            count, window = self.manners.at_most
            lately = [at for at in self._sent if now.mono - at < window]
            if len(lately) >= count:
                open_at = max(open_at, lately[-count] + window)
        if any(t.raised.topic is Topic.BREAK_IN and not t.over for t in waiting):
            open_at = min(open_at, self._last_page + self.manners.group_for)
        return open_at
