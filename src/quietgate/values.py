"""What crosses between the edge (`host`) and the core, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quietgate.net import Prefix

FAMILY, TABLE = "inet", "quietgate"  # ours in the kernel; what lies in it is named by firewall/names
LABEL = 100  # the conntrack label of ours: a bit of 128, far from those that /etc/connlabel.conf names by custom


class Scope(StrEnum):
    """What a ban shuts: the SSH ports, or every packet from there."""

    SSH = "ssh"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban. `since` and `until` are wall seconds (UTC); `until` None is for ever."""

    prefix: Prefix
    scope: Scope
    since: float
    until: float | None
    reason: str = ""
    by: str = ""

    def left(self, now: float) -> float | None:
        """Seconds still to go at wall time `now` (never negative), None for ever."""
        return None if self.until is None else max(0.0, self.until - now)


class What(StrEnum):
    """Kinds of deeds that the history keeps. `lapse`: the kernel ended a trial that nobody confirmed."""

    BAN = "ban"
    UNBAN = "unban"
    ALLOW = "allow"
    UP = "up"
    CONFIRM = "confirm"
    REVERT = "revert"
    LAPSE = "lapse"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Deed:
    """One change that quietgate made, as the history keeps it. Times are wall seconds.

    `subject`: a prefix, or the number of a generation. `scope`: of a ban, else "". `until`: the end of a ban (None: for ever) or of
    a trial. `by`: "guard", or a person (`host/sessions.who`). `id`: grows with each deed of this host; 0 before it is recorded.
    """

    at: float
    what: What
    subject: str
    scope: str = ""
    until: float | None = None
    by: str = ""
    reason: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket. `wildcard` is False where it is bound to one address (sshd's ListenAddress)."""

    version: int
    port: int
    wildcard: bool
    inode: int
    address: Prefix | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """An established TCP connection as this host sees it: peer and local address with their ports.

    `inode` and `cookie` are the kernel's for the socket; no two sockets of one boot share a cookie.
    """

    peer: Prefix
    peer_port: int
    local: Prefix
    local_port: int
    inode: int = 0
    cookie: int = 0


@dataclass(frozen=True, slots=True)
class Guess:
    """What the guard kept of one attempt: wall second, source, address, outcome, user (or the hash of one), the line."""

    at: float
    source: Prefix
    address: Prefix
    outcome: str
    user: str
    method: str
    line: str
    times: int


@dataclass(frozen=True, slots=True)
class Noted:
    """One thing that a person should know, as it is recorded. `id` 0: not yet. Times are wall seconds, `told_at` 0 for never.

    `topic` and `subject` say which thing it is, `count` how often it happened, `told` of how many of these somebody was told in
    how many `tellings`; `over` why it is over, "" while it is not; `seen` True once a person has acknowledged it.
    """

    id: int
    topic: str
    subject: str
    severity: str
    what: str
    evidence: tuple[str, ...]
    done: str
    next: str
    lasting: bool
    first: float
    last: float
    count: int
    told: int
    tellings: int
    told_at: float
    over: str
    over_told: bool
    seen: bool


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message that waits for one route: the message as JSON, wall seconds when it was made and when it is tried next, how
    often it was, and what came of it.
    """

    id: str
    route: str
    message: str
    made: float
    due: float
    tries: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Guessed:
    """What is left of a source's failures in a time: how many, wall seconds of the first and the last, and the names (or hashes)."""

    failures: int
    first: float
    last: float
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a host lives from and stands in: its own addresses, the networks of its interfaces (bridges too), and what it needs, each
    with a word ("the default gateway").
    """

    own: tuple[Prefix, ...] = ()
    networks: tuple[Prefix, ...] = ()
    needed: tuple[tuple[str, Prefix], ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """A login that is open now: whose (login user number), from where, over which socket, and how that is known."""

    uid: int
    flow: Flow
    witness: str  # loginuid | logind | utmp


@dataclass(frozen=True, slots=True)
class Login:
    """A successful login over the network, from a witness that nobody but root can write (see `host/logins.py`)."""

    user: str
    address: Prefix
    at: float
    witness: str  # journal | wtmp | lastlog | live


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a kernel set with what remains of it, in seconds (None: stays until removed)."""

    left: float | None


@dataclass(frozen=True, slots=True)
class Visitor:
    """A peer that connects and never asks for anything: how often it came, and how many seconds lie between two visits, mostly."""

    address: Prefix
    visits: int
    every: float


@dataclass(frozen=True, slots=True)
class File:
    """One policy file as read: its name for messages and its bytes."""

    name: str
    content: bytes
