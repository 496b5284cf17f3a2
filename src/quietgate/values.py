"""What crosses between the edge (`host`) and the core, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quietgate.net import Prefix


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


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. `wildcard` is False where it is bound to one address (sshd's ListenAddress)."""

    version: int
    port: int
    wildcard: bool
    inode: int


@dataclass(frozen=True, slots=True)
class Flow:
    """An established TCP connection as this host sees it: peer and local address with their ports."""

    peer: Prefix
    peer_port: int
    local: Prefix
    local_port: int


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a kernel set with what remains of it, in seconds (None: stays until removed)."""

    left: float | None
