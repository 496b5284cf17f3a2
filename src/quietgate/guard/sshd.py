"""What sshd writes, and what it means (openssh-portable auth.c, auth2.c, packet.c, monitor.c, sshd.c; tags 5.x to 10.5).

A user name is the attacker's text, up to 100 characters with spaces, and may imitate any part of a line; so may a
client's banner, its farewell and the key id of a certificate. Rules that every reader here keeps:

- An address is taken only from where the server itself writes it: an exact tail at the line's end, or an exact head at its
  beginning. It is never looked for. Where both sides of the server's words hold somebody else's text and more than one
  reading is possible, the line is *unclear*: counted, and nobody is blamed.
- A name where an address is expected is no address, and is never resolved.
- What is not known is no event.

Messages are told apart by their first six characters, then each kind has one small reader: several times faster than
regular expressions tried in turn (measured: bench/reading).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from quietgate.net import AddressError, Prefix, parse_address

LONGEST = 1024  # characters of a message that are looked at; sshd writes at most that many (log.c MSGBUFSIZ)
MOST_TIMES = 1000  # of "message repeated N times"
KEPT_ADDRESSES = 65536


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


_addresses: dict[str, Prefix | None] = {}


def _address(text: str) -> Prefix | None:
    """An address as the server writes it; None for a name. Remembered, since an attack has few of them."""
    try:
        return _addresses[text]
    except KeyError:
        pass
    try:
        found: Prefix | None = parse_address(text) if len(text) < 64 else None
    except AddressError:
        found = None
    if len(_addresses) >= KEPT_ADDRESSES:
        _addresses.clear()
    _addresses[text] = found
    return found


def _port(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else -1


def _where(tail: str) -> tuple[Prefix, int] | None:
    """The server's "IP port N", and nothing else."""
    parts = tail.split(" ")
    if len(parts) == 3 and parts[1] == "port":
        address, port = _address(parts[0]), _port(parts[2])
        if address is not None and port >= 0:
            return address, port
    return None


def _bare(message: str) -> tuple[str, bool]:
    """Without the suffix of the unprivileged process; True where it was there."""
    if message.endswith(" [preauth]"):
        return message[:-10], True
    return message.removesuffix(" [postauth]"), False


# -- a method: who, from where, with which key

# auth.c auth_log(), with a certificate: its key id is whatever who signed it wrote, its holder's too.
_CERTIFICATE = re.compile(r" from (\S{2,63}) port (\d{1,5}) ssh2: \S+-CERT SHA256:\S+ ID ")
_KEY = re.compile(r"ssh2(?:: [A-Za-z0-9@.-]+ (?:SHA256:\S+|MD5:\S+|[0-9a-f:]+))?\Z")


def _authentication(message: str, start: int, kind: Kind) -> Said | None:
    """`start` is where the method begins."""
    middle = message.find(" for ", start)
    if middle < 0:
        return None
    method = message[start:middle]
    if " " in method:
        return None
    text, _ = _bare(message)
    rest = text[middle + 5 :]
    user, found, tail = rest.rpartition(" from ")
    if found:
        parts = tail.split(" ", 3)
        if len(parts) == 4 and parts[1] == "port" and _KEY.match(parts[3]):
            address, port = _address(parts[0]), _port(parts[2])
            if address is not None and port >= 0:
                return _of_user(kind, user, address, port, method)
    if "-CERT SHA256:" in rest:
        return _certificate(rest, kind, method)
    return Said(Kind.UNCLEAR) if kind is Kind.FAILED else None


def _of_user(kind: Kind, user: str, address: Prefix | None, port: int, method: str) -> Said:
    if user.startswith("invalid user "):
        return Said(kind, user[13:], address, port, method + " invalid")
    if user.startswith("illegal user "):
        return Said(kind, user[13:], address, port, method + " invalid")
    return Said(kind, user, address, port, method)


def _certificate(rest: str, kind: Kind, method: str) -> Said:
    """The user's name and the key id are both somebody else's text: only one reading may be possible."""
    found = list(_CERTIFICATE.finditer(rest))
    if len(found) == 1:
        address, port = _address(found[0][1]), _port(found[0][2])
        if address is not None and port >= 0:
            return _of_user(kind, rest[: found[0].start()], address, port, method)
    return Said(Kind.UNCLEAR)


