"""The commands on a living kernel: twice is once, bans hold, other tables stay."""

from __future__ import annotations

import json

import pytest

from tests.kernel.lab import SERVER4, Pair
from tests.kernel.people import PAM, logged_in


def test_up_twice_is_once_and_down_twice_is_fine(pair: Pair) -> None:
    pair.server.nft("table ip other { set s { type ipv4_addr; elements = { 10.0.0.1 }; }\n chain c { ip saddr @s drop\n }\n }\n")
    others = pair.server.sh("nft", "list", "ruleset")
    pair.up("")
    first = pair.server.sh("nft", "-s", "list", "table", "inet", "quietgate")
    assert "was in force already" in pair.quietgate("up", "--now")
    assert pair.server.sh("nft", "-s", "list", "table", "inet", "quietgate") == first
    assert pair.server.sh("nft", "list", "table", "ip", "other") == others
    pair.quietgate("diff")
    pair.quietgate("down")
    assert "already" in pair.quietgate("down")
    assert pair.server.sh("nft", "list", "ruleset") == others


def test_a_ban_survives_down_up_and_a_changed_limit(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.0.9", "--scope", "ssh")
    pair.quietgate("down")
    pair.up('[ssh]\nlimit = "7 per 30s"\n')
    assert not pair.client.banner("198.19.0.9", SERVER4, timeout=0.3)
    assert pair.client.banner("198.19.0.10", SERVER4)
    pair.quietgate("unban", "198.19.0.9")
    assert pair.client.banner("198.19.0.9", SERVER4)


def test_show_is_valid_input_for_nft(pair: Pair) -> None:
    pair.policy("")
    pair.server.nft(pair.quietgate("show"))


def test_the_protected_are_refused_and_a_prefix_around_one_is_narrowed(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\ntrusted = ["198.19.0.5"]\n')
    assert "ssh.trusted" in pair.quietgate("ban", "198.19.0.5", expect=4)
    assert "narrowed" in pair.quietgate("ban", "198.19.0.0/24")
    assert pair.client.banner("198.19.0.5", SERVER4)
    assert not pair.client.banner("198.19.0.6", SERVER4, timeout=0.3)


@pytest.mark.long
def test_a_hundred_thousand_from_standard_input_with_one_bad_line(pair: Pair) -> None:
    pair.up("")
    lines = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_000)]
    lines[500] = "10.0.0.5/24"
    said = pair.quietgate("ban", expect=3, stdin="\n".join(lines))
    assert "-:501" in said
    assert "99,999" in said
    assert json.loads(pair.quietgate("why", "10.1.134.159", "--json"))["verdict"] == "drop"


def test_status_tells_of_what_is_in_force_whatever_stands_on_the_disk(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    with logged_in(sshd):
        pair.up('[ssh]\nlimit = "3 per 1m"\n')
        for policy in ('[ssh]\nlimit = "9 per 1m"\n', '[ssh]\nlimit = "9/min"\n'):
            pair.policy(policy)
            said = pair.quietgate("status")
            assert "limit 3 per 1m for each stranger" in said
            assert "1 address of administrators kept open" in said
        assert "quietgate.toml:2" in said
        assert said.endswith("next: quietgate check\n")
