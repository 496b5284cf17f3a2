"""A real dropbear: its port is one of "auto", is limited and stays open, and its log bans who guesses."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.guarded import Guarded, syslogged, type_passwords
from tests.kernel.lab import SERVER4, Pair, wait_for

PORT = 2222
A, B = "198.19.80.1", "198.19.81.1"
pytestmark = pytest.mark.skipif(not Path("/usr/sbin/dropbear").exists(), reason="dropbear-bin is not installed")


def dropbear(pair: Pair) -> Path:
    """It runs, and a real rsyslog writes what it says; returns the log."""
    dev_log, log = syslogged(pair)
    key = pair.root / "dropbear.key"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(key)], capture_output=True, check=True)
    command = f"mount --bind {dev_log} /dev/log && exec /usr/sbin/dropbear -F -p {PORT} -r {key} -P {pair.root / 'dropbear.pid'}"
    pair.start(pair.server, "unshare", "-m", "sh", "-c", command)
    wait_for(lambda: pair.server.sh("ss", "-Htln", f"sport = :{PORT}"), "dropbear listens", 10)
    return log


def test_its_port_stays_open_and_is_limited(pair: Pair) -> None:
    dropbear(pair)
    pair.up('[firewall]\ndefault = "drop"\n')
    assert "dropbear listens on 2222" in pair.quietgate("status")
    assert [pair.client.banner(A, SERVER4, PORT, timeout=1.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert pair.client.banner(B, SERVER4, PORT)
    done = pair.run("check")
    assert done.returncode == 0


def test_a_policy_that_shuts_it_is_told_like_sshds(pair: Pair) -> None:
    pair.sshd()
    dropbear(pair)
    pair.policy('[ssh]\nports = [22]\n[firewall]\ndefault = "drop"\n')
    said = pair.run("check")
    assert "2222" in said.stdout + said.stderr


def test_who_guesses_is_banned_and_who_leaves_is_not(pair: Pair) -> None:
    log = dropbear(pair)
    pair.up('[ssh]\nlimit = "30 per 1m"\n')
    g = Guarded(pair, None, log)  # type: ignore[arg-type]
    g.start()
    for _ in range(6):
        assert pair.client.banner(B, SERVER4, PORT)
    until = time.monotonic() + 20
    while not g.banned(A) and time.monotonic() < until:
        type_passwords(pair.client, A, SERVER4, "root", 3, PORT)
        time.sleep(0.3)  # the places of those who left count so long
    assert g.banned(A), log.read_text() + str(g.status())
    assert not pair.client.banner(A, SERVER4, PORT, timeout=0.3)
    assert not g.banned(B)
    told = [json.loads(line) for line in pair.quietgate("why", A, "--json").splitlines()]
    assert sum(h["times"] for row in told for h in row["history"] if h["outcome"] == "failed") >= 3, (
        "root is refused here, so three are enough"
    )
    g.stop()