def _accepted(message: str) -> Said | None:
    """Who was accepted exists here, and such a name holds no space (useradd(8)): so the first reading is the server's."""
    parts = message.split(" ", 8)
    if len(parts) < 8 or parts[0] != "Accepted" or parts[2] != "for" or parts[4] != "from" or parts[6] != "port":
        return None
    rest = message.split(" ", 7)[7].split(" ", 1)
    if len(rest) != 2 or not (rest[1] == "ssh2" or rest[1].startswith("ssh2:")):
        return None
    address, port = _address(parts[5]), _port(rest[0])
    if address is None or port < 0:
        return None
    return Said(Kind.ACCEPTED, parts[3], address, port, parts[1])


def _failed(message: str) -> Said | None:
    if message.startswith("Failed "):
        return _authentication(message, 7, Kind.FAILED)
    return None


def _step(message: str) -> Said | None:
    for word in ("Postponed ", "Partial "):
        if message.startswith(word):
            return _authentication(message, len(word), Kind.STEP)
    return None


def _invalid(message: str) -> Said | None:
    """The form "Invalid user U from IP port N"; before 7.3 without the port."""
    if not message.startswith("Invalid user ") and not message.startswith("Illegal user "):
        return None
    text, _ = _bare(message)
    user, found, tail = text[13:].rpartition(" from ")
    if not found:
        return None
    where = _where(tail)
    if where is not None:
        return Said(Kind.INVALID_USER, user, *where)
    address = _address(tail)
    return Said(Kind.INVALID_USER, user, address) if address is not None else None


# -- the end of a connection


def _identified(text: str) -> tuple[str | None, bool, Prefix, int] | None:
    """packet.c sshpkt_fmt_connection_id(): "[authenticating |invalid ]user U IP port N", or "IP port N" (old: "IP").

    User (None for none), whether it does not exist, address, port.
    """
    parts = text.rsplit(" ", 3)
    if len(parts) == 4 and parts[2] == "port":
        address, port = _address(parts[1]), _port(parts[3])
        who = parts[0]
    elif len(parts) == 3 and parts[1] == "port":
        address, port, who = _address(parts[0]), _port(parts[2]), ""
    else:
        address, port, who = _address(text), 0, ""
    if address is None or port < 0:
        return None
    if not who:
        return None, False, address, port
    for word, invalid in (
        ("authenticating user ", False),
        ("invalid user ", True),
        ("user ", False),
        ("authenticatinguser ", False),
        ("invaliduser ", True),
    ):
        if who.startswith(word):
            return who[len(word) :], invalid, address, port
    return None


def _closed(text: str, *, preauth: bool, why: str) -> Said | None:
    found = _identified(text)
    if found is None:
        return None
    user, invalid, address, port = found
    if user is None:
        return Said(Kind.LEFT, None, address, port, why)
    if not preauth and text.startswith("user "):
        return Said(Kind.ENDED, user, address, port, why)
    return Said(Kind.CLOSED, user, address, port, why + (" invalid" if invalid else ""))


_CONNECTED = re.compile(r"Connection from (\S{2,63}) port (\d{1,5}) on \S+ port \d+(?: rdomain .*)?\Z")


def _connection(message: str) -> Said | None:
    text, preauth = _bare(message)
    for head, why in (("Connection closed by ", "closed"), ("Connection reset by ", "reset")):
        if text.startswith(head):
            return _closed(text[len(head) :], preauth=preauth, why=why)
    if text.startswith("Connection from "):
        found = _CONNECTED.match(text)
        if found:
            address = _address(found[1])
            return Said(Kind.CONNECTED, None, address, int(found[2])) if address is not None else None
        if text.endswith(" timed out"):
            return _closed(text[16:-10], preauth=preauth, why="timed out")
    return None


# The reasons that sshd gives (packet.c, auth2.c, kex.c, monitor.c): its own words, at the line's end.
_REASONS = (
    "Too many authentication failures", "Packet corrupt", "bad service request", "no authentication methods enabled",
    "Connection corrupted", "Protocol error", "too many authentication failures", "Bye Bye",
)  # fmt: skip
_CHANGE = re.compile(r" (\S{2,63}) port (\d{1,5}): Change of username or service not allowed: \(")


def _disconnecting(message: str) -> Said | None:
    text, preauth = _bare(message)
    if text.startswith("Disconnected from "):
        return _closed(text[18:], preauth=preauth, why="left")
    if not text.startswith("Disconnecting "):
        return None
    rest = text[14:]
    head, found, reason = rest.rpartition(": ")
    if found and reason in _REASONS:
        identified = _identified(head)
        if identified is None:
            return None
        user, invalid, address, port = identified
        many = reason.startswith(("Too many", "too many"))
        kind = Kind.TOO_MANY if many else Kind.CLOSED if user is not None else Kind.BROKEN
        return Said(kind, user, address, port, reason + (" invalid" if invalid else ""))
    if rest.startswith(("authenticating user ", "invalid user ", "user ")) and "Change of username" in rest:
        changes = list(_CHANGE.finditer(rest))
        if len(changes) != 1:
            return Said(Kind.UNCLEAR)
        identified = _identified(rest[: changes[0].start()] + f" {changes[0][1]} port {changes[0][2]}")
        if identified is None:
            return None
        return Said(Kind.CLOSED, identified[0], identified[2], identified[3], "change of username" + (" invalid" if identified[1] else ""))
    return None


