"""What one message of sshd's can say, and the few exact forms in which the server writes an address."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from quietgate.net import LINK_LOCAL6, AddressError, Prefix, parse_address

LONGEST = 1024  # characters of a message that are looked at; PAM's modules may write more than sshd does
CUT = 500  # sshd writes no more (log.c: syslog(pri, "%.500s")): such a message may end anywhere in somebody's text
MOST_TIMES = 1000  # of "message repeated N times"
KEPT_ADDRESSES = 16_384  # 3 MB at most; an attack by more sources than that gains nothing from it
LONGEST_ADDRESS = 63


class Kind(StrEnum):
    """What an event is. The first group are guesses, or parts of one; see `connections.py`."""

    FAILED = "failed"  # a method failed: password, publickey, keyboard-interactive ...
    INVALID_USER = "invalid-user"  # a name that does not exist here
    PAM_FAILED = "pam-failed"  # PAM's line of the same failure
    TOO_MANY = "too-many"  # MaxAuthTries reached
    ROOT_REFUSED = "root-refused"
    NOT_ALLOWED = "not-allowed"  # AllowUsers, DenyUsers, no shell, locked
    PROHIBITED = "prohibited"  # RefuseConnection
    REVOKED_KEY = "revoked-key"
    CLOSED = "closed"  # the connection ended before a login; `user` tells whether a name had been given
    # handshakes that no client of a person makes
    NO_MATCH = "no-match"  # nothing in common: old or foreign algorithms
    BAD_PROTOCOL = "bad-protocol"
    BROKEN = "broken"  # packets that are none
    TIMEOUT = "timeout"
    CRASH = "crash"
    PROBED = "probed"
    REFUSED = "refused"  # by tcp wrappers
    # sshd's own measures
    PENALTY = "penalty"
    DROPPED = "dropped"  # MaxStartups
    # no attack
    ACCOUNT_REFUSED = "account-refused"  # a right password or key, and an account that is over, locked or shut out
    ACCEPTED = "accepted"
    CONNECTED = "connected"
    STEP = "step"  # postponed, partial
    LEFT = "left"  # connected and left
    ENDED = "ended"  # a session's end
    STRAIN = "strain"  # sshd throttles
    UNCLEAR = "unclear"


HOSTILE = frozenset({
    Kind.FAILED, Kind.INVALID_USER, Kind.PAM_FAILED, Kind.TOO_MANY, Kind.ROOT_REFUSED, Kind.NOT_ALLOWED, Kind.PROHIBITED, Kind.REVOKED_KEY,
    Kind.NO_MATCH, Kind.BAD_PROTOCOL, Kind.BROKEN, Kind.TIMEOUT, Kind.CRASH, Kind.PROBED, Kind.REFUSED, Kind.PENALTY,
})  # fmt: skip


class Said(NamedTuple):
    """What one message says. `address` is None where the message holds none; `method` also holds a reason or detail."""

    kind: Kind
    user: str | None = None
    address: Prefix | None = None
    port: int = 0
    method: str = ""
    times: int = 1


# -- the server's own words for a place

_ZONE = re.compile(r"[A-Za-z0-9_.@:-]{1,15}\Z")  # the name of an interface
_addresses: dict[str, Prefix | None] = {}


def address(text: str) -> Prefix | None:
    """An address as the server writes it (getnameinfo(3) with NI_NUMERICHOST); None for a name. Remembered: an attack has few."""
    try:
        return _addresses[text]
    except KeyError:
        pass
    if len(text) > LONGEST_ADDRESS:
        return None
    if len(_addresses) >= KEPT_ADDRESSES:
        _addresses.clear()
    found = _addresses[text] = _parsed(text)
    return found


def _parsed(text: str) -> Prefix | None:
    # Python takes any text at all for a zone; the server writes one only after a link-local address.
    number, percent, zone = text.partition("%")
    try:
        found = parse_address(number)
    except AddressError:
        return None
    return None if percent and not (LINK_LOCAL6.covers(found) and _ZONE.match(zone)) else found


def port(text: str) -> int:
    """A port; -1 for anything else."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else -1


def where(tail: str) -> tuple[Prefix, int] | None:
    """The server's "IP port N", and nothing else."""
    parts = tail.split(" ")
    if len(parts) == 3 and parts[1] == "port":
        found, number = address(parts[0]), port(parts[2])
        if found is not None and number >= 0:
            return found, number
    return None


def only(pattern: re.Pattern[str], text: str) -> tuple[int, Prefix, int, int] | None:
    """The one place where `pattern` (groups: address, port) names an address: its start, address, port and end.

    None when there is none, or more than one: then somebody imitates the server, and nobody can tell who is who. The pattern
    must begin and end with assertions, so that an imitation beside the real words cannot swallow a part of them.
    """
    found = None
    for match in pattern.finditer(text):
        there, number = address(match[1]), port(match[2])
        if there is None or number < 0:
            continue
        if found is not None:
            return None
        found = (match.start(), there, number, match.end())
    return found


def bare(message: str) -> tuple[str, bool]:
    """Without the suffix of the unprivileged process; True where it was there."""
    if message.endswith(" [preauth]"):
        return message[:-10], True
    return message.removesuffix(" [postauth]"), False


class Identity(NamedTuple):
    """Who and from where, in packet.c's words. `user` None: no name was given yet."""

    user: str | None
    invalid: bool
    inside: bool  # logged in
    address: Prefix
    port: int


# monitor.c forgot a space once: "authenticatinguser"
_WORDS = (
    ("authenticating user ", False, False), ("invalid user ", True, False), ("user ", False, True), ("authenticatinguser ", False, False),
    ("invaliduser ", True, False),
)  # fmt: skip


def identified(text: str) -> Identity | None:
    """packet.c sshpkt_fmt_connection_id(): "[authenticating |invalid ]user U IP port N", or "IP port N" (old: "IP")."""
    parts = text.rsplit(" ", 3)
    if len(parts) == 4 and parts[2] == "port":
        there, number, who = address(parts[1]), port(parts[3]), parts[0]
    elif len(parts) == 3 and parts[1] == "port":
        there, number, who = address(parts[0]), port(parts[2]), ""
    else:
        there, number, who = address(text), 0, ""
    if there is None or number < 0:
        return None
    if not who:
        return Identity(None, invalid=False, inside=False, address=there, port=number)
    for word, invalid, inside in _WORDS:
        if who.startswith(word):
            return Identity(who[len(word) :], invalid, inside, there, number)
    return None
