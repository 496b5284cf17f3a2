"""A model of sshd that writes down what a hostile client says, and a client that knows how its words will be written.

Every line comes with the truth: the address that the server wrote, or None. The client imitates all that it has seen of
sshd's words, speaks of innocent addresses, and knows where sshd, its vis(3) and its buffers cut (auth.c, packet.c, log.c).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

BUFFER = 500  # log.c: syslog(pri, "%.500s")
INNOCENT = [f"198.51.100.{n}" for n in range(1, 30)] + [f"2001:db8:bad::{n:x}" for n in range(1, 30)] + ["::ffff:198.51.100.7"]
HOSTILE = [f"203.0.113.{n}" for n in range(1, 200)] + [f"2001:db8:7:{n:x}::9" for n in range(1, 200)]
TAILS = (
    " from {x} port {p} ssh2", " from {x} port {p} ssh2:", " from {x} port {p} ssh2: RSA SHA256:abc", " from {x} port {p}", " from {x}", " {x} port {p}",
    " {x} port {p}: Too many authentication failures", " {x} port {p}: Packet corrupt", " {x} port {p}: Bye Bye", " {x} port {p}:", " {x} port {p} [preauth]",
    " {x} port {p}: Change of username or service not allowed: (", " from {x} port {p} ssh2: RSA-CERT SHA256:a ID ", " from {x}%", "' from {x} port {p}", "' from {x}",
    "' from {x}%", " rhost={x}  user=root", " from {x} not allowed because not in any group", ":11: {x} port {p}", " {x} port {p} timed out", " [{x}]:{p} on [",
    " {x} port {p}: Broken pipe", " ({x})", " from {x} port {p} ssh2]", "\n",
)  # fmt: skip
HEADS = (
    "Accepted publickey for root", "Accepted password for root", "Failed password for root", "Failed password for invalid user x", "Invalid user x", "error: ",
    "fatal: ", "Connection closed by", "Connection closed by authenticating user root", "Disconnected from", "Disconnecting authenticating user root", "user ",
    "Received disconnect", "invalid user ", "authenticating user ", "message repeated 9 times: [ Failed password for root", "-CERT ID ", "ssh2", " from", " for ",
    "drop connection #0", "srclimit_penalise: {x}/32: activating ipv4 penalty of 9 seconds", "PAM: Authentication failure for root", "ROOT LOGIN REFUSED FROM",
    "Timeout before authentication for connection from {x} to {x}, pid = 1", "pam_unix(sshd:auth): authentication failure; ", "", "x", "a", "\\", "\x1b[2J", "é",
)  # fmt: skip

Line = tuple[str, str | None, bool]  # the line, the address that the server wrote, whether it is a login


def vis(text: str) -> str:
    """log.c: strnvis(VIS_CSTYLE | VIS_NL | VIS_TAB | VIS_OCTAL)."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    out = []
    for byte in text.encode():
        char = chr(byte)
        out.append("\\\\" if char == "\\" else "\\n" if char == "\n" else char if 32 <= byte < 127 else f"\\{byte:03o}")
    return "".join(out)


