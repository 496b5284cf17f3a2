"""People and their tools, with real clients: nobody of them is banned, and none of their connections counts as more than it is."""

from __future__ import annotations

import os
import pty
import select
import signal
import time

import pytest

from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import SERVER4, Pair, wait_for

LOOSE = '[ssh]\nlimit = "off"\n'
A = "198.19.90.1"


def keys(pair: Pair, count: int) -> list[str]:
    found = [str(pair.root / f"key{n}") for n in range(count)]
    for key in found:
        pair.server.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    return found


def offer(g: Guarded, pair: Pair, source: str, identities: list[str]) -> None:
    words = g.sshd.arguments(source, SERVER4)
    offered = [w for key in identities for w in ("-i", key)]
    pair.client.sh("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", f"BindAddress={source}", "-o", "IdentitiesOnly=yes", *offered, words[-1], "true", check=False)  # fmt: skip


def leave_at_the_prompt(pair: Pair, source: str) -> None:
    """Ctrl-C when the password is asked for."""
    words = ["ip", "netns", "exec", pair.client.name, "ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", f"BindAddress={source}", "-o", "PubkeyAuthentication=no", f"root@{SERVER4}"]  # fmt: skip
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


@pytest.mark.parametrize("level", ["INFO", "VERBOSE"])
def test_an_agent_with_more_keys_than_sshd_listens_to(pair: Pair, level: str) -> None:
    with guarded(pair, f"LogLevel {level}", policy=LOOSE) as g:
        eight = keys(pair, 8)
        for _ in range(5):
            offer(g, pair, A, eight)
        assert not g.banned(A), g.log.read_text()


@pytest.mark.parametrize("level", ["INFO", "VERBOSE"])
def test_who_thinks_better_of_it_at_the_prompt(pair: Pair, level: str) -> None:
    with guarded(pair, f"LogLevel {level}", "PermitRootLogin yes", policy=LOOSE) as g:
        for _ in range(6):
            leave_at_the_prompt(pair, A)
        assert not g.banned(A), g.log.read_text()
        told = g.status()
        assert told is not None
        assert not told["heard"].get("failed"), "nothing was guessed"


def test_tools_that_only_look(pair: Pair) -> None:
    with guarded(pair, "LogLevel VERBOSE", policy=LOOSE) as g:
        for _ in range(15):
            pair.client.sh("ssh-keyscan", "-T", "3", SERVER4, check=False)
        for _ in range(60):
            pair.client.banner(A, SERVER4)
        told = g.status()
        assert told is not None
        assert not told["heard"].get("failed")
        assert told["bans"] == 0


def test_the_connections_of_a_deployment(pair: Pair) -> None:
    with guarded(pair, "LogLevel VERBOSE", policy=LOOSE) as g:
        for _ in range(40):
            assert g.sshd.login(A, SERVER4), "one after the other, over its key"
        assert not g.banned(A)
