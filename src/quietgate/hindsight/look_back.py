"""What old logs tell: attempts, sources, names, logins, and whom the guard would have banned under a policy. Only reads.

Bans do not act on what follows here: every attempt that was made is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

from quietgate.clock import Instant
from quietgate.guard.engine import Ban as BanCommand
from quietgate.guard.engine import Check, Engine, Remember, Settings
from quietgate.guard.sentences import Past
from quietgate.hindsight.digest import SHOWN, Digest, Source
from quietgate.net import Prefix
from quietgate.sshlog.connection import Outcome
from quietgate.sshlog.lines import Event, Trust
from quietgate.values import Ban, Login, Scope

MOST_NAMES = 1_000_000  # that are told apart; of more, the rest count together
BARS = 28
ATTEMPTS = (Outcome.FAILED, Outcome.NOISE, Outcome.PENALTY)


@dataclass(slots=True)
class _Tally:
    attempts: int = 0
    first: float = 0.0
    last: float = 0.0
    names: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    ban: Ban | None = None


def look_back(events: Iterable[Event], settings: Settings, *, since: float = 0.0, until: float = float("inf"), of: str = "") -> Digest:
    """The digest of a log, under these settings of a guard. `since`, `until` in wall seconds; `of` names the logs for whoever reads."""
    offenders: dict[Prefix, Past] = {}
    # The same log gives the same answer: lengths of bans vary by chance.
    engine = Engine(replace(settings, alerts=frozenset()), lambda source: offenders.get(source, Past()), dice=Random(1))  # noqa: S311
    sources: dict[Prefix, _Tally] = {}
    made: Counter[str] = Counter()
    names: Counter[str] = Counter()
    unknown: set[str] = set()
    logins: dict[tuple[str, Prefix], Login] = {}
    hours: Counter[int] = Counter()
    begin, end, total, unnamed = float("inf"), 0.0, 0, 0
    now = 0.0
    for event in events:
        if not since <= event.at < until:
            continue
        now = max(now, event.at)  # a clock that was set back does not take the guard back
        for command in engine.read("log", Trust.FILE, event, Instant(now, now)):
            if isinstance(command, BanCommand):
                made[command.finding.detector] += 1
                offenders[command.source] = Past(command.steps, command.at.wall + command.seconds)
                tally = sources.get(command.source)
                if tally is not None:
                    ends = None if command.seconds == float("inf") else command.at.wall + command.seconds
                    tally.ban = Ban(command.source, Scope.SSH, command.at.wall, ends, command.finding.detector, "guard")
                continue
            if isinstance(command, Check):  # as the log tells of it: nobody earns anything by it here
                begin, end = min(begin, command.at), max(end, command.at)
                logins[(command.user, command.address)] = Login(command.user, command.address, command.at, "file")
            if not isinstance(command, Remember):
                continue
            a = command.attempt
            if a.outcome not in ATTEMPTS:
                continue
            begin, end = min(begin, a.at), max(end, a.at)
            total += a.times
            hours[int(a.at) // 3600] += a.times
            tally = sources.get(command.source)
            if tally is None:
                tally = sources[command.source] = _Tally(first=a.at)
            tally.attempts += a.times
            tally.last = a.at
            if a.user and len(names) + len(unknown) < MOST_NAMES:
                if a.invalid:
                    unknown.add(a.user)
                    tally.unknown.add(a.user)
                    unnamed += a.times
                else:
                    names[a.user] += a.times
                    tally.names[a.user] += a.times
    if end == 0.0:
        begin = end = now
    busiest = sorted(sources.items(), key=lambda s: (-s[1].attempts, s[0]))[:SHOWN]
    shown = names.most_common(SHOWN)
    return Digest(
        "", begin, end, total, len(sources), dict(made), 0, _bars(hours, begin, end), tuple(_source(p, t) for p, t in busiest), tuple(shown), unnamed,
        tuple(sorted(logins.values(), key=lambda x: (-x.at, x.user))), more_names=max(0, len(names) - SHOWN),
        more_tried=sum(names.values()) - sum(c for _, c in shown), of=of,
    )  # fmt: skip


def _source(prefix: Prefix, t: _Tally) -> Source:
    existing = [n for n, _ in t.names.most_common()]
    return Source(prefix, t.attempts, t.first, t.last, tuple(existing[:SHOWN]), len(t.unknown), t.ban, len(existing[SHOWN:]))


def _bars(hours: Counter[int], begin: float, end: float) -> tuple[int, ...]:
    if not hours:
        return ()
    bars = [0] * BARS
    width = max(1.0, (end - begin) / BARS)
    for hour, count in hours.items():
        bars[min(BARS - 1, max(0, int((hour * 3600 + 1800 - begin) / width)))] += count
    return tuple(bars)
