"""The guard, with a real sshd, a real syslog, real clients: who guesses is shut out, who belongs here is not."""

from __future__ import annotations

import json
import time

import pytest

from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, SERVER6, Pair, wait_for
from tests.kernel.people import log_in, logged_in

LOOSE = '[ssh]\nlimit = "30 per 1m"\n'  # the limit would slow the guesses of a test
YES = ("PermitRootLogin yes",)


def test_the_fifth_wrong_password_bans_and_what_it_holds_is_ended(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        held = [pair.client.connect("198.19.66.6", SERVER4, 22) for _ in range(3)]
        assert all(s is not None and s.recv(10) for s in held), "three connections that wait, each with its sshd"
        g.guess("198.19.66.6", "root", 3)
        g.guess("198.19.66.6", "root", 1)
        assert not g.banned("198.19.66.6"), "four"
        g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: g.banned("198.19.66.6"), "the fifth bans", 2)
        wait_for(lambda: "198.19.66.6" not in pair.server.sh("ss", "-Htn", "state", "established"), "its connections are gone", 1)
        assert not pair.client.banner("198.19.66.6", SERVER4, timeout=0.3)
        assert pair.client.banner("198.19.66.7", SERVER4), "its neighbour is not banned"
        row = json.loads(pair.quietgate("bans", "--json").splitlines()[0])
        assert (row["prefix"], row["scope"], row["by"]) == ("198.19.66.6", "ssh", "guard")
        assert "burst: 5 in 10m" in row["reason"]
        assert 500 < row["left"] < 700


def test_a_whole_64_is_one_source(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        for n in range(1, 6):
            g.guess(f"2001:db8:100:7::{n}", "root", 1)
        wait_for(lambda: g.banned("2001:db8:100:7::99"), "the network is banned", 2)
        assert not pair.client.banner("2001:db8:100:7::1234", SERVER6, timeout=0.3)
        assert pair.client.banner("2001:db8:100:8::1", SERVER6)


def test_an_administrator_beside_an_attacker_is_not_cut_off(pair: Pair) -> None:
    """Behind the same NAT, logged in from the very address: the ban is refused, the session lives, new logins work."""
    with guarded(pair, *YES, policy=LOOSE + "[guard]\npatience = 1\n") as g, logged_in(g.sshd, "198.19.66.6") as session:
        wait_for(lambda: "198.19.66.6" in pair.server.sh("nft", "list", "set", "inet", "quietgate", "floor4_32"), "he is on the floor", 5)
        for _ in range(3):
            g.guess("198.19.66.6", "root", 3)
        wait_for(lambda: "an administrator is or was logged in" in (pair.root / "guard.err").read_text(), "the ban is refused", 3)
        assert session.alive()
        assert log_in(g.sshd, "198.19.66.6")
        assert not g.banned("198.19.66.6")


def test_who_has_logged_in_is_known_at_once_and_has_patience(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        with logged_in(g.sshd, "198.19.0.20", user="nobody"):
            wait_for(lambda: "198.19.0.20" in pair.server.sh("nft", "list", "set", "inet", "quietgate", "known4_32"), "known", 3)
        for _ in range(3):
            g.guess("198.19.0.20", "nobody", 3)
        wait_for(lambda: (g.status() or {})["sources"][0]["events"] > 15, "all of it was read", 3)
        assert not g.banned("198.19.0.20")


def test_a_forged_line_earns_no_trust(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        with g.log.open("a") as log:
            log.write(
                f"{time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime())} h sshd[1]: Accepted publickey for root from 198.19.66.9 port 5 ssh2\n"
            )
        g.guess("198.19.66.8", "root", 1)
        wait_for(lambda: (g.status() or {})["sources"][0]["events"] > 2, "it was read", 3)
        assert "198.19.66.9" not in pair.server.sh("nft", "list", "table", "inet", "quietgate")


@pytest.mark.parametrize("level", ["INFO", "VERBOSE"])
def test_a_daemon_that_takes_keys_only(pair: Pair, level: str) -> None:
    """Guesses are names and keys; an agent's other keys before the right one are no failures."""
    options = ("PasswordAuthentication no", "KbdInteractiveAuthentication no", f"LogLevel {level}", *YES)
    with guarded(pair, *options, policy=LOOSE) as g:
        keys = [pair.root / f"key{n}" for n in range(4)]
        for key in keys:
            pair.server.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        agent = [w for key in keys for w in ("-i", str(key))]
        words = g.sshd.arguments("198.19.0.30", SERVER4)
        for _ in range(4):
            assert "in" in pair.client.sh(
                *words[:4], *agent, *words[4:-1], "-o", "IdentitiesOnly=yes", words[-1], "echo in", check=False
            ), "the right key is the last"
        # At INFO nothing tells whether a key was offered: such a connection weighs a third.
        for n in range(5 if level == "VERBOSE" else 15):
            pair.client.sh("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                           "BindAddress=198.19.66.6", "-o", "IdentitiesOnly=yes", "-i", str(keys[0]), f"{'root' if n % 2 else 'games'}@{SERVER4}", check=False)  # fmt: skip
        wait_for(lambda: g.banned("198.19.66.6"), "connections with a wrong key", 3)
        assert not g.banned("198.19.0.30")


def test_health_checks_and_scanners_of_keys_are_no_attack(pair: Pair) -> None:
    with guarded(pair, *YES, policy='[ssh]\nlimit = "off"\n') as g:
        for _ in range(40):
            pair.client.banner("198.19.0.40", SERVER4)
        pair.client.sh("ssh-keyscan", "-T", "3", SERVER4, check=False)
        time.sleep(0.5)
        assert not g.banned("198.19.0.40")
        assert not g.banned("198.18.0.2")


def test_what_was_logged_while_it_was_off_is_evidence_and_bans_that_would_be_over_are_not_made(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE, start=False) as g:
        g.log.write_text("".join(line(at, f"198.19.66.{n}") for at, n in [*((-60, 1),) * 5, *((-3000, 2),) * 5]))
        g.start()
        wait_for(lambda: g.banned("198.19.66.1"), "a minute ago", 3)
        assert not g.banned("198.19.66.2"), "its ten minutes would be over"


def line(ago: float, address: str, message: str = "Failed password for root from {} port 5 ssh2") -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + ago))
    line.pid += 1  # type: ignore[attr-defined]
    return f"{stamp} host sshd[{line.pid}]: {message.format(address)}\n"  # type: ignore[attr-defined]


line.pid = 70000  # type: ignore[attr-defined]


def test_killed_and_started_again_it_goes_on_where_it_was(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        for _ in range(4):
            g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: len(history(pair)) == 4, "the four are on disk", 5)
        g.stop(9)
        g.guess("198.19.66.6", "root", 1)
        g.start()
        wait_for(lambda: g.banned("198.19.66.6"), "the fifth, of while it was dead", 3)
        wait_for(lambda: len(history(pair)) == 5, "each guess once", 3)
        pair.quietgate("unban", "198.19.66.6")
        assert pair.client.banner("198.19.66.6", SERVER4)


def history(pair: Pair) -> list[object]:
    """What `why` tells of the attacker's attempts."""
    found: list[object] = json.loads(pair.quietgate("why", "198.19.66.6", "--json"))["history"]
    return found


def test_a_second_ban_is_longer(pair: Pair) -> None:
    with guarded(pair, *YES, policy='[ssh]\nlimit = "off"\n[bans]\nsteps = ["2s", "1h"]\njitter = 0\n') as g:
        for _ in range(5):
            g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: g.banned("198.19.66.6"), "the first", 3)
        wait_for(lambda: not g.banned("198.19.66.6"), "is over", 4)
        for _ in range(5):
            g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: g.banned("198.19.66.6"), "the second", 3)
        assert json.loads(pair.quietgate("bans", "--json").splitlines()[0])["left"] > 3000


