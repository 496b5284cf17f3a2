"""What sshd writes, and what it means (openssh-portable auth.c, auth2.c, packet.c, monitor.c, sshd.c; tags 5.x to 10.5).

A user name is the attacker's text, up to 100 characters with spaces, and may imitate any part of a line; so may a
client's banner, its farewell and the key id of a certificate. Rules that every reader here keeps:

- An address is taken only from where the server itself writes it: an exact tail at the line's end, or an exact head at its
  beginning. It is never looked for. Where both sides of the server's words hold somebody else's text and more than one
  reading is possible, the line is *unclear*: counted, and nobody is blamed.
- sshd cuts a line after 500 characters. A control character in a name is four of them, so a client can choose what a line ends
  with: what was cut is only read from its beginning.
- A name where an address is expected is no address, and is never resolved.
- What is not known is no event.

Messages are told apart by their first six characters, then each kind has one small reader: several times faster than
regular expressions tried in turn (measured: bench/reading). The readers: `authentication.py`, `disconnects.py`, `handshakes.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from quietgate.sshlog import authentication, disconnects, handshakes
from quietgate.sshlog.words import CUT, HOSTILE, LONGEST, MOST_TIMES, Kind, Said

__all__ = ["HOSTILE", "LONGEST", "Kind", "Said", "understand"]

_REPEATED = re.compile(r"message repeated ([1-9]\d{0,8}) times: \[ ?(.*)\]\Z", re.DOTALL | re.ASCII)


def _repeated(message: str) -> Said | None:
    """rsyslog's: the message stands for N more."""
    found = _REPEATED.match(message)
    if found is None or "message repeated" in found[2][:24]:
        return None
    said = understand(found[2])
    return said._replace(times=min(int(found[1]) * said.times, MOST_TIMES)) if said is not None else None


def _prefixed(message: str) -> Said | None:
    """Syslog's "error: " and "fatal: " are sshd's own words for a level. A login is no error."""
    if message[6:7] != " " or message.startswith(("error: ", "fatal: "), 7):
        return None
    said = understand(message[7:])
    return said if said is not None and said.kind is not Kind.ACCEPTED else None


_READERS: dict[str, Callable[[str], Said | None]] = {
    "Failed": authentication.failed, "Accept": authentication.accepted, "Postpo": authentication.step, "Partia": authentication.step, "Invali": authentication.invalid,
    "Illega": authentication.invalid, "maximu": authentication.maximum, "pam_un": authentication.pam, "pam_ss": authentication.pam, "User r": authentication.user,
    "ROOT L": authentication.root, "admini": authentication.prohibited, "WARNIN": authentication.revoked, "Access": authentication.refused_account, "Connec": disconnects.connection, "Discon": disconnects.disconnecting,
    "Receiv": disconnects.received, "ssh_di": disconnects.dispatch, "Timeou": disconnects.timeout, "Sessio": disconnects.crash, "sessio": disconnects.crash,
    "Unable": handshakes.unable, "Did no": handshakes.did_not, "Bad pr": handshakes.bad, "Bad re": handshakes.bad, "Bad pa": handshakes.bad,
    "banner": handshakes.banner, "kex_ex": handshakes.exchange, "Protoc": handshakes.protocol, "Corrup": handshakes.corrupted,
    "paddin": handshakes.corrupted, "probed": handshakes.probed, "scanne": handshakes.probed, "refuse": handshakes.refused,
    "drop c": handshakes.drop, "srclim": handshakes.penalised, "beginn": handshakes.strain, "in Max": handshakes.strain,
    "exited": handshakes.strain, "PerSou": handshakes.strain, "Maxsta": handshakes.strain, "no mat": handshakes.unable, "messag": _repeated, "error:": _prefixed,
    "fatal:": _prefixed,
}  # fmt: skip


# These take what they need from the server's first words.
_FROM_THE_LEFT: frozenset[Callable[[str], Said | None]] = frozenset({
    authentication.accepted, authentication.pam, authentication.revoked, disconnects.received, disconnects.crash, handshakes.unable, handshakes.probed, handshakes.banner,
    handshakes.exchange, handshakes.protocol, handshakes.corrupted, handshakes.drop, handshakes.penalised, handshakes.strain, _repeated,
})  # fmt: skip


def understand(message: str) -> Said | None:
    """What this message of sshd's says; None if it tells of nothing that matters here. Never raises."""
    reader = _READERS.get(message[:6])
    if len(message) >= CUT:
        return _cut(message, reader)
    if reader is not None:
        return reader(message)
    if message.startswith("User "):
        return authentication.user(message)
    if message.startswith("PAM"):
        return authentication.pam_error(message) if message.startswith("PAM: ") else authentication.pam(message)
    return authentication.pam(message) if message.startswith("pam_") else None


