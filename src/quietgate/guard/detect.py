"""Attempts -> findings. Each detector is one question about one source, with the reason why nobody honest is caught.

    burst    5 in 10 minutes      a person who mistypes stops, or asks; a program goes on
    slow     10 in a day          people fail a few times a week; ten failures in a day without a login is no person
    names    4 unknown names/1h   people know their own name; a list is being tried
    root     3 in 10 minutes      where sshd refuses root, nobody who belongs here tries it
    noise    30 in 10 minutes     handshakes that no client makes; connecting and leaving never counts
    penalty  2 in 10 minutes      sshd itself has shut it out, and it goes on

Times are monotonic seconds: a clock that jumps changes nothing. A known source has `patience`: its thresholds are higher,
and `slow` is off for it. A login forgives the failures of the same user name only: logging in with one's own account must
not wipe out guesses at other people's.

A connection that ended with a name and without a login, of which the log does not show whether anything was tried, weighs a third of
a guess: who thinks better of it at the prompt five times is no attacker, who offers one key after the other is.

Memory: for each source at most as many failures as the largest threshold, 16 bytes each; at most `most` sources, of which
the one that was heard of longest ago goes first.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from quietgate.net import Prefix
from quietgate.sshlog.attempts import ROOT
from quietgate.sshlog.connection import Attempt, Outcome

UNSURE_FOR_ONE = 3  # unsure endings that weigh as much as one guess
NAMES = ("burst", "slow", "names", "root", "noise", "penalty")
_GUESSED = Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Threshold:
    """So many in so many seconds. Both ends of the window count."""

    count: int
    window: float

    def __post_init__(self) -> None:
        if self.count < 1 or self.window <= 0:
            raise ValueError(f"{self.count} per {self.window} s: both must be positive")


@dataclass(frozen=True, slots=True)
class Finding:
    """A detector's conclusion about one source: how many, in how many seconds, and the line that completed it."""

    detector: str
    source: Prefix
    count: int
    window: float
    evidence: str