_RECEIVED = re.compile(r"Received disconnect from (\S{2,63}?)(?: port (\d{1,5}))?:\s?(\d{1,10}):")


def _received(message: str) -> Said | None:
    """The head is the server's, the rest the client's farewell."""
    found = _RECEIVED.match(message)
    if found is None:
        return None
    address = _address(found[1])
    if address is None:
        return None
    return Said(Kind.LEFT, None, address, int(found[2] or 0), "disconnect")


# -- PAM


def _pam(message: str) -> Said | None:
    """pam_unix(sshd:auth) and sshd's own "PAM N more authentication failures": the first rhost= is PAM's, the rest may not be."""
    more = 1
    if message.startswith("PAM "):
        words = message.split(" ", 3)
        if len(words) < 4 or not words[1].isdecimal() or not words[3].startswith("authentication failure"):
            return None
        more = min(int(words[1]), MOST_TIMES)
    elif "(sshd:auth): authentication failure;" not in message[:60]:
        return None
    _, found, rest = message.partition(" rhost=")
    if not found:
        return None
    host, _, user = rest.partition(" ")
    address = _address(host)
    if address is None:
        return None
    user = user.lstrip()
    # Each PAM module says it for itself; libpam's summary belongs to pam_unix.
    module = "pam" if message.startswith(("pam_unix", "PAM ")) else message.partition("(")[0]
    return Said(Kind.PAM_FAILED, user[5:] if user.startswith("user=") else None, address, 0, module, more)


def _pam_error(message: str) -> Said | None:
    """auth-pam.c: "PAM: <what> for [illegal user ]U from HOST"."""
    text, _ = _bare(message)
    head, found, host = text.rpartition(" from ")
    _, middle, user = head.partition(" for ")
    if not found or not middle:
        return None
    address = _address(host)
    if address is None:
        return None
    return _of_user(Kind.PAM_FAILED, user, address, 0, "keyboard")


# -- refusals


def _user(message: str) -> Said | None:
    """The form "User U [from HOST ]not allowed because WHY": the reason is the server's and stands last."""
    text, _ = _bare(message)
    head, found, why = text.rpartition(" not allowed because ")
    if not text.startswith("User ") or not found:
        return None
    if why.startswith(_WHY_WITHOUT_HOST):  # what looks like a host in these is a part of the name
        return Said(Kind.NOT_ALLOWED, head[5:], None, 0, why)
    if why not in _WHY:
        return None
    user, host_given, host = head[5:].rpartition(" from ")
    if not host_given:
        return Said(Kind.NOT_ALLOWED, head[5:], None, 0, why)
    address = _address(host)
    if address is None:  # "from" was a part of the name, or the host is a name
        return Said(Kind.NOT_ALLOWED, head[5:], None, 0, why)
    return Said(Kind.NOT_ALLOWED, user, address, 0, why)


_WHY = frozenset({
    "listed in DenyUsers", "not listed in AllowUsers", "not in any group", "a group is listed in DenyGroups",
    "none of user's groups are listed in AllowGroups",
})  # fmt: skip
_WHY_WITHOUT_HOST = ("account is locked", "shell ", "/etc/nologin exists", "/var/run/nologin exists", "/run/nologin exists")


def _root(message: str) -> Said | None:
    text, _ = _bare(message)
    if not text.startswith("ROOT LOGIN REFUSED FROM "):
        return None
    where = _where(text[24:])
    if where is not None:
        return Said(Kind.ROOT_REFUSED, "root", *where)
    address = _address(text[24:])
    return Said(Kind.ROOT_REFUSED, "root", address) if address is not None else None


def _maximum(message: str) -> Said | None:
    head = "maximum authentication attempts exceeded for "
    if not message.startswith(head):
        return None
    return _authentication("m" + message[message.index(" for ") :], 0, Kind.TOO_MANY)


def _prohibited(message: str) -> Said | None:
    if not message.startswith("administratively prohibited connection for "):
        return None
    text, _ = _bare(message)
    user, found, tail = text[43:].rpartition(" from ")
    where = _where(tail) if found else None
    return _of_user(Kind.PROHIBITED, user, *where, "") if where is not None else None


