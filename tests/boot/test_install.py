"""The one command, on a fresh Debian: SSH is limited when it ends."""

from __future__ import annotations

import socket

import pytest

from tests.boot.tree import INSIDE, booted


def answers() -> bool:
    try:
        with socket.create_connection((INSIDE, 22), 0.5) as s:
            return s.recv(7) == b"SSH-2.0"
    except OSError:
        return False


@pytest.mark.boot
@pytest.mark.long
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_one_command_protects_ssh(release: str) -> None:
    with booted(release) as machine:
        said = machine.sh("cd /src && ./install.sh")
        assert "generation 1 is in force: SSH on 22" in said
        assert [answers() for _ in range(8)] == [True] * 5 + [False] * 3
        assert "was in force already" in machine.sh("cd /src && ./install.sh"), "again, it upgrades"
        done = machine.run("cd /src && setpriv --reuid=65534 --clear-groups ./install.sh")
        assert done.returncode == 77
        assert "root" in done.stderr
        machine.sh("quietgate down")
        assert answers()
