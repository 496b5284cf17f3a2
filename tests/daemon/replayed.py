"""A log replayed in virtual time through what the daemon runs: reader, engine, store, alerts. No kernel: nobody is shut out, and the
attackers go on, which makes it no easier to be quiet.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from quietgate.clock import Instant
from quietgate.generations.in_force import manners
from quietgate.guard.alerts import Alert, History, Login, Topic
from quietgate.guard.detect import NAMES, Threshold
from quietgate.guard.engine import Ban, Check, Engine, LoggedIn, Remember, Settings
from quietgate.guard.pacing import Message, Quiet
from quietgate.guard.sentences import Past
from quietgate.net import Prefix
from quietgate.people.history import history
from quietgate.people.usernames import Names
from quietgate.policy.load import load
from quietgate.policy.terms import Rate
from quietgate.sshlog.connection import Outcome
from quietgate.sshlog.lines import Event, Stamps, Trust, read
from quietgate.state.alerts import Book
from quietgate.state.database import Store
from quietgate.values import Guess
from quietgate.values import Login as Kept

TICK = 30.0  # seconds, as the daemon's
COMMIT = 5000  # attempts, as the daemon's
HOUR = 3600.0


class Replay:
    """One host of which a log is all that there is. `messages`: what a person would have got."""

    def __init__(self, place: Path, begin: float) -> None:
        self.policy = load([]).policy
        values = self.policy.values
        thresholds = {}
        for name in NAMES:
            rate = values[f"guard.detect.{name}"]
            assert isinstance(rate, Rate)
            thresholds[name] = Threshold(rate.count, rate.window)
        self.engine = Engine(Settings(thresholds, alerts=frozenset(t for t in Topic if values[f"alerts.{t.value}"] is True)),
                             self._past, dice=random.Random(1), history=self._history)  # fmt: skip
        self.store = Store(place / "quietgate.db")
        self.store.db.execute("PRAGMA synchronous=OFF")  # a test's disk need not survive a crash
        self.book, self.names = Book(self.store), Names("known", place / "key")
        self.quiet = Quiet(manners(self.policy))
        self.pending: list[Guess] = []
        self.offenders: dict[Prefix, Past] = {}
        self.messages: list[Message] = []
        self.alerts: list[Alert] = []
        self.now = self._ticked = self._forgot = begin
        self.silent: set[str] = set()
        self.attempts = 0

    def _past(self, source: Prefix) -> Past:
        return self.offenders.get(source, Past())

    def _history(self, login: Login) -> History:
        return history(self.book, self.pending, self.names, login)

    def instant(self) -> Instant:
        return Instant(self.now, self.now - 1e9)

    def lines(self, source: str, text: str, trust: Trust = Trust.JOURNAL) -> None:
        """A block of lines of one source; time goes on to each of them."""
        for event in read(text, Stamps(self.now + 365 * 86400)):
            self._event(source, trust, event)

    def _event(self, source: str, trust: Trust, event: Event) -> None:
        self.until(event.at)
        self.take(self.engine.alerts.heard(source, self.instant()))
        for command in self.engine.read(source, trust, event, self.instant()):
            if isinstance(command, Remember):
                a = command.attempt
                self.attempts += a.times
                if a.outcome is not Outcome.SUCCEEDED:
                    self.pending.append(
                        Guess(a.at, command.source, a.address, a.outcome.value, self.names.kept(a.user), a.method, "", a.times)
                    )
                    if len(self.pending) >= COMMIT:
                        self.commit()
            elif isinstance(command, Ban):
                self.offenders[command.source] = Past(command.steps, self.now + command.seconds)
            elif isinstance(command, Check):  # there was such a session
                for following in self.engine.logged_in(command.user, command.address, command.port, self.instant()):
                    self._login(following)
            else:
                self._login(command)

    def _login(self, command: object) -> None:
        if isinstance(command, Alert):
            self.take([command])
        elif isinstance(command, LoggedIn):
            self.store.put_logins([Kept(command.user, command.address, command.at, "journal")])

    def until(self, moment: float) -> None:
        """Time goes on; every TICK the guard looks around."""
        while self._ticked + TICK <= moment:
            self._ticked += TICK
            self.now = max(self.now, self._ticked)
            self.engine.tick(self.instant())
            for source in list(self.engine.alerts.usual):
                self.take(self.engine.alerts.source(source, "", None, self.instant()))
            self.quiet.forget(self.instant())
            self._say()
            if self.now - self._forgot > HOUR:
                self._forgot = self.now
                self.commit()
                while self.store.forget_old(self.now - 90 * 86400, self.now - 400 * 86400, 500_000_000):
                    pass
                self.book.forget(self.now - 90 * 86400, self.now)
        self.now = max(self.now, moment)

    def take(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self.alerts.append(alert)
            self.quiet.take(alert, self.instant())
        if alerts:
            self._say()

    def _say(self) -> None:
        message = self.quiet.due(self.instant(), 12 * 60)
        if message is not None:
            self.messages.append(message)

    def commit(self) -> None:
        self.store.put_guard([], self.pending, [], [], lambda: None)
        self.pending.clear()
