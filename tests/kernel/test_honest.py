"""People and their tools, with real clients: nobody of them is banned, and none of their connections counts as more than it is."""

from __future__ import annotations

import sys

import pytest

from tests.kernel.clients import keys, leave_at_the_prompt, offer
from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import QUIETGATE, SERVER4, Pair, sh, wait_for

SFTP = "/usr/lib/openssh/sftp-server"

LOOSE = '[ssh]\nlimit = "off"\n'
A = "198.19.90.1"


@pytest.mark.parametrize("level", ["INFO", "VERBOSE"])
def test_an_agent_with_more_keys_than_sshd_listens_to(pair: Pair, level: str) -> None:
    with guarded(pair, f"LogLevel {level}", policy=LOOSE) as g:
        eight = keys(pair, 8)
        for _ in range(5):
            offer(pair, A, eight)
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


def through_ssh(g: Guarded, pair: Pair) -> str:
    """What git, ansible and sftp start in ssh's place."""
    file = pair.root / "ssh"
    words = " ".join(g.sshd.arguments(A, SERVER4, 30)[1:-1])
    file.write_text(f'#!/bin/sh\nexec ssh {words} "$@"\n')
    file.chmod(0o755)
    return str(file)


@pytest.mark.long
def test_the_usual_tools_over_a_key(pair: Pair) -> None:
    """git, sftp, an editor's tunnels, ansible with 200 hosts: from an address that nobody here knew."""
    with guarded(pair, "LogLevel VERBOSE", f"Subsystem sftp {SFTP}", policy=LOOSE) as g:
        ssh, repository = through_ssh(g, pair), pair.root / "repository"
        sh("git", "init", "-q", "--bare", str(repository))
        for n in range(10):
            pair.client.sh(
                "env", f"GIT_SSH_COMMAND={ssh}", "git", "clone", "-q", f"ssh://root@{SERVER4}{repository}", str(pair.root / f"clone{n}")
            )
        for _ in range(10):
            assert "remote" in pair.client.sh("sh", "-c", f"echo pwd | sftp -q -S {ssh} -b - root@{SERVER4}").lower()
        editor = [pair.start(pair.client, ssh, "-T", "-D", str(port), f"root@{SERVER4}", "sleep 60") for port in (5001, 5002, 5003)]
        wait_for(lambda: pair.server.sh("pgrep", "-f", "^sleep 60$", check=False).count("\n") >= 3, "the editor works", 20)
        inventory = pair.root / "hosts"
        inventory.write_text("".join(f"node{n} ansible_host={SERVER4} ansible_python_interpreter={sys.executable}\n" for n in range(200)))
        arguments = " ".join(a for a in g.sshd.arguments(A, SERVER4, 60)[1:-1] if a != "-q")
        done = pair.client.sh("env", "ANSIBLE_HOST_KEY_CHECKING=False", f"HOME={pair.root}", str(QUIETGATE.with_name("ansible")), "all", "-i", str(inventory), "-u", "root",
                              "-f", "10", "-m", "raw", "-a", "true", "--ssh-common-args", f"{arguments} -o ControlPath=none", timeout=500)  # fmt: skip
        assert done.count("CHANGED") == 200, done[-2000:]
        for child in editor:
            child.terminate()
        told = g.status()
        assert told is not None
        assert told["bans"] == 0
        assert {k for k, v in told["heard"].items() if v} <= {"logins"}, told["heard"]
        assert told["heard"]["logins"] >= 220
