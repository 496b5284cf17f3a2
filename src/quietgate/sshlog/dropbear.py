"""What dropbear writes, and what it means (dropbear 2012 to 2025: svr-auth.c, svr-authpasswd.c, svr-authpam.c, svr-authpubkey.c, svr-session.c).

A user name stands in quotes and is the client's text, up to 100 characters; the address is the server's and stands last, or in
angle brackets that the server closes. So it is taken from the right, and never looked for; sshd's rules hold (`sshd.py`).

    Child connection from A:P                                    one begins
    Bad password attempt for 'U' from A:P                        a guess; with PAM "Bad PAM password attempt"
    Login attempt for nonexistent user [from A:P]                a name that is not here; dropbear does not say which
    Exit before auth [from <A:P>: ](user 'U', N fails): WHY      the end of one without a login
"""

from __future__ import annotations

import re

from quietgate.net import Prefix
from quietgate.sshlog.words import CUT, Kind, Said, address, port

_GUESSES = (
    "Bad password attempt for '",
    "Bad PAM password attempt for '",
    "bad password attempt for '",
    "Too-long password attempt for '",
    "Pubkey auth bad signature for '",
)
_LOGINS = (
    "Password auth succeeded for '",
    "PAM password auth succeeded for '",
    "Pubkey auth succeeded for '",
    "password auth succeeded for '",
    "pubkey auth succeeded for '",
    "Auth succeeded with blank password for '",
)
_NO_NAME = ("Login attempt for nonexistent user from ", "login attempt for nonexistent user from ")
_WRONG_USER = ("Login attempt with wrong user ", "login attempt with wrong user ")
_REFUSED = ("root login rejected", "User '", "user '", "Logins are restricted to the group ")
_BEGINS = "Child connection from "
_EXIT = re.compile(r"Exit before auth from <([^<>\s]{3,70})>: (?:\(user '.{0,400}', (\d{1,5}) fails\): )?(.*)\Z", re.DOTALL)
_OLD_EXIT = re.compile(r"[Ee]xit before auth(?: \(user '.{0,400}', (\d{1,5}) fails\))?: (.*)\Z", re.DOTALL)
_INSIDE = re.compile(r"Exit \(.{0,400}\)(?: from <([^<>\s]{3,70})>)?: ", re.DOTALL)
_OTHER = ("Not backgrounding", "Running in background", "Early exit", "Terminated by signal", "Failed ", "Error ", "premature exit", "Exit", "wtmp_", "lastlog_",
          "Aiee", "Couldn't", "Child", "chown", "chmod", "ioctl", "pty", "TCP forward", "Keepalive")  # fmt: skip


def understand(message: str) -> Said | None:
    """What this message of dropbear's says; None if it tells of nothing that matters here. Never raises."""
    if len(message) >= CUT:
        return Said(Kind.UNCLEAR)
    if message.startswith(_BEGINS):
        place = _place(message[len(_BEGINS) :])
        return Said(Kind.CONNECTED, None, *place) if place is not None else None
    if message.startswith(_GUESSES):
        return _named(message, Kind.FAILED, "publickey" if message.startswith("Pubkey") else "password")
    if message.startswith(_LOGINS):
        return _named(message.removesuffix(", extra auth required"), Kind.STEP if message.endswith(", extra auth required") else Kind.ACCEPTED,
                      "publickey" if message[:1] in "Pp" and message[1:6] == "ubkey" else "password")  # fmt: skip
    if message.startswith(_NO_NAME):
        place = _place(message[message.find(" from ") + 6 :])
        return Said(Kind.INVALID_USER, "", *place) if place is not None else None
    if message == "Login attempt for nonexistent user":
        return Said(Kind.INVALID_USER, "")
    if message.startswith(_WRONG_USER):
        return _wrong(message)
    if message.startswith(_REFUSED):
        return Said(Kind.NOT_ALLOWED)
    return _end(message)


def says_nothing(message: str) -> bool:
    """True for what dropbear says of other things than guesses."""
    return message.startswith(_OTHER)


def _place(text: str) -> tuple[Prefix, int] | None:
    """The server's "A:P"; an IPv6 address stands without brackets there (svr-main.c)."""
    host, _, number = text.rpartition(":")
    there, which = address(host.removeprefix("[").removesuffix("]")), port(number)
    return (there, which) if there is not None and which >= 0 else None


def _named(message: str, kind: Kind, method: str) -> Said:
    head, found, tail = message.rpartition(" from ")
    place = _place(tail) if found else None
    start = head.find("'")
    # Behind a key's name stands its fingerprint, which is the server's: the name ends at the last "' with ".
    body = head[start + 1 :]
    name = body.rpartition("' with ")[0] if method == "publickey" and "' with " in body else body.removesuffix("'")
    if place is None:
        return Said(Kind.UNCLEAR)
    return Said(kind, name, *place, method)


def _wrong(message: str) -> Said:
    """`Login attempt with wrong user U from A:P`: the name without quotes."""
    head, found, tail = message.rpartition(" from ")
    place = _place(tail) if found else None
    return Said(Kind.INVALID_USER, head[30:], *place) if place is not None else Said(Kind.INVALID_USER, message[30:])


def _end(message: str) -> Said | None:
    found = _EXIT.match(message)
    if found is not None:
        place = _place(found[1])
        return _left(found[2], found[3], *place) if place is not None else None
    inside = _INSIDE.match(message)
    if inside is not None:
        place = _place(inside[1]) if inside[1] else None
        return Said(Kind.ENDED, None, *place) if place is not None else Said(Kind.ENDED)
    old = _OLD_EXIT.match(message)
    return _left(old[1], old[2], None, 0) if old is not None else None


def _left(fails: str | None, why: str, there: Prefix | None, number: int) -> Said:
    """`fails` None: no name was given. Of an end with a name but without a guess nobody can tell whether a key was offered."""
    if why.startswith("No matching algo"):
        return Said(Kind.LEFT if "hostkey" in why else Kind.NO_MATCH, None, there, number, why[:60])
    if why.startswith(("Integrity error", "Bad packet size", "Incompatible remote version", "Bad remote", "Unexpected packet")):
        return Said(Kind.BROKEN, None, there, number, why[:60])
    if fails is None:
        return Said(Kind.TIMEOUT if why.startswith("Timeout before auth") else Kind.LEFT, None, there, number, "")
    if why.startswith("Max auth tries reached"):
        return Said(Kind.TOO_MANY, None, there, number)
    return Said(Kind.CLOSED, None, there, number, "left")