def _revoked(message: str) -> Said | None:
    if message.startswith("WARNING: revoked key for "):
        return Said(Kind.REVOKED_KEY, message[25:].partition(" attempted authentication")[0])
    return None


# -- handshakes


_NEGOTIATE = re.compile(r"Unable to negotiate with (\S{2,63}?)(?: port (\d{1,5}))?: no matching ([a-z ]{3,30}) found")


def _unable(message: str) -> Said | None:
    found = _NEGOTIATE.match(message)
    if found is None:
        return None
    address = _address(found[1])
    return Said(Kind.NO_MATCH, None, address, int(found[2] or 0), found[3]) if address is not None else None


def _did_not(message: str) -> Said | None:
    """A health check, a scanner, a load balancer: it connected, said nothing and left."""
    head = "Did not receive identification string from "
    if not message.startswith(head):
        return None
    text, _ = _bare(message)
    found = _identified(text[len(head) :])
    return Said(Kind.LEFT, None, found[2], found[3], "silent") if found is not None and found[0] is None else None


def _bad(message: str) -> Said | None:
    """The form "Bad protocol version identification 'TEXT' from IP port N": what stands in the quotes is the client's."""
    if message.startswith(("Bad protocol version identification '", "Bad remote protocol version identification: '")):
        text, _ = _bare(message)
        _, found, tail = text.rpartition("' from ")
        if not found:
            return Said(Kind.BAD_PROTOCOL)
        where = _where(tail)
        if where is not None:
            return Said(Kind.BAD_PROTOCOL, None, *where)
        address = _address(tail)
        return Said(Kind.BAD_PROTOCOL, None, address) if address is not None else None
    if message.startswith("Bad packet length "):
        return Said(Kind.BROKEN)
    return None


def _banner(message: str) -> Said | None:
    """The form "banner exchange: Connection from IP port N: invalid format"."""
    text, _ = _bare(message)
    if not text.startswith("banner exchange: Connection from "):
        return None
    where = _where(text[33:].partition(": ")[0])
    return Said(Kind.BAD_PROTOCOL, None, *where) if where is not None else None


def _dispatch(message: str) -> Said | None:
    """The form "ssh_dispatch_run_fatal: Connection from [authenticating user U ]IP port N: REASON"; the reason is ssherr.c's."""
    head = "ssh_dispatch_run_fatal: Connection from "
    if not message.startswith(head):
        return None
    text, _ = _bare(message)
    who, found, reason = text[len(head) :].rpartition(": ")
    identified = _identified(who) if found else None
    return Said(Kind.BROKEN, identified[0], identified[2], identified[3], reason) if identified is not None else None


def _exchange(message: str) -> Said | None:
    """What begins with "kex_exchange_identification" names no address: the line after it does. What the client sent is no connection of a person."""
    if message.startswith(("kex_exchange_identification: banner line", "kex_exchange_identification: client sent invalid")):
        return Said(Kind.BAD_PROTOCOL)
    return None


def _protocol(message: str) -> Said | None:
    return Said(Kind.BAD_PROTOCOL) if message.startswith("Protocol major versions differ") else None


def _corrupted(message: str) -> Said | None:
    return Said(Kind.BROKEN) if message.startswith(("Corrupted MAC on input", "padding error")) else None


_TIMEOUT_NEW = re.compile(r"Timeout before authentication for connection from (\S{2,63}) to \S{2,63}, pid = \d{1,10}")


def _timeout(message: str) -> Said | None:
    if not message.startswith("Timeout before authentication for "):
        return None
    new = _TIMEOUT_NEW.match(message)
    if new is not None:
        address = _address(new[1])
        return Said(Kind.TIMEOUT, None, address) if address is not None else None
    text, _ = _bare(message)
    found = _identified(text[34:])
    return Said(Kind.TIMEOUT, found[0], found[2], found[3]) if found is not None else None


_CRASHED = re.compile(r"[Ss]ession process \d{1,10} (?:unpriv child crash )?for connection from (\S{2,63}) to ")


def _crash(message: str) -> Said | None:
    found = _CRASHED.match(message)
    if found is None or not ("crash" in message[:60] or "killed by signal" in message):
        return None
    address = _address(found[1])
    return Said(Kind.CRASH, None, address) if address is not None else None


_PROBED = re.compile(r"(?:probed|scanned) from (\S{2,63}?)(?: port (\d{1,5}))? with ")


