"""The lines of a method: who, how, from where, and with what outcome (auth.c, auth2.c, auth-pam.c, monitor.c, PAM's modules).

`rest` and `tail` as in the server's format: what stands to the right of the name is the server's, so it is read from the right.
Only a certificate's key id and the names in host-based and GSSAPI requests stand behind the address: there both sides hold
somebody else's text, and only a single possible reading counts.
"""

from __future__ import annotations

import re

from quietgate.net import Prefix
from quietgate.sshlog.words import MOST_TIMES, Kind, Said, address, bare, only, port, where

_WITH_TEXT_BEHIND = ("publickey", "hostbased", "gssapi-")
_SERVER = re.compile(r"(?<= from )(\S{2,63}) port (\d{1,5}) ssh2(?=:|\Z)")
# Protocol 1 (before 7.4) wrote the client's own user name behind: "ssh1: ruser NAME".
_SERVER1 = re.compile(r"(?<= from )(\S{2,63}) port (\d{1,5}) ssh1(?=: ruser |\Z)")
_KEY = re.compile(r"ssh2(?:: [A-Za-z0-9-]+ (?:SHA256:[A-Za-z0-9+/=]+|MD5:[0-9a-f:]+|[0-9a-f:]+))?\Z")


def _authentication(message: str, start: int, kind: Kind) -> Said | None:
    """`start` is where the method begins: "METHOD for [invalid user ]U from IP port N ssh2[: ...]"."""
    middle = message.find(" for ", start)
    if middle < 0:
        return None
    method = message[start:middle]
    if " " in method:
        return None
    text, _ = bare(message)
    rest = text[middle + 5 :]
    if method.startswith(_WITH_TEXT_BEHIND) and (method != "publickey" or "-CERT" in rest):
        found = only(_SERVER, rest)
        return Said(Kind.UNCLEAR) if found is None else _of_user(kind, rest[: found[0] - 6], found[1], found[2], method)
    if " ssh1" in rest:
        found = only(_SERVER1, rest)
        return Said(Kind.UNCLEAR) if found is None else _of_user(kind, rest[: found[0] - 6], found[1], found[2], method)
    user, given, tail = rest.rpartition(" from ")
    parts = tail.split(" ", 3)
    # Before 6.0 protocol 1 had no "ssh2" behind.
    if given and parts[1:2] == ["port"] and (len(parts) == 3 or (len(parts) == 4 and _KEY.match(parts[3]))):
        there, number = address(parts[0]), port(parts[2])
        if there is not None and number >= 0:
            return _of_user(kind, user, there, number, method)
    return Said(Kind.UNCLEAR)


def _of_user(kind: Kind, user: str, there: Prefix | None, number: int, method: str) -> Said:
    if user.startswith(("invalid user ", "illegal user ")):
        return Said(kind, user[13:], there, number, method + " invalid")
    return Said(kind, user, there, number, method)


def accepted(message: str) -> Said | None:
    """Who was accepted exists here, and such a name holds no space (useradd(8)): so the first reading is the server's.

    The monitor says it, never the unprivileged process: "[preauth]" behind it would be somebody else's.
    """
    parts = message.split(" ", 7)
    if len(parts) < 8 or parts[0] != "Accepted" or parts[2] != "for" or parts[4] != "from" or parts[6] != "port" or bare(message)[1]:
        return None
    rest = parts[7].split(" ", 1)
    if len(rest) != 2 or not (rest[1] == "ssh2" or rest[1].startswith("ssh2:")):
        return None
    there, number = address(parts[5]), port(rest[0])
    if there is None or number < 0:
        return None
    return Said(Kind.ACCEPTED, parts[3], there, number, parts[1])


def failed(message: str) -> Said | None:
    """A method that failed."""
    return _authentication(message, 7, Kind.FAILED) if message.startswith("Failed ") else None


