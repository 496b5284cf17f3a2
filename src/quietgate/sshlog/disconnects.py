"""The ends of connections, before and after a login (packet.c, auth2.c, sshd.c)."""

from __future__ import annotations

import re

from quietgate.sshlog.words import Kind, Said, address, bare, identified, only


def _ended(text: str, why: str) -> Said | None:
    """`text` is "[[authenticating |invalid ]user U ]IP port N" exactly."""
    who = identified(text)
    if who is None:
        return None
    if who.user is None:
        return Said(Kind.LEFT, None, who.address, who.port, why)
    if who.inside:
        return Said(Kind.ENDED, who.user, who.address, who.port, why)
    return Said(Kind.CLOSED, who.user, who.address, who.port, why + (" invalid" if who.invalid else ""))


_CONNECTED = re.compile(r"Connection from (\S{2,63}) port (\d{1,5}) on \S+ port \d+(?: rdomain .*)?\Z", re.ASCII)


def connection(message: str) -> Said | None:
    """The forms "Connection closed by", "reset by" and "from ... timed out"; and "Connection from", with which one begins at VERBOSE."""
    text, _ = bare(message)
    for head, why in (("Connection closed by ", "closed"), ("Connection reset by ", "reset")):
        if text.startswith(head):
            return _ended(text[len(head) :], why)
    if text.startswith("Connection from "):
        found = _CONNECTED.match(text)
        if found:
            there = address(found[1])
            return Said(Kind.CONNECTED, None, there, int(found[2])) if there is not None else None
        if text.endswith(" timed out"):
            return _ended(text[16:-10], "timed out")
    return None


CHANGED = "Change of username or service not allowed"  # no client of a person asks for another name: of 4,549 in real logs none was honest
# Reasons that sshd gives before a login (packet.c, auth2.c, kex.c, monitor.c)
_REASONS = (
    "Too many authentication failures", "too many authentication failures", CHANGED, "Packet corrupt",
    "bad service request", "no authentication methods enabled", "Connection corrupted", "Protocol error", "Bye Bye",
)  # fmt: skip
_MANY = ("Too many", "too many")
_PLACE = re.compile(r"(?<!\S)(\S{2,63}) port (\d{1,5}):(?= )", re.ASCII)


def disconnecting(message: str) -> Said | None:
    """The form "Disconnecting [... user U ]IP port N: WHY", and "Disconnected from ...".

    WHY may hold the client's words ("bad service request X", "Change of username ...: (U,S) -> (U,S)") and is cut after 100
    characters, so they may even stand last. Hence the one place that can be the server's, or none.
    """
    text, _ = bare(message)
    if text.startswith("Disconnected from "):
        return _ended(text[18:], "left")
    if text.startswith("Disconnecting: "):  # before 7.6: without an address
        if text.startswith("Too many authentication failures", 15):
            return Said(Kind.TOO_MANY)
        return Said(Kind.CLOSED, method=CHANGED) if text.startswith(CHANGED, 15) else None
    if not text.startswith("Disconnecting "):
        return None
    rest = text[14:]
    found = only(_PLACE, rest)
    if found is None:
        return Said(Kind.UNCLEAR)
    who, why = identified(rest[: found[3] - 1]), rest[found[3] + 1 :]
    reason = next((r for r in _REASONS if why.startswith(r)), None)
    if who is None or (reason is None and who.user is None):
        return None
    if who.inside:
        return Said(Kind.ENDED, who.user, who.address, who.port, "disconnected")
    kind = Kind.TOO_MANY if why.startswith(_MANY) else Kind.CLOSED if who.user is not None else Kind.BROKEN
    return Said(kind, who.user, who.address, who.port, (reason or "disconnected") + (" invalid" if who.invalid else ""))


_RECEIVED = re.compile(r"Received disconnect from (\S{2,63})(?: port (\d{1,5}):|: ?)(\d{1,10}):", re.ASCII)


def received(message: str) -> Said | None:
    """The head is the server's, the rest the client's farewell."""
    found = _RECEIVED.match(message)
    there = address(found[1]) if found is not None else None
    return Said(Kind.LEFT, None, there, int(found[2] or 0), "disconnect") if found is not None and there is not None else None


def dispatch(message: str) -> Said | None:
    """The form "ssh_dispatch_run_fatal: Connection from [authenticating user U ]IP port N: REASON"; the reason is ssherr.c's."""
    head = "ssh_dispatch_run_fatal: Connection from "
    if not message.startswith(head):
        return None
    text, found, reason = bare(message)[0][len(head) :].rpartition(": ")
    who = identified(text) if found else None
    if who is None:
        return None
    return Said(Kind.ENDED if who.inside else Kind.BROKEN, who.user, who.address, who.port, reason)


_TIMEOUT_NEW = re.compile(r"Timeout before authentication for connection from (\S{2,63}) to \S{2,63}, pid = (\d{1,10})", re.ASCII)


def timeout(message: str) -> Said | None:
    """LoginGraceTime is over: the listener says it since 9.8, before that the connection's own process. `method`: the number of that process,
    where the line names it.
    """
    head = "Timeout before authentication for "
    if not message.startswith(head):
        return None
    new = _TIMEOUT_NEW.match(message)
    if new is not None:
        there = address(new[1])
        return Said(Kind.TIMEOUT, None, there, 0, new[2]) if there is not None else None
    found = identified(bare(message)[0][len(head) :])
    return Said(Kind.TIMEOUT, found.user, found.address, found.port) if found is not None else None


_CRASHED = re.compile(r"[Ss]ession process \d{1,10} (?:unpriv child crash )?for connection from (\S{2,63}) to ", re.ASCII)


def crash(message: str) -> Said | None:
    """A process that died before the login: somebody tries exploits."""
    found = _CRASHED.match(message)
    if found is None or not ("crash" in message[:60] or "killed by signal" in message):
        return None
    there = address(found[1])
    return Said(Kind.CRASH, None, there) if there is not None else None
