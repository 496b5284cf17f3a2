"""Administrators and others with real ssh sessions, PAM included, so that a login leaves what a login leaves."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from quietgate.net import parse_address
from quietgate.state.database import Store
from quietgate.values import Login
from tests.kernel.lab import QUIETGATE, SERVER4, SERVER6, Pair, Sshd, wait_for

PAM = ("UsePAM yes", "PermitRootLogin yes")
ADMIN, ADMIN6 = "198.19.0.7", "2001:db8:100:7::7"
CLOSED = '[firewall]\ndefault = "drop"\n'


@dataclass
class Session:
    """An open ssh session that echoes what is typed."""

    child: subprocess.Popen[bytes]

    def alive(self, within: float = 3.0) -> bool:
        """True if a line still goes to the server and comes back."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(b"ping\n")
            self.child.stdin.flush()
        except OSError:
            return False
        ready, _, _ = select.select([self.child.stdout], [], [], within)
        return bool(ready) and bool(os.read(self.child.stdout.fileno(), 100))

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


def target_of(source: str) -> str:
    return SERVER6 if ":" in source else SERVER4


@contextlib.contextmanager
def logged_in(sshd: Sshd, source: str = ADMIN, *, user: str = "root") -> Iterator[Session]:
    """Somebody who is logged in from there. Users without a shell hold a session without a command."""
    words = sshd.arguments(source, target_of(source), 5)
    words[-1] = f"{user}@{target_of(source)}"
    words += ["cat"] if user == "root" else ["-N"]
    child = subprocess.Popen(["ip", "netns", "exec", sshd.pair.client.name, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)  # fmt: skip
    session = Session(child)
    try:
        if user == "root":
            assert session.alive(10), "the login works"
        else:
            wait_for(lambda: f"session opened for user {user}" in sshd.log.read_text() or f"Starting session: for {user}" in sshd.log.read_text()
                     or f"Accepted publickey for {user}" in sshd.log.read_text(), f"{user} is logged in", 10)  # fmt: skip
        yield session
    finally:
        session.close()


def log_in(sshd: Sshd, source: str = ADMIN) -> bool:
    """A new login, from the first packet to the last."""
    return sshd.login(source, target_of(source), timeout=3)


def have_logged_in(pair: Pair, *who: tuple[str, str, float]) -> None:
    """User, address and wall second of each login whose session quietgate saw, as its store keeps them."""
    with Store(pair.root / "var/lib/quietgate/guard/quietgate.db") as store:
        store.put_logins([Login(user, parse_address(address), at, "loginuid") for user, address, at in who])


def start_up(pair: Pair, *words: str) -> subprocess.Popen[str]:
    """`quietgate up` on the server, waiting in the background; its output is one stream."""
    full = ["ip", "netns", "exec", pair.server.name, str(QUIETGATE), "--root", str(pair.root), "up", *words]
    return subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def verdict(pair: Pair) -> str:
    """The first word of `status`, as it would be with a guard, which these tests do not start."""
    found = json.loads(pair.quietgate("status", "--json"))
    return ("stale" if found["also"] else "up") if found["verdict"] == "unguarded" else str(found["verdict"])


def on_trial(pair: Pair) -> bool:
    return verdict(pair) == "trial"