# What sshd and PAM's modules say of other things, as far as it was seen in real logs and read in session.c, sshd.c, sshd-session.c, serverloop.c,
# auth2-pubkey.c, canohost.c, monitor.c: none of it is a guess, and a log full of it is not one that cannot be read.
_OF_OTHER_THINGS = (
    "pam_unix(", "pam_sss(", "pam_systemd(", "pam_env(", "pam_limits(", "pam_nologin(", "pam_access(", "pam_loginuid(", "pam_mkhomedir(",
    "pam_google", "pam_winbind(", "pam_krb5(", "pam_ldap(", "pam_faillock(", "pam_tally", "pam_lastlog(", "pam_motd(", "pam_mail(", "pam_keyinit(",
    "pam_selinux(", "pam_cap(", "pam_umask(", "PAM service(", "PAM adding ", "PAM unable ", "PAM (", "PAM: ", "Server listening on ", "Received signal ", "Received SIGHUP", "input_userauth_request: ", "reverse mapping checking ",
    "Address ", "Nasty PTR record ", "User child is on pid ", "Starting session: ", "Close session: ", "Closing connection to ", "Transferred: ",
    "subsystem request ", "Found matching ", "Accepted key ", "Accepted certificate ", "Authentication ", "Authorized ", "userauth_", "fatal: userauth_",
    "Postponed ", "Partial ", "Exiting on signal", "Set /", "Setting ", "debug1: ", "debug2: ", "debug3: ", "session opened for ", "session closed for ", "error: Could not ",
    "Could not ", "error: Received disconnect from ", "error: kex_", "kex_exchange_identification: ", "error: Bind to port ", "Cannot bind ", "error: connect_to ",
    "connect_to ", "error: channel ", "channel ", "error: AuthorizedKeys", "Environment ", "lastlog_", "error: mm_", "fatal: mm_", "mm_request", "mm_answer", "Failed to release session",
    "fatal: Read from ", "Read error from ", "Write failed", "fatal: Write failed", "Timeout, client not responding", "forced-command", "error: maximum ", "expired ",
    "Account ", "error: /etc/", "/etc/ssh", "Missing privilege separation", "Protocol ", "PerSourcePenalties ", "srclimit_penalise: ", "rexec line", "Deprecated option",
    "error: Failed to disconnect", "error: bind", "bind: ", "syslogin_perform_logout", "error: beginning ", "error: Access denied for user ",
    "Local disconnected", "Finished discarding for ", "Disconnecting: ", "fatal: Fssh_", "error: Fssh_", "fatal: buffer_", "fatal: ssh_", "Unable to ",
    "message repeated ", "Did not receive ", "Connection closed", "Connection reset", "ssh_dispatch_run_fatal: ", "Bad remote ", "Invalid user", "Protocol",
    "open /", "Starting ", "Changed ", "Authenticated to ", "Forced ", "Allocated ", "Enabling ", "ssh_packet", "packet_write", "Server ", "error: Bad ",
    "error: PAM: ", "error: Hm, ", "error: RSA_public_decrypt", "error: key_", "error: buffer_", "error: Broken pipe", "fatal: Timeout",
)  # fmt: skip


# By their first five characters: asked of each line that tells of nothing, a list of a hundred would cost more than the rest of the reading.
_BY_FIRST: dict[str, tuple[str, ...]] = {}
for _words in _OF_OTHER_THINGS:
    _BY_FIRST[_words[:5]] = (*_BY_FIRST.get(_words[:5], ()), _words)


def says_nothing(message: str) -> bool:
    """True for what sshd says of other things than guesses, as far as it is known. What is neither this nor understood is counted."""
    known = _BY_FIRST.get(message[:5])
    return known is not None and message.startswith(known)


def _cut(message: str, reader: Callable[[str], Said | None] | None) -> Said | None:
    """A message that may have been cut off."""
    if len(message) > LONGEST:
        return Said(Kind.UNCLEAR)
    if reader is _prefixed:
        reader = _READERS.get(message[7:13])
        return _prefixed(message) if reader in _FROM_THE_LEFT and reader is not _repeated else Said(Kind.UNCLEAR)
    if reader is not None:
        return reader(message) if reader in _FROM_THE_LEFT else Said(Kind.UNCLEAR)
    return authentication.pam(message) if message.startswith("PAM ") else None
