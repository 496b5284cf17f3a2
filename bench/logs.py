"""Logs to read: a real attack repeated, and the same thinned out to one line in ten among other programs' lines."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

REAL = Path(__file__).parents[2] / "shared/data/openssh-2k.log"
_OTHERS = (
    "CRON[{pid}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
    "CRON[{pid}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)",
    "systemd[1]: Started Session {n} of user deploy.",
    "systemd-logind[611]: New session {n} of user deploy.",
    "kernel: [{n}.{pid}] eth0: link becomes ready",
    "postfix/smtpd[{pid}]: connect from mail-{n}.example.net[203.0.113.9]",
    "postfix/smtpd[{pid}]: disconnect from mail-{n}.example.net[203.0.113.9] ehlo=1 quit=1 commands=2",
    "sudo:   deploy : TTY=pts/0 ; PWD=/srv ; USER=root ; COMMAND=/usr/bin/systemctl restart app",
    "sshd[{pid}]: pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)",
    "sshd[{pid}]: pam_unix(sshd:session): session closed for user deploy",
)
_WORDS = (
    "Invalid user {user} from {a} port {port}",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={a} ",
    "Failed password for invalid user {user} from {a} port {port} ssh2",
    "Received disconnect from {a}: 11: Bye Bye [preauth]",
    "Failed password for root from {a} port {port} ssh2",
    "Connection closed by {a} port {port} [preauth]",
)


def attack(lines: int) -> str:
    """The real log, repeated; where it is not at hand, a synthetic one of the same kinds."""
    rows = REAL.read_text(errors="replace").splitlines() if REAL.exists() else list(itertools.islice(_synthetic(), 2000))
    return "\n".join(itertools.islice(itertools.cycle(rows), lines)) + "\n"


def _synthetic() -> Iterator[str]:
    dice = random.Random(7)
    for n in itertools.count():
        pid, address = 20000 + n // 6, f"198.18.{n // 60 % 250}.{n // 6 % 10 + 1}"
        said = _WORDS[n % 6].format(a=address, user=dice.choice(("admin", "oracle", "test", "pi")), port=dice.randrange(1024, 65535))
        yield f"Dec 10 {6 + n // 3600 % 12:02}:{n // 60 % 60:02}:{n % 60:02} LabSZ sshd[{pid}]: {said}"


def mixed(lines: int) -> str:
    """One line in ten is of the attack."""
    dice = random.Random(8)
    evil = itertools.cycle(attack(2000).splitlines())
    rows = []
    for n in range(lines):
        if n % 10 == 0:
            rows.append(next(evil))
        else:
            said = dice.choice(_OTHERS).format(pid=dice.randrange(300, 32000), n=n)
            rows.append(f"Dec 10 {6 + n // 36000 % 12:02}:{n // 600 % 60:02}:{n // 10 % 60:02} LabSZ {said}")
    return "\n".join(rows) + "\n"
