"""One connection, as its lines tell of it, and the attempts that they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from quietgate.net import Prefix
from quietgate.sshlog.lines import Event
from quietgate.sshlog.sshd import Kind
from quietgate.sshlog.words import Said


class Outcome(StrEnum):
    """How something ended: a guess that failed, a login, a broken handshake, a penalty of sshd's own.

    UNSURE: a connection that ended with a name and without a login, of which the log does not show whether anything was tried.
    EXCUSED: the guess told before was a right password, which the account refused.
    """

    FAILED = "failed"
    SUCCEEDED = "succeeded"
    NOISE = "noise"
    PENALTY = "penalty"
    UNSURE = "unsure"
    EXCUSED = "excused"


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


# In Python 3.11 `Kind.FAILED` takes 65 ns and a global 8: what every line is asked stands here (bench/reading).
_INVALID_USER, _GUESSED = Kind.INVALID_USER, Outcome.FAILED


@dataclass(slots=True, eq=False)
class Connection:
    """What was read of one connection so far."""

    address: Prefix | None
    since: float
    last: float
    port: int = 0
    password: int = 0  # "Failed" lines of all methods but keys and conversations
    keyboard: int = 0  # "Failed keyboard-interactive"
    asked: int = 0  # "error: PAM:", which says the same
    pam: int = 0  # pam_unix and libpam's summary
    other: int = 0  # other modules
    claimed: int = 0  # of those that sshd's own words have accounted for in another process
    talked: int = 0  # guesses for which a child's lines were taken
    least: int = 0
    emitted: int = 0
    keys: bool = False
    shown: bool = False  # its beginning was told: the log is verbose, and shows each method
    modules_only: bool = True
    unsure: bool = False
    inside: bool = False
    noisy: bool = False
    invalid: bool = False
    held: bool = False
    host: str = ""
    settled: bool = False  # the refusal of its right password was accounted for
    user: str = ""
    method: str = ""
    trouble: str = ""  # a broken handshake whose address comes in a later line
    ended: float | None = None


def guessed(event: Event, connection: Connection, *, final: bool = False) -> Attempt | None:
    """The guesses that this line adds to those that were told already, if it adds any. `final`: nothing more will be said of what modules said."""
    wanted = connection.password + max(connection.keyboard, connection.asked)
    wanted = max(wanted, connection.least)
    if final:
        wanted = max(wanted, max(connection.pam, connection.other) - connection.claimed)
    new = wanted - connection.emitted
    if new <= 0 or connection.address is None:
        return None
    connection.emitted = wanted
    return Attempt(event.at, connection.address, _GUESSED, connection.user, connection.invalid, connection.method, event.message, new)


def excused(event: Event, connection: Connection) -> Attempt | None:
    """A guess that was told was none."""
    if connection.settled:
        connection.settled = False
        return None
    if connection.password:
        connection.password -= 1
    elif connection.keyboard or connection.asked:
        connection.keyboard, connection.asked = max(0, connection.keyboard - 1), max(0, connection.asked - 1)
    else:
        return None
    if not connection.emitted or connection.address is None:
        return None
    connection.emitted -= 1
    return Attempt(event.at, connection.address, Outcome.EXCUSED, connection.user, connection.invalid, "account", event.message)


def name_given(connection: Connection, said: Said) -> None:
    """Whose name was given, and whether it exists here."""
    if said.user is not None:
        connection.user = said.user
    if said.method.endswith("invalid") or said.kind is _INVALID_USER:
        connection.invalid = True


def attempt_of(event: Event, address: Prefix | None, outcome: Outcome, times: int) -> Attempt:
    """What a line tells by itself."""
    said = event.said
    assert address is not None
    return Attempt(event.at, address, outcome, said.user or "", False, said.method or said.kind.value, event.message, times)
