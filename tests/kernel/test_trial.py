"""The trial: armed by `up`, kept by a new login, gone by itself; and what cannot keep it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.kernel.lab import QUIETGATE, SERVER4, Pair, Sshd, wait_for
from tests.kernel.people import ADMIN, ADMIN6, PAM, log_in, logged_in, on_trial, start_up, verdict

FIRST = '[ssh]\nlimit = "20 per 1m"\n'
SECOND = '[ssh]\nlimit = "25 per 1m"\n[firewall]\ndefault = "drop"\n'


@pytest.fixture
def host(pair: Pair) -> Sshd:
    """An sshd with PAM, a first generation in force, a second policy on disk."""
    sshd = pair.sshd(*PAM)
    pair.up(FIRST)
    pair.policy(SECOND)
    return sshd


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = child.communicate(timeout=40)
    return child.returncode, out


def test_a_new_login_keeps_it(host: Sshd) -> None:
    pair = host.pair
    with logged_in(host) as old:
        up = start_up(pair, "--trial", "30s")
        wait_for(lambda: on_trial(pair), "the trial runs")
        assert old.alive()
        with logged_in(host):
            code, said = ended(up)
    assert code == 0, said
    assert f"proven: root logged in anew from {ADMIN} over IPv4" in said
    assert "not proven: IPv6" in said
    assert verdict(pair) == "up"
    pair.quietgate("diff")


def test_a_login_over_ipv6_proves_ipv6(host: Sshd) -> None:
    up = start_up(host.pair, "--trial", "30s")
    wait_for(lambda: on_trial(host.pair), "the trial runs")
    with logged_in(host, ADMIN6):
        code, said = ended(up)
    assert code == 0, said
    assert "over IPv6" in said
    assert "not proven: IPv4" in said


def test_nobody_confirms_and_the_old_rules_are_back(host: Sshd) -> None:
    code, said = ended(start_up(host.pair, "--trial", "10s"))
    assert code == 1
    assert "nobody confirmed generation 2: generation 1 is back in force" in said
    assert verdict(host.pair) == "stale", "the policy on disk is another"
    assert "g2_" not in host.pair.server.sh("nft", "-t", "list", "table", "inet", "quietgate"), "nothing is left of it"
    assert log_in(host)


def test_typed_in_a_new_connection_it_confirms_and_in_an_old_one_it_does_not(host: Sshd) -> None:
    pair = host.pair
    typed = f"{sys.executable} -m quietgate --root {pair.root} confirm 2>&1; echo code $?"
    with subprocess.Popen(["ip", "netns", "exec", pair.client.name, *host.arguments(ADMIN, SERVER4), f"read x; {typed}"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as old:  # fmt: skip
        wait_for(lambda: "Accepted" in host.log.read_text(), "the old session is there")
        pair.quietgate("up", "--trial", "30s", "--detach")
        said, _ = old.communicate("\n", timeout=20)
    assert "older than the trial" in said
    assert "code 4" in said
    assert on_trial(pair)
    assert "generation 2 is confirmed" in host.ssh(ADMIN, command=typed)
    assert verdict(pair) == "up"


def test_at_the_console_it_confirms(host: Sshd) -> None:
    host.pair.quietgate("up", "--detach")
    assert "generation 2 is confirmed" in host.pair.quietgate("confirm")


def test_too_late_is_said_and_changes_nothing(host: Sshd) -> None:
    pair = host.pair
    pair.quietgate("up", "--trial", "10s", "--detach")
    wait_for(lambda: not on_trial(pair), "the trial is over", 15)
    assert "too late: the trial of generation 2 has ended, and generation 1 is back in force" in pair.quietgate("confirm", expect=1)
    assert "no trial is running" in pair.quietgate("confirm", expect=1)
    assert log_in(host)


def test_a_second_up_during_a_trial_is_refused(host: Sshd) -> None:
    pair = host.pair
    pair.quietgate("up", "--detach")
    for words in (("up", "--now"), ("up", "--detach")):
        assert "generation 2 is on trial" in pair.quietgate(*words, expect=1)
    assert "the trial of generation 2 is over: generation 1 is in force" in pair.quietgate("revert")
    pair.quietgate("up", "--now")


def test_the_very_first_up_leaves_nothing_when_nobody_confirms(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    pair.policy(SECOND)
    code, said = ended(start_up(pair, "--trial", "10s"))
    assert code == 1
    assert "nothing is in force, as before" in said
    assert "quietgate" not in pair.server.sh("nft", "list", "tables")
    assert log_in(sshd)


def test_armed_from_a_session_it_takes_a_login_of_that_administrator(host: Sshd) -> None:
    """The whole of it as people do it: `up` typed in one ssh session, a new login in another."""
    pair = host.pair
    typed = f"{sys.executable} -m quietgate --root {pair.root} up --trial 20s --json"
    first = subprocess.Popen(["ip", "netns", "exec", pair.client.name, *host.arguments(ADMIN, SERVER4), typed],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # fmt: skip
    wait_for(lambda: on_trial(pair), "the trial runs")
    with logged_in(host, user="nobody"):
        time.sleep(1)  # long enough for several looks
        assert on_trial(pair), "an account without administrator's rights proves nothing"
    with logged_in(host, "198.19.0.8"):
        said, _ = first.communicate(timeout=20)
    told = json.loads(said)
    assert told["confirmed"] is True
    assert told["proven_by"] == "198.19.0.8"


def test_what_an_attacker_has_confirms_nothing(host: Sshd) -> None:
    """Sockets before authentication, forged log lines, the old connection of a multiplexing client, an account of his own."""
    pair = host.pair
    control = pair.root / "control"
    master = host.arguments(ADMIN, SERVER4)
    master[-1:-1] = ["-o", f"ControlPath={control}", "-o", "ControlMaster=yes"]
    master.remove("ControlPath=none")
    master = [w for i, w in enumerate(master) if not (w == "-o" and i + 1 < len(master) and master[i + 1] == "-o")]
    old = pair.start(pair.client, *master, "sleep 60")
    wait_for(control.exists, "the multiplexing client's first connection")
    up = start_up(pair, "--trial", "12s")
    wait_for(lambda: on_trial(pair), "the trial runs")
    waiting = [pair.client.connect("198.19.66.6", SERVER4, 22) for _ in range(3)]
    assert all(waiting)
    pair.start(pair.server, "logger", "-t", "sshd[4711]", f"Accepted publickey for root from {ADMIN} port 50000 ssh2")
    over_the_old = pair.client.sh("ssh", "-F", "/dev/null", "-o", f"ControlPath={control}", f"root@{SERVER4}", "echo in", check=False)
    assert "in" in over_the_old, "the old connection does carry a new command"
    with logged_in(host, "198.19.66.7", user="nobody"):
        code, said = ended(up)
    assert code == 1, said
    assert "nobody confirmed" in said
    assert old.poll() is None


def test_a_terminal_that_goes_away_ends_nothing(host: Sshd) -> None:
    import os
    import pty

    pair = host.pair
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("ip", ["ip", "netns", "exec", pair.server.name, str(QUIETGATE), "--root", str(pair.root), "up", "--trial", "30s"])
    wait_for(lambda: on_trial(pair), "the trial runs")
    os.close(terminal)  # SIGHUP
    with logged_in(host):
        wait_for(lambda: verdict(pair) == "up", "the new login keeps it all the same", 10)
    os.waitpid(pid, 0)


def test_ctrl_c_goes_back_at_once(host: Sshd) -> None:
    import signal

    up = start_up(host.pair, "--trial", "60s")
    wait_for(lambda: on_trial(host.pair), "the trial runs")
    up.send_signal(signal.SIGINT)
    code, said = ended(up)
    assert code == 130
    assert "generation 1 is back in force" in said
    assert verdict(host.pair) == "stale"


@pytest.mark.long
def test_revert_goes_back_to_any_of_the_last_ten(host: Sshd) -> None:
    pair = host.pair
    for n in range(2, 14):
        pair.up(f'[ssh]\nlimit = "{n} per 1m"\n')
    pair.quietgate("ban", "198.19.9.9")
    assert "generation 14 is in force" in pair.quietgate("revert")
    assert "slot4_12_" in (table := pair.server.sh("nft", "-t", "list", "table", "inet", "quietgate"))
    assert "slot4_13_" not in table
    pair.quietgate("revert", "8")
    assert "slot4_8_" in (table := pair.server.sh("nft", "-t", "list", "table", "inet", "quietgate"))
    assert "slot4_9_" not in table
    assert not pair.client.banner("198.19.9.9", SERVER4, timeout=0.2), "bans are of now, not of then"
    assert "kept are" in pair.quietgate("revert", "1", expect=2)
    assert log_in(host)
    pair.quietgate("down")
    pair.quietgate("boot")
    assert "slot4_9_" not in pair.server.sh("nft", "-t", "list", "table", "inet", "quietgate"), "a boot loads what was reverted to"
