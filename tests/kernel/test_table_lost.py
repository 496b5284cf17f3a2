"""Others flush our table or its sets: the guard puts them back, once, and fights nobody for ever."""

from __future__ import annotations

import time

import pytest

from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, Pair, wait_for
from tests.kernel.people import CLOSED, log_in


def said(pair: Pair) -> str:
    return (pair.root / "guard.err").read_text()


def shut_out(pair: Pair) -> bool:
    return not pair.client.banner("198.19.66.6", SERVER4, timeout=0.1)


@pytest.mark.alone
def test_a_flushed_ruleset_is_back_within_a_second(pair: Pair) -> None:
    with guarded(pair, policy=CLOSED) as g:
        pair.quietgate("ban", "198.19.66.6")
        pair.server.nft("table ip other { set s { type ipv4_addr\n }\n }\n")
        pair.server.sh("nft", "flush", "ruleset")
        begin = time.monotonic()
        wait_for(lambda: shut_out(pair), "the ban is back", 3)
        assert time.monotonic() - begin < 1.5, "a second, and what asking takes"
        wait_for(lambda: "somebody else changed our table; generation 1 was put back, with 1 bans" in said(pair), "it is said", 2)
        assert pair.quietgate("status").startswith("up")
        assert log_in(g.sshd)


def test_a_flushed_set_is_filled_again(pair: Pair) -> None:
    with guarded(pair):
        pair.quietgate("ban", "198.19.66.6", "--scope", "ssh")
        pair.server.sh("nft", "flush", "set", "inet", "quietgate", "ban_ssh4_32")
        wait_for(lambda: shut_out(pair), "the ban is back", 3)
        wait_for(lambda: "its sets were filled again" in said(pair), "it is said", 2)


def test_a_rule_that_somebody_put_in_is_taken_out(pair: Pair) -> None:
    with guarded(pair):
        pair.quietgate("ban", "198.19.66.6")
        pair.server.sh("nft", "insert", "rule", "inet", "quietgate", "prerouting", "accept")
        wait_for(lambda: shut_out(pair), "the table is as it was", 3)
        wait_for(lambda: pair.quietgate("status").startswith("up"), "no drift", 3)


def test_what_our_own_commands_do_is_left_alone(pair: Pair) -> None:
    with guarded(pair):
        pair.quietgate("ban", "198.19.66.6")
        pair.quietgate("unban", "198.19.66.6")
        pair.policy('[ssh]\nlimit = "9 per 1m"\n')
        pair.quietgate("up", "--now")
        pair.policy('[ssh]\nlimit = "8 per 1m"\n')
        pair.quietgate("up", "--detach")
        time.sleep(1)
        assert pair.quietgate("status").startswith("trial")
        pair.quietgate("revert")
        pair.quietgate("down")
        time.sleep(1)
        assert pair.quietgate("status").startswith("down: taken down by hand")
        assert "somebody else" not in said(pair)


def test_a_trial_goes_on_when_its_sets_are_flushed(pair: Pair) -> None:
    with guarded(pair):
        pair.quietgate("ban", "198.19.66.6")
        pair.policy('[ssh]\nlimit = "8 per 1m"\n')
        pair.quietgate("up", "--detach")
        pair.server.sh("nft", "flush", "set", "inet", "quietgate", "ban_host4_32")
        wait_for(lambda: shut_out(pair), "the ban is back", 3)
        assert pair.quietgate("status").startswith("trial")


def test_a_conflict_is_not_fought_for_ever(pair: Pair) -> None:
    with guarded(pair) as g:
        for turn in range(3):
            pair.server.sh("nft", "flush", "ruleset")
            wait_for(lambda turn=turn: said(pair).count("was put back") == turn + 1, "it is put back", 3)  # type: ignore[misc]
        pair.server.sh("nft", "flush", "ruleset")
        wait_for(lambda: "keeps changing our table" in said(pair), "it gives up", 3)
        assert "keeps changing our table" in pair.quietgate("status")
        assert pair.quietgate("status").startswith("down")
        assert log_in(g.sshd)
