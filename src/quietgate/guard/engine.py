"""The guard's decisions: events in, commands out. Pure: time is an argument, and so is chance.

The daemon, the tests and later the backtest run this same object. It keeps what it needs to decide (windows, who is known,
who is banned) and nothing else; the driver does what the commands say.

What can be forged decides nothing. A line in a file may have been written by anybody on this host: it bans strangers, who
can be unbanned, but never a source that is known. A login that a line tells of, in whatever log, counts only when the driver has
seen the session in the kernel (`logged_in`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from quietgate.clock import Instant
from quietgate.guard.alerts import Alerts, History, Login, Raise, Topic
from quietgate.guard.commands import Ban, Check, Command, Doubt, Know, LoggedIn, Remember, Spared
from quietgate.guard.detect import Detectors, Finding, Threshold
from quietgate.guard.never import OF_THE_FLOOR, Never
from quietgate.guard.sentences import Past, Sentences
from quietgate.guard.widen import Neighbourhoods, Widen
from quietgate.net import Counting, Prefix, PrefixSet, is_loopback
from quietgate.sshlog.attempts import Connections
from quietgate.sshlog.connection import Attempt, Outcome
from quietgate.sshlog.lines import Event, Trust
from quietgate.sshlog.sshd import Kind
from quietgate.sshlog.twice import Twice
from quietgate.values import Guess, Scope

__all__ = ["Ban", "Check", "Command", "Doubt", "Engine", "Know", "LoggedIn", "Raise", "Remember", "Settings", "Spared"]

SAID_AGAIN = 600.0  # seconds after which a spared source may be named again, and a banned one that is still heard doubted
MOST_SPARED = 4096
MOST_DOUBTED = 256
STILL_HEARD = 180.0  # seconds: LoginGraceTime is two minutes
SAME_LOGIN = 5.0  # seconds by which two witnesses of one login may differ
PARDONED = "somebody lifted its ban, and said that it is not to be banned again yet"
_ACCEPTED = Kind.ACCEPTED  # asked of every event: see connections.py


@dataclass(frozen=True, slots=True)
class Settings:
    """What the policy and the host say to the guard. `never`: who is not banned; `spared`: who is no stranger by the policy's word;
    `known_for` seconds, None: nobody is known.
    """

    thresholds: dict[str, Threshold]
    sentences: Sentences = Sentences()  # noqa: RUF009  immutable, as the next two
    counting: Counting = Counting()  # noqa: RUF009
    never: Never = Never.of(())  # noqa: RUF009
    spared: PrefixSet = PrefixSet()  # noqa: RUF009
    scope: Scope = Scope.SSH
    patience: int = 5
    known_for: float | None = 30 * 86400.0
    observe: bool = False
    root_refused: bool = True
    most_sources: int = 200_000
    most_open: int = 10_000
    widen: Widen | None = Widen()  # noqa: RUF009  immutable
    alerts: frozenset[Topic] = frozenset()  # what a person wants to hear of


@dataclass(slots=True, eq=False)
class _Joined:
    """The connections of one log, or of files that tell of the same servers. `last` wall second of its last event, `heard` when that came."""

    connections: Connections
    trust: Trust
    last: float = 0.0
    heard: float = 0.0


def nothing(_source: Prefix) -> Past:
    """No past at all."""
    return Past()


def unheard_of(_login: Login) -> History:
    """No history at all."""
    return History()


@dataclass(slots=True)
class Engine:
    """The guard's state. `past` tells what the store remembers of a source, `until` the wall second when its ban ends (0: none),
    `history` what was there before a login.
    """

    settings: Settings
    past: Callable[[Prefix], Past] = nothing
    until: Callable[[Prefix], float] = lambda _source: 0.0
    dice: random.Random = field(default_factory=random.Random)
    history: Callable[[Login], History] = unheard_of
    alerts: Alerts = field(init=False)
    detectors: Detectors = field(init=False)
    neighbourhoods: Neighbourhoods | None = field(init=False)
    _joined: dict[str, _Joined] = field(default_factory=dict)  # by source of lines
    _twice: Twice | None = None
    _known: dict[Prefix, float] = field(default_factory=dict)  # until, wall seconds
    _floor: frozenset[Prefix] = frozenset()
    _many: frozenset[Prefix] = frozenset()
    _banned: dict[Prefix, float] = field(default_factory=dict)  # until, wall seconds
    _pardoned: dict[Prefix, float] = field(default_factory=dict)  # until, wall seconds
    _spared: dict[Prefix, float] = field(default_factory=dict)
    _doubted: dict[Prefix, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.alerts = Alerts(self.settings.alerts)
        self.detectors = self._detectors()
        self.neighbourhoods = Neighbourhoods(self.settings.widen) if self.settings.widen is not None else None

    def _detectors(self) -> Detectors:
        s = self.settings
        return Detectors(s.thresholds, s.patience, s.root_refused, s.most_sources)

    # -- inputs

    def change(self, settings: Settings) -> None:
        """Another policy. Windows, known sources and bans stay."""
        counted = settings.counting != self.settings.counting
        if settings.widen != self.settings.widen:
            self.neighbourhoods = Neighbourhoods(settings.widen) if settings.widen is not None else None
        self.settings = settings
        self.alerts.on = settings.alerts
        if counted:
            self.detectors = self._detectors()
        else:
            self.detectors.thresholds, self.detectors.patience = settings.thresholds, settings.patience
            self.detectors.root_refused, self.detectors.most = settings.root_refused, settings.most_sources

    def know(
        self,
        known: dict[Prefix, float],
        floor: frozenset[Prefix],
        many: frozenset[Prefix] = frozenset(),
        pardoned: Mapping[Prefix, float] = MappingProxyType({}),
    ) -> None:  # fmt: skip  immutable
        """What the store says: known sources with the wall second until when, the floor, sources that stand for many, and prefixes that
        are not to be banned again before a wall second.
        """
        self._known, self._floor, self._many, self._pardoned = dict(known), floor, many, dict(pardoned)

    def look_again(self) -> None:
        """Bans were changed by somebody else: who is banned no more begins anew."""
        for source in list(self._banned):
            until = self.until(source)
            if until:
                self._banned[source] = until
            else:
                del self._banned[source]
                self.detectors.forget(source)

    def read(self, source: str, trust: Trust, event: Event, at: Instant) -> list[Command]:
        """One event of one source of lines. `at`: when it happened, as far as it can be known."""
        if self._twice is not None:
            once = self._twice.once(source, event)
            if once is None:
                return []
            event = once
        joined = self._joined.get(source)
        if joined is None:
            joined = self._joined_of(source, trust)
        connections = joined.connections
        joined.last, joined.heard = event.at, at.mono
        found: list[Command] = []
        if event.at >= connections.next_due:
            for attempt in connections.due(event.at):
                found += self._attempt(attempt, trust, at)
        if event.said.kind is _ACCEPTED:
            return found + self._accepted(connections, trust, event)
        taken = connections.take(event)
        if taken is None:
            return found
        return found + self._attempt(taken, trust, at) if found else self._attempt(taken, trust, at)

    def several(self, sources: int) -> None:
        """So many sources of lines are followed: what two of them tell counts once."""
        self._twice = Twice() if sources > 1 else None

    def due(self, now: Instant) -> list[Command]:
        """What became certain since the last event, by time alone. Call now and then."""
        found: list[Command] = []
        for joined in set(self._joined.values()):
            # The log's clock, as far as its last line told it: what is read late is not over yet.
            at = joined.last + max(0.0, now.mono - joined.heard)
            if at >= joined.connections.next_due:
                for attempt in joined.connections.due(at):
                    found += self._attempt(attempt, joined.trust, now)
        return found

    def _joined_of(self, source: str, trust: Trust) -> _Joined:
        """Files that tell of the same sshd share what they are joined in, else one guess would be half in each."""
        shared = next((j for j in self._joined.values() if j.trust is trust), None) if self._twice is not None else None
        joined = self._joined[source] = shared or _Joined(Connections(self.settings.most_open), trust)
        return joined

    def unfinished(self, source: str) -> list[list[Any]]:
        """The connections of a source of lines that are not over, for a restart."""
        joined = self._joined.get(source)
        return [] if joined is None else joined.connections.snapshot()

    def resume(self, source: str, trust: Trust, rows: list[list[Any]]) -> None:
        """What `unfinished` gave before. Raises ValueError or TypeError for anything else."""
        self._joined_of(source, trust).connections.restore(rows)

    def logged_in(self, user: str, address: Prefix, port: int, at: Instant) -> list[Know | LoggedIn | Raise]:
        """Take a login that the kernel has shown."""
        source = self.settings.counting.source_of(address)
        raised = self._looked_at(user, address, source, at)
        attempt = Attempt(at.wall, address, Outcome.SUCCEEDED, user, False, "login", "")
        self.detectors.saw(attempt, source, at.mono)
        found: list[Know | LoggedIn | Raise] = [*raised, LoggedIn(user, address, port, at.wall)]
        if self.settings.known_for is not None:
            until = at.wall + self.settings.known_for
            self._known[source] = max(until, self._known.get(source, 0.0))
            found.append(Know(source, self.settings.known_for))
        return found

    def unproven(self, user: str, address: Prefix, at: Instant, trust: Trust) -> list[Raise]:
        """Take a login that a line tells of and the kernel does not show. It earns nothing and shuts nobody out; but whoever tries a
        password that they have guessed is often gone at once.
        """
        source = self.settings.counting.source_of(address)
        if self.settings.known_for is not None and self._known.get(source, 0.0) - self.settings.known_for > at.wall - SAME_LOGIN:
            return []  # another witness told of it, or of a later one
        return self._looked_at(user, address, source, at, witness="log" if trust is Trust.JOURNAL else "file")

    def replay(self, guess: Guess, now: Instant) -> None:
        """An attempt that was remembered, into the windows: nothing is decided, since it was decided then."""
        source = self.settings.counting.source_of(guess.address)
        attempt = Attempt(guess.at, guess.address, Outcome(guess.outcome), guess.user, False, guess.method, guess.line, guess.times)
        if self.detectors.saw(attempt, source, now.mono - max(0.0, now.wall - guess.at)) is not None:
            self.detectors.forget(source)

    def replay_ban(self, source: Prefix, since: float, now: Instant) -> None:
        """A ban for cause that was made before this process began: its neighbours may follow."""
        if self.neighbourhoods is not None:
            self.neighbourhoods.saw(source, now.mono - max(0.0, now.wall - since))

    def tick(self, now: Instant) -> None:
        """Forget what is over. Call now and then."""
        self.detectors.forget_before(now.mono)
        if self.neighbourhoods is not None:
            self.neighbourhoods.forget_before(now.mono)
        for table in (self._known, self._banned):
            for source in [s for s, until in table.items() if until <= now.wall]:
                del table[source]
        for said in (self._spared, self._doubted):
            for source in [s for s, at in said.items() if now.mono - at > SAID_AGAIN]:
                del said[source]

    def is_stranger(self, source: Prefix) -> bool:
        """True for whom the limiter counts: nobody known, trusted, or on the floor."""
        return source not in self._known and source not in self._floor and not self.settings.spared.overlaps(source)

    def figures(self) -> dict[str, int]:
        """What is held, and what was given up for want of room or clarity."""
        joined = [j.connections for j in set(self._joined.values())]
        return {
            "sources": len(self.detectors), "sources_forgotten": self.detectors.forgotten, "known": len(self._known), "banned": len(self._banned),
            "connections": sum(len(c) for c in joined), "connections_forgotten": sum(c.forgotten for c in joined),
            "mismatched": sum(c.mismatched for c in joined), "unclear": sum(c.unclear for c in joined),
        }  # fmt: skip

    # -- decisions

    def _accepted(self, connections: Connections, trust: Trust, event: Event) -> list[Command]:
        said = event.said
        connections.take(event)
        if said.address is None or said.user is None:
            return []
        return [Check(said.user, said.address, said.port, event.at, event.pid, trust)]

    def _attempt(self, attempt: Attempt, trust: Trust, at: Instant) -> list[Command]:
        source = self.settings.counting.source_of(attempt.address)
        if source.value < 2**64 and is_loopback(attempt.address):  # its /64 is nobody's network
            source = attempt.address
        found: list[Command] = [Remember(attempt, source, trust)]
        banned = self._banned.get(source)
        if banned is not None:
            # What still comes of a banned source is the end of its connections, which we cut.
            if at.wall < banned:
                if not self.settings.observe and self._is_doubtful(source, at.mono):
                    found.append(Doubt(source, trust))
                return found
            del self._banned[source]
        known = self._known.get(source, 0.0) > at.wall
        finding = self.detectors.saw(attempt, source, at.mono, known=known)
        judged = self._judged(finding, trust, at, known=known) if finding is not None else None
        if judged is not None:
            found.append(judged)
            if isinstance(judged, Ban):
                found += self._widened(judged)
            elif isinstance(judged, Spared) and judged.why != PARDONED:  # whoever said so knows
                found += self.alerts.spared(judged.source, judged.why, judged.finding, at.wall, many=judged.many)
        return found

    def _is_doubtful(self, source: Prefix, now: float) -> bool:
        """True if a banned source is heard longer than its last connection can go on."""
        first = self._doubted.get(source)
        if first is None:
            if len(self._doubted) < MOST_DOUBTED:
                self._doubted[source] = now
            return False
        if now - first < STILL_HEARD:
            return False
        self._doubted[source] = now
        return True

    def _looked_at(self, user: str, address: Prefix, source: Prefix, at: Instant, *, witness: str = "session") -> list[Raise]:
        """What a person should know of a login. Before it makes its source known."""
        if not self.settings.alerts:
            return []
        # What somebody was let off with (observe) shuts nobody out.
        banned = self.until(address) > at.wall or (not self.settings.observe and self._banned.get(source, 0.0) > at.wall)
        # Who is known by this very login alone, since somebody else read of it first, was not known before.
        known_for = self.settings.known_for or 0.0
        known = self._known.get(source, 0.0)
        # Those pass before the bans are asked.
        passes = self.settings.spared.overlaps(address) or source in self._floor
        was_known = known > at.wall and known - known_for < at.wall - SAME_LOGIN
        login = Login(user, address, source, at.wall, was_known, banned and not passes, witness)
        return self.alerts.login(login, self.history(login))

    def _widened(self, ban: Ban) -> list[Command]:
        """The ban of a whole neighbourhood, if this ban was the last that it took."""
        grown = self.neighbourhoods.saw(ban.source, ban.at.mono) if self.neighbourhoods is not None else None
        if grown is None or self.neighbourhoods is None:
            return []
        prefix, members = grown
        rule = self.neighbourhoods.rule
        finding = Finding("widen", prefix, len(members), rule.within, f"banned there: {', '.join(map(str, members))}")
        if any(prefix.covers(s) for s, until in self._known.items() if until > ban.at.wall):
            return [Spared(prefix, "a known source is in there", finding)]
        if any(prefix.covers(s) for s in self._floor):
            return [Spared(prefix, OF_THE_FLOOR, finding)]
        if any(prefix.covers(s) for s in self._many):
            return [Spared(prefix, "an address in there stands for many", finding)]
        if any(until > ban.at.wall and (p.covers(prefix) or prefix.covers(p)) for p, until in self._pardoned.items()):
            return [Spared(prefix, PARDONED, finding)]
        reason = self.settings.never.why(prefix, source=False)
        if reason is not None:
            return [Spared(prefix, reason.why, finding)]
        self._banned[prefix] = ban.at.wall + ban.seconds
        return [Ban(prefix, ban.scope, ban.seconds, ban.steps, finding, ban.at, ban.observed)]

    def _judged(self, finding: Finding, trust: Trust, at: Instant, *, known: bool) -> Command | None:
        source = finding.source
        self.detectors.forget(source)
        until = self.until(source)
        if until > at.wall:  # banned already: by hand, or before this process began
            self._banned[source] = until
            return None
        why = self._why_spared(source, trust, at.wall, known=known)
        if why:
            said = self._spared.get(source)
            if said is not None and at.mono - said <= SAID_AGAIN:
                return None
            if len(self._spared) < MOST_SPARED:
                self._spared[source] = at.mono
            return Spared(source, why, finding, self._stands_for_many(source))
        seconds, steps = self.settings.sentences.next(self.past(source), at.wall, self.dice)
        self._banned[source] = at.wall + seconds
        return Ban(source, self.settings.scope, seconds, steps, finding, at, self.settings.observe)

    def _why_spared(self, source: Prefix, trust: Trust, now: float, *, known: bool) -> str:
        reason = self.settings.never.why(source, source=True)
        if reason is not None:
            return reason.why
        if source in self._floor:
            return OF_THE_FLOOR
        if source in self._many:
            return "several users log in from it: it stands for many"
        if any(until > now and p.covers(source) for p, until in self._pardoned.items()):
            return PARDONED
        if known and trust is Trust.FILE:
            return "it is known, and a line in a file can be forged"
        return ""

    def _stands_for_many(self, source: Prefix) -> bool:
        """True where others come in this source's name: through a gateway, a bridge or proxy of this host, a balancer."""
        reason = self.settings.never.why(source, source=True)
        return source in self._many if reason is None else reason.many
