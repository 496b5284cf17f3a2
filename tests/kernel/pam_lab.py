"""A server whose sshd asks PAM, with users of its own: passwords that are right or wrong, accounts that are over or locked.

passwd, shadow, group and PAM's stack are put into a mount namespace in which sshd and the guard run, so that nothing of this host changes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.guarded import Guarded, syslogged
from tests.kernel.lab import QUIETGATE, SERVER4, Pair, Sshd, wait_for

DEBIAN = (
    "auth required pam_unix.so nodelay\naccount required pam_nologin.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
)
# A directory's users: pam_unix does not know their passwords, the next module does.
DIRECTORY = (
    "auth sufficient pam_unix.so nodelay\nauth sufficient pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
)
# Nobody may come in now: what pam_nologin does where its file is there.
CLOSED = "auth required pam_unix.so nodelay\naccount required pam_deny.so\nsession required pam_permit.so\n"
RIGHT, WRONG = "right", "wrong"
HASHED = "$6$5FCbWrJeGUMJz404$HC4I2TBr/oFrKfo.XMVShOPkdONhtpBVS/e1AewacPTTbJuzC/a1JQotRopjk9cXpR5JthniCGgGx4ezkGXCL/"  # of RIGHT; Python 3.13 has no crypt(3)
EXPIRED = "19000:0:99999:7::1:"  # shadow(5): the account's end lies in 1970
USUAL = "19000:0:99999:7:::"


class People:
    """Clients of the lab: `types` answers each prompt with the next word."""

    def __init__(self, pair: Pair, sshd: Sshd) -> None:
        self.pair, self.sshd = pair, sshd

    def types(self, source: str, user: str, *words: str, method: str = "keyboard-interactive", stays: bool = False) -> bool:
        """One ssh whose prompts get these words; True if it logs in. `stays`: it is asked once more, and says nothing."""
        said = Path(tempfile.mkdtemp(prefix="qg-words-", dir="/run"))
        self.pair.litter.append(said)
        (said / "words").write_text("".join(f"{w}\n" for w in words))
        ask = said / "ask"
        ask.write_text(f"#!/bin/sh\n[ -s {said}/words ] || exec sleep 60\nhead -n 1 {said}/words\nsed -i 1d {said}/words\n")
        ask.chmod(0o755)
        arguments = self.sshd.arguments(source, SERVER4, 20)
        arguments = [{"BatchMode=yes": "BatchMode=no"}.get(a, a) for a in arguments[:-1]]
        done = subprocess.run(
            ["ip", "netns", "exec", self.pair.client.name, *arguments, "-o", f"PubkeyAuthentication={'yes' if 'publickey' in method else 'no'}", "-o", f"PreferredAuthentications={method}",
             "-o", f"NumberOfPasswordPrompts={len(words) + stays}", f"{user}@{SERVER4}", "echo in"],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
        )  # fmt: skip
        return done.stdout == "in\n"


@contextlib.contextmanager
def people(pair: Pair, *options: str, stack: str = DEBIAN, policy: str = "") -> Iterator[tuple[Guarded, People]]:
    """sshd with users anna (a right password), emil (his account is over), otto (his password is locked)."""
    dev_log, log = syslogged(pair)
    etc = pair.root / "their-etc"
    etc.mkdir()
    home = Path(tempfile.mkdtemp(prefix="qg-home-", dir="/run"))
    home.chmod(0o755)
    pair.litter.append(home)
    users = {"anna": f"{HASHED}:{USUAL}", "emil": f"{HASHED}:{EXPIRED}", "otto": f"!{HASHED}:{USUAL}"}
    (etc / "passwd").write_text(
        Path("/etc/passwd").read_text() + "".join(f"{n}:x:{5001 + i}:5001::{home}:/bin/sh\n" for i, n in enumerate(users))
    )
    (etc / "shadow").write_text(Path("/etc/shadow").read_text() + "".join(f"{n}:{rest}\n" for n, rest in users.items()))
    (etc / "group").write_text(Path("/etc/group").read_text() + "people:x:5001:\n")
    (etc / "stack").write_text(stack)
    binds = {"passwd": "/etc/passwd", "shadow": "/etc/shadow", "group": "/etc/group", "stack": "/etc/pam.d/sshd"}
    bind = " && ".join(f"mount --bind {etc / a} {b}" for a, b in binds.items())
    sshd = Sshd.__new__(Sshd)
    usual = (
        ()
        if any(o.startswith("PasswordAuthentication") for o in options)
        else ("PasswordAuthentication no", "KbdInteractiveAuthentication yes")
    )
    sshd.prepare(pair, 22, (*options, *usual, "UsePAM yes"))
    command = f"{bind} && mount --bind {dev_log} /dev/log && exec /usr/sbin/sshd -D -f {sshd.config}"
    sshd.process = pair.start(pair.server, "unshare", "-m", "sh", "-c", command)
    wait_for(lambda: pair.server.sh("ss", "-Htln", "sport = :22"), "sshd listens", 10)
    sshd.log = log
    pair.up(policy)
    guarded = Guarded(pair, sshd, log)
    guarded.said = (pair.root / "guard.err").open("ab")
    words = ["ip", "netns", "exec", pair.server.name, "unshare", "-m", "sh", "-c", f"{bind} && exec {QUIETGATE} --root {pair.root} run"]
    guarded.guard = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=guarded.said, stderr=guarded.said)
    pair.children.append(guarded.guard)
    wait_for(lambda: guarded.status() is not None, "the guard answers", 30)
    try:
        yield guarded, People(pair, sshd)
    finally:
        if guarded.guard.poll() is None:
            guarded.stop()