def step(message: str) -> Said | None:
    """A method that is not over, or one of several that are wanted."""
    for word in ("Postponed ", "Partial "):
        if message.startswith(word):
            return _authentication(message, len(word), Kind.STEP)
    return None


def maximum(message: str) -> Said | None:
    """MaxAuthTries is reached."""
    head = "maximum authentication attempts exceeded for "
    return _authentication(f"x for {message[len(head) :]}", 0, Kind.TOO_MANY) if message.startswith(head) else None


def invalid(message: str) -> Said | None:
    """The form "Invalid user U from IP port N"; before 7.3 without the port."""
    if not message.startswith(("Invalid user ", "Illegal user ")):
        return None
    user, given, tail = bare(message)[0][13:].rpartition(" from ")
    if not given:
        return None
    place = where(tail)
    if place is not None:
        return Said(Kind.INVALID_USER, user, *place)
    there = address(tail)
    return Said(Kind.INVALID_USER, user, there) if there is not None else None


# -- PAM

KEYBOARD = "keyboard"  # the method of what sshd itself says of a conversation with PAM
_OF_MODULE = re.compile(r"(pam_\w{1,30})\(sshd:auth\): authentication failure; ")
_MORE = re.compile(r"PAM ([1-9]\d{0,8}) more authentication failures?; ", re.ASCII)


# pam_unix, pam_access: after the password was found right
_OF_ACCOUNT = re.compile(
    r"pam_\w{1,30}\(sshd:account\): (?:account (\S{1,100}) has expired|access denied for user [`'](\S{1,100})')", re.ASCII
)
# pam_strerror(3) of what is no wrong password
_OF_ACCOUNTS = ("PAM: User account has expired", "PAM: Authentication token is no longer valid", "PAM: Authentication token expired")


def pam(message: str) -> Said | None:
    """A module's line, and sshd's own "PAM N more authentication failures": the first rhost= is PAM's, the rest may not be."""
    of_module = more = None
    if message.startswith("PAM "):
        more = _MORE.match(message)
    elif "(sshd:auth): authentication failure; " in message:
        of_module = _OF_MODULE.match(message)
    elif "(sshd:account): " in message:
        refused = _OF_ACCOUNT.match(message)
        return Said(Kind.ACCOUNT_REFUSED, refused[1] or refused[2], None, 0, "before") if refused is not None else None
    if of_module is None and more is None:
        return None
    _, found, rest = message.partition(" rhost=")
    host, _, user = rest.partition(" ")
    if not found or not host:
        return None
    there = address(host)  # with UseDNS a name, which is no address: other lines of the connection hold it
    user = user.lstrip()
    # Each module says it for itself; libpam's summary belongs to pam_unix.
    module = of_module[1] if of_module is not None and of_module[1] != "pam_unix" else "pam"
    times = min(int(more[1]), MOST_TIMES) if more is not None else 1
    return Said(Kind.PAM_FAILED, user[5:] if user.startswith("user=") else None, there, 0, module, times)


# pam_strerror(3) of PAM_MAXTRIES holds a " for " of its own
_EXHAUSTED = "PAM: Have exhausted maximum number of retries for service for "


def pam_error(message: str) -> Said | None:
    """auth-pam.c: "PAM: <what> for [illegal user ]U from HOST"."""
    if not message.startswith("PAM: "):
        return None
    head, given, host = bare(message)[0].rpartition(" from ")
    middle, user = (" for ", head[len(_EXHAUSTED) :]) if head.startswith(_EXHAUSTED) else head.partition(" for ")[1:]
    if not given or not middle or " " in host:
        return None
    if head.startswith(_OF_ACCOUNTS):
        return Said(Kind.ACCOUNT_REFUSED, user, address(host), 0, "before")
    return _of_user(Kind.PAM_FAILED, user, address(host), 0, KEYBOARD)  # with UseDNS HOST is a name, which is no address