class Attacker:
    """Lines with their truth, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self._pid = 1
        self._forms: tuple[Callable[[str, int], tuple[str, str | None, bool]], ...] = (
            self._failed, self._failed, self._certificate, self._host_based, self._invalid, self._closed, self._disconnecting, self._farewell,
            self._old_banner, self._new_banner, self._pam, self._sshds_own, self._genuine, self._other_program, self._lonely,
        )  # fmt: skip

    def lines(self, count: int) -> Iterator[Line]:
        for n in range(count):
            address, port = self.dice.choice(HOSTILE), self.dice.randrange(1, 65536)
            yield self._forms[n % len(self._forms)](address, port)

    # -- what the client says

    def _text(self, longest: int) -> str:
        parts = [self.dice.choice(HEADS) + self.dice.choice(TAILS) for _ in range(self.dice.choice((1, 1, 2, 3)))]
        if self.dice.random() < 0.3:
            parts.append(self.dice.choice(HEADS))
        text = "".join(parts).format(x=self.dice.choice(INNOCENT), p=self.dice.randrange(1, 65536))
        return text[:longest]

    def _ending(self, room: int) -> str:
        """Text whose imitation ends exactly where it will be cut."""
        tail = self.dice.choice(TAILS).format(x=self.dice.choice(INNOCENT), p=self.dice.randrange(1, 65536))
        return self.dice.choice(("A", " ", "x from", "\\"))[:1] * max(0, room - len(tail)) + tail

    # -- what the server writes of it

    def _line(self, message: str, name: str = "", *, suffix: str = "") -> str:
        self._pid += 1
        tag = name or self.dice.choice(("sshd", "sshd-session"))
        if self.dice.random() < 0.1:
            message = f"message repeated 3 times: [ {message}{suffix}]"
            suffix = ""
        return f"2026-11-24T18:{self._pid // 60 % 60:02d}:{self._pid % 60:02d}.5+01:00 host {tag}[{self._pid}]: {message}{suffix}\n"

    def _said(self, message: str, *, preauth: bool = False, level: str = "") -> str:
        text = vis(level + message)[:BUFFER]
        return self._line((text + " [preauth]")[:BUFFER] if preauth else text)

    def _failed(self, a: str, p: int) -> Line:
        method = self.dice.choice(("password", "none", "keyboard-interactive/pam"))
        head = self.dice.choice((f"Failed {method} for ", "Postponed password for ", "maximum authentication attempts exceeded for "))
        valid = self.dice.choice(("invalid user ", "", "illegal user "))
        return self._said(f"{head}{valid}{self._text(100)} from {a} port {p} ssh2", level="error: " if head[0] == "m" else ""), a, False

    def _certificate(self, a: str, p: int) -> Line:
        """The key's id has no bound of its own: the buffer cuts it, and what follows."""
        head = f"Failed publickey for invalid user {self._text(100) if self.dice.random() < 0.5 else 'x'} from {a} port {p} ssh2: "
        info = self.dice.choice(("ED25519 SHA256:abc", "ED25519-CERT SHA256:abc ID ", "RSA-CERT ID ", "RSA-CERT-V00 ID "))
        if info.endswith("ID "):
            room = BUFFER - len(vis(head)) - len(info)
            info += self._ending(room) if self.dice.random() < 0.5 else self._text(300)
            info += " (serial 0) CA RSA SHA256:def"
        return self._said(head + info), a, False

    def _host_based(self, a: str, p: int) -> Line:
        info = f'RSA SHA256:abc, client user "{self._text(100)}", client host "{self._text(100)}"'
        if self.dice.random() < 0.3:
            return self._said(f"Failed gssapi-with-mic for {self._text(100)} from {a} port {p} ssh2: {self._text(60)}"), a, False
        return self._said(f"Failed hostbased for {self._text(100)} from {a} port {p} ssh2: {info}"), a, False

    def _invalid(self, a: str, p: int) -> Line:
        form = self.dice.choice((
            f"Invalid user {self._text(100)} from {a} port {p}", f"Invalid user {self._text(100)} from {a}",
            f"administratively prohibited connection for invalid user {self._text(200)} from {a} port {p}",
            f"User {self._text(100)} from {a} not allowed because not listed in AllowUsers",
        ))  # fmt: skip
        return self._said(form), a, False

    def _identity(self, a: str, p: int) -> str:
        if self.dice.random() < 0.3:
            # Control characters are four each: the imitation ends where the line is cut.
            tail = self.dice.choice(TAILS).format(x=self.dice.choice(INNOCENT), p=self.dice.randrange(1, 65536))
            room = BUFFER - self.dice.choice((16, 29, 33, 36, 49, 52)) - len(tail)
            return f"invalid user {(chr(1) * (room // 4) + 'A' * (room % 4) + tail)[:187]} {a} port {p}"
        word = self.dice.choice(("authenticating user ", "invalid user ", "authenticatinguser "))
        return f"{(word + self._text(187))[:200]} {a} port {p}"

    def _closed(self, a: str, p: int) -> Line:
        who = self._identity(a, p)
        form = self.dice.choice((f"Connection closed by {who}", f"Connection reset by {who}", f"Connection from {who} timed out", f"Disconnected from {who}",
                                 f"ssh_dispatch_run_fatal: Connection from {who}: Broken pipe"))  # fmt: skip
        return self._said(form, preauth=True), a, False

    def _disconnecting(self, a: str, p: int) -> Line:
        who = self.dice.choice((f"{a} port {p}", f"invalid user a {a} port {p}", self._identity(a, p)))
        head = self.dice.choice(("bad service request ", "Change of username or service not allowed: (a,ssh-connection) -> (", "Packet corrupt",
                                 "Too many authentication failures"))  # fmt: skip
        why = head + (self._ending(100 - len(head)) if self.dice.random() < 0.5 else self._text(100)) if head[-1] in " (" else head
        return self._said(f"Disconnecting {who}: {why[:100]}", preauth=True), a, False

    def _farewell(self, a: str, p: int) -> Line:
        form = self.dice.choice((
            f"Received disconnect from {a} port {p}:11: {self._text(400)}", f"Received disconnect from {a}: 11: {self._text(400)}",
            f"Unable to negotiate with {a} port {p}: no matching cipher found. Their offer: {self._text(400)}",
            f"probed from {a} port {p} with {self._text(200)}.  Don't panic.",
        ))  # fmt: skip
        return self._said(form, preauth=True, level=self.dice.choice(("", "error: "))), a, False

    def _old_banner(self, a: str, p: int) -> Line:
        return (
            self._said(f"Bad protocol version identification '{self._text(200)}' from {a}{self.dice.choice(('', f' port {p}'))}"),
            a,
            False,
        )

    def _new_banner(self, _a: str, _p: int) -> Line:
        form = self.dice.choice((
            f"Bad remote protocol version identification: '{self._text(100)}'",
            f'kex_exchange_identification: client sent invalid protocol identifier "{self._text(256)}"',
            "kex_exchange_identification: banner line contains invalid characters",
        ))  # fmt: skip
        return self._said(form, level="error: "), None, False

    def _pam(self, a: str, _p: int) -> Line:
        text = self._text(200).replace("\n", "")
        form = self.dice.choice((
            f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={a}  user={text}",
            f"PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={a}  user={text}",
            f"error: PAM: Authentication failure for illegal user {text[:100]} from {a}",
            f"error: PAM: Have exhausted maximum number of retries for service for {text[:100]} from {a}",
        ))  # fmt: skip
        return self._line(form), a, False

    def _sshds_own(self, a: str, p: int) -> Line:
        form = self.dice.choice((
            f"drop connection #3 from [{a}]:{p} on [198.51.100.1]:22 penalty: failed authentication",
            f"srclimit_penalise: {a}/{128 if ':' in a else 32}: activating ipv4 penalty of 20.000 seconds for penalty: failed authentication",
            f"Timeout before authentication for connection from {a} to 198.51.100.1, pid = 9",
            f"banner exchange: Connection from {a} port {p}: invalid format",
        ))  # fmt: skip
        return self._line(form), a, False

    def _genuine(self, a: str, p: int) -> Line:
        """A login, with a certificate whose id is anybody's text."""
        key = (
            f": ED25519-CERT SHA256:abc ID {self._text(1500)} (serial 0) CA RSA SHA256:d" if self.dice.random() < 0.7 else ": RSA SHA256:a"
        )
        return self._said(f"Accepted publickey for anna from {a} port {p} ssh2{key}"), a, True

    def _other_program(self, _a: str, _p: int) -> Line:
        """Text of others in their own lines, with headers that imitate one."""
        text = self._text(500).replace("\n", "")
        stamp = "2026-11-24T18:00:00+01:00"
        return self.dice.choice((
            f"{stamp} host cron[7]: sshd[1]: {text}\n", f"{stamp} host sshd-evil[1]: {text}\n", f"{stamp} web: sshd[1]: {text}\n",
            f"{stamp} host web[1]: {stamp} host sshd[1]: {text}\n", f"{stamp}\n host sshd[1]: {text}\n", f"sshd[1]: {text}\n", f"{text}\n",
            f'<38>1 {stamp} host web 1 - [a b="sshd 1 - - "] {text}\n', f"{stamp} host sshd-evil: {text}\n",
        )), None, False  # fmt: skip

    def _lonely(self, _a: str, _p: int) -> Line:
        """Words of the server's before which nothing says where from."""
        return self._said(f"input_userauth_request: invalid user {self._text(100)}", preauth=True), None, False