def test_observe_bans_nobody_and_says_whom_it_would(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE + '[guard]\nmode = "observe"\n') as g:
        follow = pair.start_reading(pair.server, "events", "-f", "--json")
        for _ in range(5):
            g.guess("198.19.66.6", "root", 1)
        said = next(e for e in map(json.loads, follow) if e["event"] == "would-ban")
        assert said["source"] == "198.19.66.6"
        assert not g.banned("198.19.66.6")


def test_one_guard_at_a_time_and_none_without_a_source(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        assert "guards already" in pair.quietgate("run", expect=1)
        g.stop()
    g.log.unlink()
    assert "no source of sshd's lines is here" in pair.quietgate("run", expect=2)


def test_a_setting_that_changes_no_rule_is_in_force_after_up_as_well(pair: Pair) -> None:
    with guarded(pair, *YES, policy=LOOSE) as g:
        pair.policy(LOOSE + "# a comment\n")
        assert pair.quietgate("status").startswith("up"), "it means the same"
        pair.policy(LOOSE + '[guard]\ndetect.burst = "2 per 10m"\n')
        assert "policy on disk is not the one in force" in pair.quietgate("status")
        assert "was in force already, and the other settings are now" in pair.quietgate("up")
        assert pair.quietgate("status").startswith("up: generation 1 is in force")
        assert "was in force already: SSH" in pair.quietgate("up")
        g.guess("198.19.66.6", "root", 2)
        wait_for(lambda: g.banned("198.19.66.6"), "the second bans", 3)
        g.stop()
        g.start()
        g.guess("198.19.66.7", "root", 2)
        wait_for(lambda: g.banned("198.19.66.7"), "also after a restart", 3)