def refused_account(message: str) -> Said | None:
    """auth-pam.c, monitor.c: "Access denied for user U by PAM account configuration": what the line before took for a guess was right."""
    text, _ = bare(message)
    head, tail = "Access denied for user ", " by PAM account configuration"
    if not text.startswith(head) or not text.endswith(tail):
        return None
    return Said(Kind.ACCOUNT_REFUSED, text[len(head) : -len(tail)])


# -- refusals

_WHY = frozenset({
    "listed in DenyUsers", "not listed in AllowUsers", "not in any group", "a group is listed in DenyGroups",
    "none of user's groups are listed in AllowGroups",
})  # fmt: skip
_WHY_WITHOUT_HOST = ("account is locked", "shell ", "/etc/nologin exists", "/var/run/nologin exists", "/run/nologin exists")


def user(message: str) -> Said | None:
    """The form "User U [from HOST ]not allowed because WHY": the reason is the server's and stands last."""
    head, found, why = bare(message)[0].rpartition(" not allowed because ")
    if not message.startswith("User ") or not found:
        return None
    if why.startswith(_WHY_WITHOUT_HOST):  # what looks like a host in these is a part of the name
        return Said(Kind.NOT_ALLOWED, head[5:], None, 0, why)
    if why not in _WHY:
        return None
    name, given, host = head[5:].rpartition(" from ")
    if not given:
        return Said(Kind.NOT_ALLOWED, head[5:], None, 0, why)
    return Said(Kind.NOT_ALLOWED, name, address(host), 0, why)  # with UseDNS a name, which is no address


def root(message: str) -> Said | None:
    """Root, where PermitRootLogin says no."""
    head = "ROOT LOGIN REFUSED FROM "
    if not message.startswith(head):
        return None
    tail = bare(message)[0][len(head) :]
    place = where(tail)
    if place is not None:
        return Said(Kind.ROOT_REFUSED, "root", *place)
    there = address(tail)
    return Said(Kind.ROOT_REFUSED, "root", there) if there is not None else None


def prohibited(message: str) -> Said | None:
    """RefuseConnection (9.9)."""
    head = "administratively prohibited connection for "
    if not message.startswith(head):
        return None
    name, found, tail = bare(message)[0][len(head) :].rpartition(" from ")
    place = where(tail) if found else None
    return _of_user(Kind.PROHIBITED, name, *place, "") if place is not None else None


def revoked(message: str) -> Said | None:
    """A key that somebody has revoked, and somebody still uses. It names no address."""
    head = "WARNING: revoked key for "
    return Said(Kind.REVOKED_KEY, message[len(head) :].partition(" attempted authentication")[0]) if message.startswith(head) else None


# -- where the name stands

_BEFORE_NAME = re.compile(
    r"(?:message repeated \d{1,9} times: \[ ?)?(?:error: |fatal: )?(?:"
    r"(?:(?:Failed|Postponed|Partial|Accepted) \S+|maximum authentication attempts exceeded|administratively prohibited connection"
    r"|PAM: (?:Have exhausted maximum number of retries for service|.*?)) for (?:invalid user |illegal user )?"
    r"|(?:Invalid|Illegal) user |User |WARNING: revoked key for "
    r"|(?:Connection (?:closed|reset) by|Connection from|Disconnected from|Disconnecting|Timeout before authentication for"
    r"|ssh_dispatch_run_fatal: Connection from) (?:authenticating |invalid |authenticating|invalid)?user "
    r"|(?:pam_\w{1,30}\(sshd:auth\): authentication failure; |PAM \d{1,9} more authentication failures?; ).*?rhost=\S* +user=)"
)


def name_at(message: str, name: str) -> tuple[int, int] | None:
    """Where in a message that says this name it stands: behind the server's first words, wherever else the same letters are."""
    found = _BEFORE_NAME.match(message)
    if found is None or not message.startswith(name, found.end()):
        return None
    return found.end(), found.end() + len(name)