def _probed(message: str) -> Said | None:
    found = _PROBED.match(message)
    if found is None:
        return None
    address = _address(found[1])
    return Said(Kind.PROBED, None, address, int(found[2] or 0)) if address is not None else None


def _refused(message: str) -> Said | None:
    """libwrap: "refused connect from HOST (IP)"; the host's name is its owner's text."""
    if not message.startswith("refused connect from ") or not message.endswith(")"):
        return None
    address = _address(message[message.rfind("(") + 1 : -1])
    return Said(Kind.REFUSED, None, address) if address is not None else None


# -- sshd's own measures


_DROPPED = re.compile(
    r"drop connection #\d{1,10} from \[([0-9a-fA-F.:]{2,63})(?:%\w{1,16})?\]:(\d{1,5}) on \[[^\]]{2,63}\]:\d{1,5} (.*)\Z", re.DOTALL
)
_PENALISED = re.compile(r"srclimit_penalise: (?:ipv[46]: new )?([0-9a-fA-F.:]{2,63})/(\d{1,3})(?: (active)|: (activating))")


def _drop(message: str) -> Said | None:
    found = _DROPPED.match(message)
    if found is None:
        return None
    address, why = _address(found[1]), found[3]
    if address is None:
        return None
    penalty = why.startswith("penalty: ")
    return Said(Kind.PENALTY if penalty else Kind.DROPPED, None, address, int(found[2]), why[9:] if penalty else why)


def _penalised(message: str) -> Said | None:
    """Only a penalty that is active: a deferred one is a single slip. Masked sources (/64) name the network's first address."""
    found = _PENALISED.match(message)
    if found is None or not (found[3] or found[4]):
        return None
    address = _address(found[1])
    return Said(Kind.PENALTY, None, address, 0, "active") if address is not None else None


def _strain(message: str) -> Said | None:
    if message.startswith(("beginning MaxStartups throttling", "in MaxStartups throttling", "exited MaxStartups throttling",
                           "PerSourcePenalties logging rate-limited", "Maxstartups logging rate-limited")):  # fmt: skip
        return Said(Kind.STRAIN, method=message[:60])
    return None


_REPEATED = re.compile(r"message repeated (\d{1,9}) times: \[ ?(.*)\]\Z", re.DOTALL)


def _repeated(message: str) -> Said | None:
    """rsyslog's: the message stands for N more."""
    found = _REPEATED.match(message)
    said = understand(found[2]) if found is not None and not found[2].startswith("message repeated") else None
    return said._replace(times=min(int(found[1]), MOST_TIMES) * said.times) if said is not None and found is not None else None


def _prefixed(message: str) -> Said | None:
    """Syslog's "error: " and "fatal: " are sshd's own words for a level."""
    return understand(message[7:]) if not message[7:].startswith(("error: ", "fatal: ")) else None


_READERS: dict[str, Callable[[str], Said | None]] = {
    "Failed": _failed, "Accept": _accepted, "Postpo": _step, "Partia": _step, "Invali": _invalid, "Illega": _invalid, "Connec": _connection,
    "Discon": _disconnecting, "Receiv": _received, "pam_un": _pam, "pam_ss": _pam, "PAM: A": _pam_error, "PAM: U": _pam_error, "PAM: M": _pam_error,
    "PAM: P": _pam_error, "User r": _user, "ROOT L": _root, "maximu": _maximum, "admini": _prohibited, "WARNIN": _revoked, "Unable": _unable,
    "Did no": _did_not, "Bad pr": _bad, "Bad re": _bad, "Bad pa": _bad, "banner": _banner, "ssh_di": _dispatch, "kex_ex": _exchange,
    "Protoc": _protocol, "Corrup": _corrupted, "paddin": _corrupted, "Timeou": _timeout, "Sessio": _crash, "sessio": _crash, "probed": _probed,
    "scanne": _probed, "refuse": _refused, "drop c": _drop, "srclim": _penalised, "beginn": _strain, "in Max": _strain, "exited": _strain,
    "PerSou": _strain, "Maxsta": _strain, "messag": _repeated, "error:": _prefixed, "fatal:": _prefixed,
}  # fmt: skip


def understand(message: str) -> Said | None:
    """What this message of sshd's says; None if it tells of nothing that matters here. Never raises."""
    if len(message) > LONGEST:
        return Said(Kind.UNCLEAR)  # sshd writes no such line, and what was cut has no exact tail
    reader = _READERS.get(message[:6])
    if reader is not None:
        return reader(message)
    if message.startswith("User "):
        return _user(message)
    if message.startswith("PAM "):
        return _pam_error(message) if message.startswith("PAM: ") else _pam(message)
    return None
