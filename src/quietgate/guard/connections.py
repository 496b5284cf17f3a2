"""Lines -> attempts: what one connection said, put together.

One guess prints up to four lines (PAM's, "Failed", "Disconnecting", "Connection closed"), so lines are joined by the
process that wrote them, and only what exceeds the guesses counted so far makes a new attempt:

    password    every "Failed" line is a guess; PAM's lines say the same again, each module for itself: the largest counts
    keys        an agent offers several before the right one: not one of them is a failure; only a connection that ends
                without a login is one guess, whatever it offered
    names       a name that does not exist is a guess by itself (a daemon that takes keys only prints no "Failed")
    refusals    AllowUsers, root refused, revoked key: one guess
    leaving     who connects and leaves without a name has guessed nothing: a health check, a scanner

An address that differs from the one the same connection already showed is a mistake of reading: counted, nobody is blamed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from quietgate.guard.record import Event
from quietgate.guard.sshd import Kind, Said
from quietgate.net import Prefix, parse_address

FORGOTTEN_AFTER = 900.0  # seconds: process numbers come again; LoginGraceTime is far over by then
SUMMARY = 2.0  # seconds after a connection's end in which PAM sums up what it has said
KEPT_OVER = 256  # connections that a restart finds again
ROOT = "root"


class Outcome(StrEnum):
    """How something ended: a guess that failed, a login, a broken handshake, a penalty of sshd's own."""

    FAILED = "failed"
    SUCCEEDED = "succeeded"
    NOISE = "noise"
    PENALTY = "penalty"


class Attempt(NamedTuple):
    """One guess, login, broken handshake or penalty. `at` wall seconds as logged; `invalid`: the name does not exist here.

    `times`: how many of them the evidence stands for.
    """

    at: float
    address: Prefix
    outcome: Outcome
    user: str
    invalid: bool
    method: str
    evidence: str
    times: int = 1


@dataclass(slots=True)
class _Connection:
    address: Prefix | None
    since: float
    failed: int = 0
    pam: int = 0
    other: int = 0
    least: int = 0
    emitted: int = 0
    keys: bool = False
    noisy: bool = False
    user: str = ""
    invalid: bool = False
    method: str = ""
    trouble: str = ""  # a broken handshake whose address comes in a later line
    ended: float | None = None
    port: int = 0


# In Python 3.11 `Kind.FAILED` takes 65 ns and a global 8: what every line is asked stands here (bench/reading).
_FAILED, _PAM_FAILED, _INVALID_USER = Kind.FAILED, Kind.PAM_FAILED, Kind.INVALID_USER
_CLOSED, _CONNECTED, _ACCEPTED = Kind.CLOSED, Kind.CONNECTED, Kind.ACCEPTED
_GUESSED = Outcome.FAILED
_ENDS = frozenset({Kind.LEFT, Kind.ENDED})
_NOTHING = frozenset({Kind.CONNECTED, Kind.STEP})
_ASIDE = frozenset({Kind.PENALTY, Kind.DROPPED, Kind.STRAIN, Kind.UNCLEAR})  # of no connection's process, or of nobody
_NOISE = frozenset({Kind.NO_MATCH, Kind.BAD_PROTOCOL, Kind.BROKEN, Kind.TIMEOUT, Kind.CRASH, Kind.PROBED, Kind.REFUSED})
_REFUSALS = frozenset({Kind.ROOT_REFUSED, Kind.NOT_ALLOWED, Kind.PROHIBITED, Kind.REVOKED_KEY, Kind.TOO_MANY})
_NOT_GUESSES = frozenset({"none", "none invalid"})


