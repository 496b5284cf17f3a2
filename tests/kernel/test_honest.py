"""People and their tools, with real clients: nobody of them is banned, and none of their connections counts as more than it is."""

from __future__ import annotations

import pytest

from tests.kernel.clients import keys, leave_at_the_prompt, offer
from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, Pair

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
