"""Lines -> attempts: what one connection said, put together.

One guess prints up to four lines (PAM's, "Failed", "Disconnecting", "Connection closed"), so lines are joined by the host and the
process that wrote them, and only what exceeds the guesses counted so far makes a new attempt:

    password    every "Failed" line is a guess
    PAM         a module's line says the same again, mostly before sshd does, each module for itself: it counts when sshd says nothing of it
                within HOLD seconds or the connection ends, and not at all when a login follows (the next module has accepted)
    keyboard    a conversation with PAM runs in a child of its own, whose modules write under the child's number: what sshd says of it
                takes one of its child's lines of the same host, address and name, so that a guess is one, and two people are two
    keys        an agent offers several before the right one: not one of them is a failure; only a connection that ends
                without a login is one guess, whatever it offered; one that ran out of tries with keys alone is unsure
    names       a name that does not exist is a guess by itself (a daemon that takes keys only prints no "Failed")
    refusals    AllowUsers, root refused, revoked key: one guess. A right password that the account refuses is none
    leaving     who connects and leaves without a name has guessed nothing: a health check, a scanner. With a name: nothing where the
                log shows each method (VERBOSE), *unsure* where it does not: one wrong key, or a person who thought better of it
    silence     LoginGraceTime ends without a line in Debian 11 and 12: keys that were offered count when it must be over

An address that differs from the one the same connection already showed is a mistake of reading: counted, nobody is blamed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any, TypeAlias

from quietgate.net import Prefix, parse_address
from quietgate.sshlog.authentication import KEYBOARD
from quietgate.sshlog.connection import Attempt, Connection, Outcome, attempt_of, excused, guessed, name_given
from quietgate.sshlog.disconnects import CHANGED
from quietgate.sshlog.held import CROSSED, Held
from quietgate.sshlog.lines import Event
from quietgate.sshlog.sshd import Kind, Said

FORGOTTEN_AFTER = 900.0  # seconds: process numbers come again
SUMMARY = 2.0  # seconds after a connection's end in which PAM sums up what it has said
GRACE = 150.0  # seconds after which LoginGraceTime (two minutes) is over, with its jitter
IDLE = 30.0  # seconds of silence after which another address and port under the same number are another connection
MOST_KEYS = 20_000  # connections that have offered keys, until their time is over
KEPT_OVER = 256  # connections that a restart finds again
ROOT = "root"


Key: TypeAlias = int | tuple[str, int] | tuple[str, Prefix | None, int]


# In Python 3.11 `Kind.FAILED` takes 65 ns and a global 8: what every line is asked stands here (bench/reading).
_FAILED, _PAM_FAILED, _INVALID_USER = Kind.FAILED, Kind.PAM_FAILED, Kind.INVALID_USER
_CLOSED, _CONNECTED, _ACCEPTED, _TOO_MANY, _ACCOUNT = Kind.CLOSED, Kind.CONNECTED, Kind.ACCEPTED, Kind.TOO_MANY, Kind.ACCOUNT_REFUSED
_ENDS = frozenset({Kind.LEFT, Kind.ENDED})
_ASIDE = frozenset({Kind.PENALTY, Kind.DROPPED, Kind.STRAIN, Kind.UNCLEAR})  # of no connection's process, or of nobody
_NOISE = frozenset({Kind.NO_MATCH, Kind.BAD_PROTOCOL, Kind.BROKEN, Kind.TIMEOUT, Kind.CRASH, Kind.PROBED, Kind.REFUSED})
_REFUSALS = frozenset({Kind.ROOT_REFUSED, Kind.NOT_ALLOWED, Kind.PROHIBITED, Kind.REVOKED_KEY})
_NOT_GUESSES = frozenset({"none", "none invalid"})


@dataclass(slots=True)
class Connections:
    """The connections of one log that are being joined. Memory: at most `most`, the oldest are forgotten.

    `take` returns what an event completes, `due` what became certain by time alone.
    """

    most: int = 10_000
    forgotten: int = 0
    mismatched: int = 0
    unclear: int = 0
    next_due: float = inf  # wall seconds as logged
    _host: str | None = None
    _open: OrderedDict[Key, Connection] = field(default_factory=OrderedDict)
    _held: Held = field(default_factory=Held)
    _grace: deque[tuple[float, Connection, Event]] = field(default_factory=deque)
    _refused: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=256))  # right passwords that accounts refused

    def __len__(self) -> int:
        return len(self._open)

    def snapshot(self) -> list[list[Any]]:
        """The youngest connections that are not over, as plain values: so that a restart in the middle of one counts no guess twice."""
        young = [(key, c) for key, c in islice(reversed(self._open.items()), KEPT_OVER) if c.ended is None and c.address is not None]
        return [
            [*_place_of(key, self._host), str(c.address), c.since, c.last, c.port, c.password, c.keyboard, c.asked, c.pam, c.other, c.claimed, c.talked,
             c.least, c.emitted, c.keys, c.shown, c.modules_only, c.unsure, c.inside, c.noisy, c.invalid, c.user]
            for key, c in reversed(young) if not isinstance(key, tuple) or len(key) == 2
        ]  # fmt: skip

    def restore(self, rows: list[list[Any]]) -> None:
        """What `snapshot` gave. Raises ValueError, TypeError or AddressError for anything else."""
        for host, pid, address, since, last, port, *numbers, keys, shown, modules, unsure, inside, noisy, invalid, user in rows[:KEPT_OVER]:
            password, keyboard, asked, pam, other, claimed, talked, least, emitted = (int(n) for n in numbers)
            found = Connection(parse_address(address), float(since), float(last), int(port), password, keyboard, asked, pam, other, claimed, talked, least,
                                emitted, bool(keys), bool(shown), bool(modules), bool(unsure), bool(inside), bool(noisy), bool(invalid), user=str(user))  # fmt: skip
            found.host = str(host)
            self._host = str(host) if self._host is None else self._host
            key = int(pid) if host == self._host else (str(host), int(pid))
            known = self._open.get(key)
            if known is None or known.emitted <= found.emitted:
                self._open[key] = found

    def take(self, event: Event) -> Attempt | None:
        """One event; the attempt that it completes, if it does."""
        said = event.said
        kind = said.kind
        if kind in _ASIDE:
            return self._aside(event, said)
        key = self._key(event)
        known = self._open.get(key)
        if known is not None:
            odd = known.ended is not None or (said.port and said.port != known.port)  # most lines are not, and cost no call
            if kind is _CONNECTED or event.at - known.since > FORGOTTEN_AFTER or (odd and _over(known, event)):
                del self._open[key]
                known = None
            else:
                known.port = known.port or said.port
                known.last = event.at
                if known.address is not said.address and said.address is not None:  # the reader makes one object of one address
                    if known.address is None:
                        known.address = said.address
                    elif known.address != said.address:
                        self.mismatched += 1
                        return None
        return self._joined(event, said, known, key)

    def due(self, at: float) -> list[Attempt]:
        """What is certain at wall second `at`, as logged: a module's lines of which sshd said nothing, keys of connections that are over."""
        found: list[Attempt] = []
        for speaker, event in self._held.due(at):
            assert isinstance(speaker, Connection)
            speaker.held = False
            attempt = guessed(event, speaker, final=True) if speaker.modules_only else None
            if attempt is not None:
                found.append(attempt)
        while self._grace and (self._grace[0][0] <= at or len(self._grace) > MOST_KEYS):
            _, connection, event = self._grace.popleft()
            if connection.keys and connection.ended is None and not connection.inside and not connection.unsure:
                connection.least = max(connection.least, 1)
                attempt = guessed(event, connection)
                if attempt is not None:
                    found.append(attempt)
        self._when_next()
        return found

    # -- one line

    def _key(self, event: Event) -> Key:
        if not event.pid:  # a log without process numbers: address and port are one connection's as well
            return (event.host, event.said.address, event.said.port)
        if event.host == self._host:
            return event.pid
        if self._host is None:
            self._host = event.host
            return event.pid
        return (event.host, event.pid)

    def _aside(self, event: Event, said: Said) -> Attempt | None:
        if said.kind is Kind.PENALTY and said.address is not None:  # the listener's line: its process is no connection's
            return attempt_of(event, said.address, Outcome.PENALTY, said.times)
        if said.kind is Kind.UNCLEAR:
            self.unclear += said.times
        return None

    def _joined(self, event: Event, said: Said, known: Connection | None, key: Key) -> Attempt | None:
        kind = said.kind
        if kind in _ENDS:
            return self._left(event, known) if known is not None else None
        if kind in _NOISE:
            return self._noise(event, said, known, key)
        if known is None:
            if kind is _ACCOUNT:
                if said.method == "before":  # by a child, or by a connection that has said nothing yet
                    self._refused.append((event.at, event.host, said.user or ""))
                return None
            known = self._opened(event, said, key)
        if kind is _FAILED:
            return self._failed(event, said, known)
        if kind is _PAM_FAILED:
            return self._pam(event, said, known)
        known.modules_only = False
        if kind is _ACCEPTED:
            return self._accepted(event, known)
        if kind is _CLOSED:
            return self._closed(event, said, known)
        if kind is _INVALID_USER or kind in _REFUSALS:
            name_given(known, said)
            known.least = max(known.least, said.times)
            known.method = known.method or kind.value
            return guessed(event, known)
        if kind is _TOO_MANY:
            name_given(known, said)
            return guessed(event, known) or self._unsure(event, known, "too-many")
        if kind is _ACCOUNT:
            if said.method != "before":
                return excused(event, known)
            self._refused.append((event.at, event.host, said.user or ""))
            return None
        known.shown = known.shown or kind is _CONNECTED
        return None

    def _failed(self, event: Event, said: Said, known: Connection) -> Attempt | None:
        known.modules_only = False
        name_given(known, said)
        method = said.method.removesuffix(" invalid")
        if method in ("publickey", "hostbased"):
            if not known.keys:
                known.keys = True
                self._grace.append((known.since + GRACE, known, event))
                self._when_next()
            known.method = known.method or method
            return guessed(event, known)
        if said.method in _NOT_GUESSES:
            return guessed(event, known)
        if self._refused and self._was_refused(event, known):
            return guessed(event, known)
        known.method = method
        if method.startswith("keyboard-interactive"):
            known.keyboard += said.times
        else:
            known.password += said.times
        self._of_a_child(event, known)
        return guessed(event, known)

    def _was_refused(self, event: Event, known: Connection) -> bool:
        """True if PAM has just said that the account refused this user: the password was right."""
        while self._refused and event.at - self._refused[0][0] > CROSSED:
            self._refused.popleft()
        for one in self._refused:
            if one[1] == event.host and one[2] == known.user:
                self._refused.remove(one)
                known.settled = True
                return True
        return False

    def _pam(self, event: Event, said: Said, known: Connection) -> Attempt | None:
        if said.user is not None:
            known.user = said.user
        known.invalid = known.invalid or said.method.endswith("invalid")
        known.method = known.method or "pam"
        if said.method.removesuffix(" invalid") == KEYBOARD:
            known.modules_only = False
            known.asked += said.times
            self._of_a_child(event, known)
            return guessed(event, known)
        if said.method == "pam":
            known.pam += said.times
        else:
            known.other += said.times
        if known.ended is not None:
            return guessed(event, known, final=True)
        if known.modules_only and not known.held and known.address is not None:
            known.held = True
            self._held.add(known, (known.host, known.address), event)
            self._when_next()
        return None

    def _accepted(self, event: Event, known: Connection) -> Attempt | None:
        known.keys, known.inside = False, True
        known.emitted = max(known.emitted, 1)  # what ends a session later is no guess
        known.claimed = max(known.pam, known.other)
        if known.address is None:
            return None
        known.user = event.said.user or known.user
        self._held.claim((known.host, known.address), known.user, known)
        return attempt_of(event, known.address, Outcome.SUCCEEDED, 1)

    def _closed(self, event: Event, said: Said, known: Connection) -> Attempt | None:
        name_given(known, said)
        known.ended = event.at
        if (known.keys and not known.unsure) or said.method.startswith(CHANGED):
            known.least = max(known.least, 1)
        attempt = guessed(event, known, final=True)
        if attempt is None and not known.shown:
            return self._unsure(event, known, said.method or "closed")
        return attempt

    def _unsure(self, event: Event, known: Connection, method: str) -> Attempt | None:
        if known.emitted or known.unsure or known.address is None:
            return None
        known.unsure = True
        if self._refused and self._was_refused(event, known):  # over keyboard-interactive no other line tells of it
            return None
        return Attempt(event.at, known.address, Outcome.UNSURE, known.user, known.invalid, known.method or method, event.message)

    def _left(self, event: Event, known: Connection) -> Attempt | None:
        known.ended = event.at
        if known.address is None:
            return None
        if known.trouble and not known.noisy:
            known.noisy = True
            return attempt_of(event, known.address, Outcome.NOISE, 1)
        if known.keys and not known.unsure:  # before 7.6 the last line does not tell whose connection it was
            known.least = max(known.least, 1)
        return guessed(event, known, final=True)

    def _noise(self, event: Event, said: Said, known: Connection | None, key: Key) -> Attempt | None:
        if said.kind is Kind.TIMEOUT:
            late = self._open.get(self._key(event._replace(pid=int(said.method)))) if said.method else known
            if late is not None and late.keys and late.address == said.address and late.ended is None:
                late.ended = event.at
                late.least = max(late.least, 1)
                return guessed(event, late, final=True)
        if said.address is None:
            connection = known if known is not None else self._opened(event, said, key)
            connection.trouble = said.kind
            return None
        if known is not None:
            if known.noisy:
                return None
            known.noisy = True
        elif said.port or said.kind is Kind.BROKEN:  # a line of the connection's own process: there may be more of it
            self._opened(event, said, key).noisy = True
        return attempt_of(event, said.address, Outcome.NOISE, said.times)

    def _opened(self, event: Event, said: Said, key: Key) -> Connection:
        while len(self._open) >= self.most:
            _, oldest = self._open.popitem(last=False)
            if oldest.ended is None and event.at - oldest.since <= FORGOTTEN_AFTER:
                self.forgotten += 1
        connection = self._open[key] = Connection(said.address, event.at, event.at, said.port, host=event.host)
        return connection

    def _of_a_child(self, event: Event, known: Connection) -> None:
        """What sshd says of a conversation accounts for what its child has said of it, or will say; so it does of a password in a log
        without process numbers. Whether the guess is told now does not matter: that the name is unknown was told before.
        """
        talked = max(known.keyboard, known.asked) + (0 if event.pid else known.password)
        if talked > known.talked and known.address is not None:
            self._held.asked((known.host, known.address), known.user, event.at, known, talked - known.talked)
            known.talked = talked

    def _when_next(self) -> None:
        keys = -inf if len(self._grace) > MOST_KEYS else self._grace[0][0] if self._grace else inf
        self.next_due = min(self._held.next_due, keys)


# "Received disconnect", then "Disconnected from", then PAM's summary: what may still come of a connection that is over.
_AFTER_THE_END = frozenset({Kind.PAM_FAILED, Kind.CLOSED, Kind.LEFT, Kind.ENDED})


def _over(connection: Connection, event: Event) -> bool:
    """True if this line is of another connection, of a process with the same number."""
    said = event.said
    if connection.port and said.port and connection.port != said.port and (
            connection.address == said.address or event.at - connection.last > IDLE):  # fmt: skip
        return True
    return connection.ended is not None and (said.kind not in _AFTER_THE_END or event.at - connection.ended > SUMMARY)


def _place_of(key: Key, host: str | None) -> tuple[str, int]:
    return (host or "", key) if isinstance(key, int) else (key[0], key[1])  # type: ignore[return-value]
