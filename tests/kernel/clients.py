"""Real clients: with keys that nobody knows, and with somebody who thinks better of it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

from tests.kernel.lab import SERVER4, Pair, wait_for


def keys(pair: Pair, count: int, place: Path | None = None) -> list[str]:
    """New keys, in a directory."""
    found = [str((place or pair.root) / f"key{n}") for n in range(count)]
    for key in found:
        pair.server.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    return found


def offer(pair: Pair, source: str, identities: list[str], user: str = "root") -> None:
    """An agent that offers these keys, one after the other."""
    offered = [w for key in identities for w in ("-i", key)]
    pair.client.sh("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", f"BindAddress={source}", "-o", "IdentitiesOnly=yes", *offered, f"{user}@{SERVER4}", "true", check=False)  # fmt: skip


def leave_at_the_prompt(pair: Pair, source: str, user: str = "root") -> None:
    """Ctrl-C when the password is asked for."""
    words = ["ip", "netns", "exec", pair.client.name, "ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", f"BindAddress={source}", "-o", "PubkeyAuthentication=no", f"{user}@{SERVER4}"]  # fmt: skip
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job ignores it, and so would ssh
        os.execvp(words[0], words)
    heard = b""
    until = time.monotonic() + 10
    while b"assword:" not in heard and time.monotonic() < until:
        if select.select([terminal], [], [], 0.5)[0]:
            heard += os.read(terminal, 4096)

    def ended() -> bool:
        """It may not listen yet when it has asked."""
        os.write(terminal, b"\x03")
        time.sleep(0.1)
        return os.waitpid(pid, os.WNOHANG)[0] != 0

    wait_for(ended, "ssh ends", 10)
    os.close(terminal)
