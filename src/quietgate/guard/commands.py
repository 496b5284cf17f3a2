"""What the engine tells its driver to do. Plain values: nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from quietgate.clock import Instant
from quietgate.guard.alerts import Raise
from quietgate.guard.detect import Finding
from quietgate.net import Prefix
from quietgate.sshlog.connection import Attempt
from quietgate.sshlog.lines import Trust
from quietgate.values import Scope


@dataclass(frozen=True, slots=True)
class Ban:
    """Shut this source out for so many seconds from `at` on. `observed`: only say so."""

    source: Prefix
    scope: Scope
    seconds: float
    steps: int
    finding: Finding
    at: Instant
    observed: bool


@dataclass(frozen=True, slots=True)
class Spared:
    """A ban that would have hit somebody who must get in, and was not made. `many`: the source stands for many, who cannot be told
    apart.
    """

    source: Prefix
    why: str
    finding: Finding
    many: bool = False


@dataclass(frozen=True, slots=True)
class Know:
    """This source has logged in: it is no stranger for so many seconds."""

    source: Prefix
    seconds: float


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Remember a login, and give its place among the strangers back."""

    user: str
    address: Prefix
    port: int
    at: float


@dataclass(frozen=True, slots=True)
class Check:
    """A line tells of a login: see whether the kernel shows such a session, and say so with `logged_in` or `unproven`.

    `pid`: the process that wrote the line, if what the line says is true.
    """

    user: str
    address: Prefix
    port: int
    at: float
    pid: int
    trust: Trust


@dataclass(frozen=True, slots=True)
class Doubt:
    """A banned source is still heard: see whether the kernel has its ban."""

    source: Prefix
    trust: Trust


class Remember(NamedTuple):
    """Keep this attempt. (A tuple, as what it holds: there is one for every guess.)"""

    attempt: Attempt
    source: Prefix
    trust: Trust


Command: TypeAlias = Ban | Spared | Know | LoggedIn | Check | Remember | Doubt | Raise