@dataclass(slots=True)
class Connections:
    """The connections of one source of lines that are being joined. Memory: at most `most`, the oldest are forgotten."""

    most: int = 10_000
    forgotten: int = 0
    mismatched: int = 0
    unclear: int = 0
    _open: OrderedDict[int, _Connection] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._open)

    def snapshot(self) -> list[list[Any]]:
        """The youngest connections that are not over, as plain values: so that a restart in the middle of one counts no guess twice."""
        young = [(pid, c) for pid, c in islice(reversed(self._open.items()), KEPT_OVER) if c.ended is None and c.address is not None]
        return [
            [pid, str(c.address), c.since, c.failed, c.pam, c.other, c.least, c.emitted, c.keys, c.invalid] for pid, c in reversed(young)
        ]

    def restore(self, rows: list[list[Any]]) -> None:
        """What `snapshot` gave. Raises ValueError, TypeError or AddressError for anything else."""
        for pid, address, since, failed, pam, other, least, emitted, keys, invalid in rows[:KEPT_OVER]:
            self._open[int(pid)] = _Connection(parse_address(address), float(since), int(failed), int(pam), int(other), int(least),
                                               int(emitted), bool(keys), invalid=bool(invalid))  # fmt: skip

    def take(self, event: Event) -> Attempt | None:
        """One event; the attempt that it completes, if it does."""
        said = event.said
        kind = said.kind
        if kind in _ASIDE:
            return self._aside(event, said)
        known = self._open.get(event.pid)
        if known is not None:
            odd = known.ended is not None or (said.port and said.port != known.port)  # most lines are not, and cost no call
            if kind is _CONNECTED or event.at - known.since > FORGOTTEN_AFTER or (odd and _over(known, event)):
                del self._open[event.pid]
                known = None
            else:
                known.port = known.port or said.port
                if known.address is not said.address and said.address is not None:  # the reader makes one object of one address
                    if known.address is None:
                        known.address = said.address
                    elif known.address != said.address:
                        self.mismatched += 1
                        return None
        return self._joined(event, said, known)

    def _aside(self, event: Event, said: Said) -> Attempt | None:
        if said.kind is Kind.PENALTY and said.address is not None:  # the listener's line: its process is no connection's
            return _attempt(event, said.address, Outcome.PENALTY, said.times)
        if said.kind is Kind.UNCLEAR:
            self.unclear += said.times
        return None

    def _joined(self, event: Event, said: Said, known: _Connection | None) -> Attempt | None:
        kind = said.kind
        if kind in _ENDS:
            return self._left(event, known) if known is not None else None
        if kind in _NOISE:
            return self._noise(event, said, known)
        connection = known if known is not None else self._opened(event, said)
        if kind is _ACCEPTED:
            connection.keys = False
            connection.emitted = max(connection.emitted, 1)  # what ends a session later is no guess
            return _attempt(event, connection.address, Outcome.SUCCEEDED, 1) if connection.address is not None else None
        if kind in _NOTHING:
            return None
        _note(connection, said)
        if kind is _CLOSED:
            connection.ended = event.at
            connection.least = max(connection.least, 1)
        return _guessed(event, connection)

    def _left(self, event: Event, known: _Connection) -> Attempt | None:
        known.ended = event.at
        if known.address is None:
            return None
        if known.trouble and not known.noisy:
            known.noisy = True
            return _attempt(event, known.address, Outcome.NOISE, 1)
        if known.keys:  # before 7.6 the last line does not tell whose connection it was
            known.least = max(known.least, 1)
        return _guessed(event, known)

    def _noise(self, event: Event, said: Said, known: _Connection | None) -> Attempt | None:
        if said.address is None:
            connection = known if known is not None else self._opened(event, said)
            connection.trouble = said.kind
            return None
        if known is not None:
            if known.noisy:
                return None
            known.noisy = True
        elif said.port or said.kind is Kind.BROKEN:  # a line of the connection's own process: there may be more of it
            self._opened(event, said).noisy = True
        return _attempt(event, said.address, Outcome.NOISE, said.times)

    def _opened(self, event: Event, said: Said) -> _Connection:
        while len(self._open) >= self.most:
            _, oldest = self._open.popitem(last=False)
            if oldest.ended is None and event.at - oldest.since <= FORGOTTEN_AFTER:
                self.forgotten += 1
        connection = self._open[event.pid] = _Connection(said.address, event.at, port=said.port)
        return connection


# "Received disconnect", then "Disconnected from", then PAM's summary: what may still come of a connection that is over.
_AFTER_THE_END = frozenset({Kind.PAM_FAILED, Kind.CLOSED, Kind.LEFT, Kind.ENDED})


def _over(connection: _Connection, event: Event) -> bool:
    """True if this line is of another connection, of a process with the same number."""
    if connection.port and event.said.port and connection.port != event.said.port and connection.address == event.said.address:
        return True
    return connection.ended is not None and (event.said.kind not in _AFTER_THE_END or event.at - connection.ended > SUMMARY)


def _guessed(event: Event, connection: _Connection) -> Attempt | None:
    """The guesses that this line adds to those that were told already, if it adds any."""
    wanted = max(connection.failed, connection.pam, connection.other, connection.least)
    new = wanted - connection.emitted
    if new <= 0 or connection.address is None:
        return None
    connection.emitted = wanted
    return Attempt(event.at, connection.address, _GUESSED, connection.user, connection.invalid, connection.method, event.message, new)


def _note(connection: _Connection, said: Said) -> None:
    """Count what one line says of guesses."""
    kind = said.kind
    if said.user is not None:
        connection.user = said.user
    if said.method.endswith("invalid") or kind is _INVALID_USER:
        connection.invalid = True
    if kind is _FAILED:
        method = said.method.removesuffix(" invalid")
        if method in ("publickey", "hostbased"):
            connection.keys = True
            connection.method = connection.method or method
        elif said.method not in _NOT_GUESSES:
            connection.failed += said.times
            connection.method = method
    elif kind is _PAM_FAILED:
        if said.method == "pam":
            connection.pam += said.times
        else:
            connection.other += said.times
        connection.method = connection.method or "pam"
    elif kind is _INVALID_USER or kind in _REFUSALS:
        connection.least = max(connection.least, said.times)
        connection.method = connection.method or kind.value


def _attempt(event: Event, address: Prefix | None, outcome: Outcome, times: int) -> Attempt:
    said = event.said
    assert address is not None
    return Attempt(event.at, address, outcome, said.user or "", False, said.method or said.kind.value, event.message, times)