@dataclass(slots=True)
class Detectors:
    """All of them. `thresholds` has those that are on, by name. `root_refused`: sshd takes no password for root."""

    thresholds: Mapping[str, Threshold]
    patience: int = 5
    root_refused: bool = True
    most: int = 200_000
    forgotten: int = 0
    # Pairs of moment and user (a checksum of the name), the newest last. One dict for each question: most sources have
    # an entry in the first alone.
    _failures: OrderedDict[int, array[float]] = field(default_factory=OrderedDict)
    _others: dict[str, OrderedDict[int, array[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._others = {name: OrderedDict() for name in ("names", "root", "noise", "penalty", "unsure")}

    def __len__(self) -> int:
        return len(self._failures) + sum(len(d) for d in self._others.values())

    def saw(self, attempt: Attempt, source: Prefix, now: float, *, known: bool = False) -> Finding | None:
        """Take one attempt of `source` at monotonic second `now`; a finding when it completes a count, else None."""
        outcome = attempt.outcome
        key = source.value << 1 | (source.version == 6)
        factor = self.patience if known else 1
        if outcome is not _GUESSED:
            if outcome is Outcome.SUCCEEDED:
                self._forgive(key, attempt.user)
                return None
            if outcome is Outcome.EXCUSED:
                self._take_back(key, attempt.user)
                return None
            if outcome is not Outcome.UNSURE:
                return self._one("noise" if outcome is Outcome.NOISE else "penalty", key, attempt, source, now, factor)
            if not self._weighs(key, attempt, now):
                return None
        found = self._guess(key, attempt, source, now, factor)
        if found is None and attempt.invalid:
            found = self._name(key, attempt, source, now, factor)
        if found is None and attempt.user == ROOT and self._is_refused(attempt):
            found = self._one("root", key, attempt, source, now, factor)
        return found

    def forget(self, source: Prefix) -> None:
        """Begin anew with a source: it was banned, or unbanned."""
        key = source.value << 1 | (source.version == 6)
        self._failures.pop(key, None)
        for others in self._others.values():
            others.pop(key, None)

    def forget_before(self, now: float) -> None:
        """Drop what has left every window. Call now and then; any time is right."""
        horizon = now - max((t.window for n, t in self.thresholds.items() if n in ("burst", "slow")), default=0.0)
        _drop(self._failures, horizon)
        for name, others in self._others.items():
            threshold = self.thresholds.get(name)
            _drop(others, horizon if name == "unsure" else now - threshold.window if threshold else now)

    def _guess(self, key: int, attempt: Attempt, source: Prefix, now: float, factor: int) -> Finding | None:
        burst, slow = self.thresholds.get("burst"), self.thresholds.get("slow") if factor == 1 else None
        most = max(t.count for t in (burst, slow) if t) * factor if burst or slow else 0
        if not most:
            return None
        times = self._put(self._failures, key, now, attempt.user, min(attempt.times, most), most)
        for name, threshold in (("burst", burst), ("slow", slow)):
            if threshold is not None and _within(times, threshold.count * factor, threshold.window, now):
                return Finding(name, source, threshold.count * factor, threshold.window, attempt.evidence)
        return None

    def _one(self, name: str, key: int, attempt: Attempt, source: Prefix, now: float, factor: int) -> Finding | None:
        threshold = self.thresholds.get(name)
        if threshold is None:
            return None
        wanted = threshold.count * factor
        times = self._put(self._others[name], key, now, attempt.user, min(attempt.times, wanted), wanted)
        return Finding(name, source, wanted, threshold.window, attempt.evidence) if _within(times, wanted, threshold.window, now) else None

    def _weighs(self, key: int, attempt: Attempt, now: float) -> bool:
        """True for each third unsure ending."""
        found = self._put(self._others["unsure"], key, now, attempt.user, 1, UNSURE_FOR_ONE)
        if len(found) < 2 * UNSURE_FOR_ONE:
            return False
        del self._others["unsure"][key]
        return True

    def _take_back(self, key: int, user: str) -> None:
        """The newest guess at this name was none."""
        name = float(crc32(user.encode("utf-8", "replace")))
        for into in (self._failures, self._others["root"], self._others["names"]):
            found = into.get(key)
            if found is None:
                continue
            for at in range(len(found) - 1, 0, -2):
                if found[at] == name:
                    del found[at - 1 : at + 1]
                    break
            if not found:
                del into[key]

    def _name(self, key: int, attempt: Attempt, source: Prefix, now: float, factor: int) -> Finding | None:
        threshold = self.thresholds.get("names")
        if threshold is None:
            return None
        wanted = threshold.count * factor
        others = self._others["names"]
        seen = others.get(key)
        name = float(crc32(attempt.user.encode("utf-8", "replace")))
        if seen is not None:  # the same name again only moves to the end
            for at in range(1, len(seen), 2):
                if seen[at] == name:
                    del seen[at - 1 : at + 1]
                    break
        times = self._put(others, key, now, attempt.user, 1, wanted)
        return (
            Finding("names", source, wanted, threshold.window, attempt.evidence) if _within(times, wanted, threshold.window, now) else None
        )

    def _is_refused(self, attempt: Attempt) -> bool:
        return self.root_refused or attempt.method in ("root-refused", "not-allowed", "prohibited")

    def _put(self, into: OrderedDict[int, array[float]], key: int, now: float, user: str, times: int, most: int) -> array[float]:
        found = into.get(key)
        if found is None:
            if len(into) >= self.most:
                into.popitem(last=False)
                self.forgotten += 1
            found = into[key] = array("d")
        else:
            into.move_to_end(key)
        name = float(crc32(user.encode("utf-8", "replace")))
        for _ in range(times):
            found.append(now)
            found.append(name)
        if len(found) > 2 * most:
            del found[: len(found) - 2 * most]
        return found

    def _forgive(self, key: int, user: str) -> None:
        name = float(crc32(user.encode("utf-8", "replace")))
        for into in (self._failures, self._others["root"], self._others["names"], self._others["unsure"]):
            found = into.get(key)
            if found is None:
                continue
            kept = array("d", [x for at in range(0, len(found), 2) if found[at + 1] != name for x in found[at : at + 2]])
            if kept:
                into[key] = kept
            else:
                del into[key]


def _within(times: array[float], count: int, window: float, now: float) -> bool:
    """True if the last `count` lie within `window`. Another source of lines may be hours behind: what it tells is as far from the
    newer moments as they are from it.
    """
    at = len(times) - 2 * count
    return at >= 0 and abs(now - times[at]) <= window


def _drop(into: OrderedDict[int, array[float]], horizon: float) -> None:
    """The dicts are in the order of the last word, so the old ones stand first."""
    while into:
        key, times = next(iter(into.items()))
        if times[-2] >= horizon:
            return
        del into[key]
