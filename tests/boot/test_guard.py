"""The guard on a Debian that boots: by the journal, against the sshd of that release, in its hardened unit."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from quietgate.guard.sshd import Kind
from tests.boot.machine import INSIDE, OUTSIDE, Machine, machine
from tests.kernel.guarded import type_passwords
from tests.kernel.lab import wait_for
from tests.kernel.people import Session

ATTACKER, STRANGER = "198.18.208.66", "198.18.208.7"
UNITS = ("quietgate.service", "quietgate-refresh.service", "quietgate-guard.service", "quietgate-resolve@.service", "quietgate-deliver@.service",
         "quietgate-metrics.service")  # fmt: skip
RECORDED = Path(__file__).parents[1] / "guard" / "recorded"


@pytest.mark.boot
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_who_guesses_is_banned_by_the_journal(release: str) -> None:
    with machine(release) as m:
        m.boot()
        m.sh("cd /src && ./install.sh && useradd -m alice && echo alice:correct | chpasswd")
        said = m.sh("quietgate status")
        assert "guard      runs" in said
        assert re.search(r"source +journal: ", said)
        with logged_in(m) as session:
            wait_for(lambda: OUTSIDE in m.sh("nft list set inet quietgate floor4_32"), "the administrator is on the floor", 10)
            held = m.outside.connect(ATTACKER, INSIDE, 22)
            assert held is not None
            type_passwords(m.outside, ATTACKER, INSIDE, "alice", 3)
            assert m.answers(ATTACKER), "three"
            type_passwords(m.outside, ATTACKER, INSIDE, "alice", 3)
            wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "the fifth bans", 5)
            assert not m.answers(ATTACKER)
            wait_for(lambda: ATTACKER not in m.sh("ss -Htn state established"), "what it held is ended", 2)
            assert "burst: 5 in 10m" in m.sh("quietgate bans")
            assert "alice" in m.sh(f"quietgate why {ATTACKER}"), "the story, with the name of a user that exists"
            assert session.alive()
            assert m.ssh("echo in") == "in\n"
        assert m.answers(STRANGER)
        forged_lines_are_not_believed(m)
        the_guard_comes_back(m)
        record(m, release)
        for unit in UNITS:
            level = re.search(r"exposure level for \S+: ([\d.]+)", m.sh(f"systemd-analyze security --no-pager {unit.replace('@', '@1')}"))
            assert level is not None
            assert float(level[1]) < 2.0, f"{unit}: {level[1]}"
        assert m.sh("journalctl -b -u quietgate-guard -p err --no-pager -q") == ""


def logged_in(m: Machine) -> _Open:
    return _Open(m)


class _Open:
    """An administrator who is logged in from outside."""

    def __init__(self, m: Machine) -> None:
        self.session = Session(subprocess.Popen([*m.ssh_words(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def __enter__(self) -> Session:
        assert self.session.alive(10)
        return self.session

    def __exit__(self, *_: object) -> None:
        self.session.close()


def forged_lines_are_not_believed(m: Machine) -> None:
    """Any user can log as "sshd"; journald knows better."""
    for line in ("Failed password for root from 198.18.208.99 port 5 ssh2", "Accepted publickey for root from 198.18.208.98 port 5 ssh2"):
        for _ in range(8):
            m.sh(f"setpriv --reuid=65534 --clear-groups logger -t 'sshd[77]' -p auth.info '{line}'")
    m.sh("logger -t 'sshd[78]' 'Failed password for root from 198.18.208.97 port 5 ssh2'")
    m.ssh("true", STRANGER)  # a real line after them: when its login is known, they have been read
    wait_for(lambda: STRANGER in m.sh("nft list set inet quietgate known4_32"), "the real one is known", 10)
    kernel = m.sh("nft list table inet quietgate")
    assert not [a for a in ("198.18.208.99", "198.18.208.98", "198.18.208.97") if a in kernel]


def the_guard_comes_back(m: Machine) -> None:
    """Killed, it is there again, and reads on where it was; reloaded, it forgets nothing."""
    before = json.loads(m.sh("quietgate status --json"))["guard"]["pid"]
    m.sh("systemctl kill -s KILL quietgate-guard")
    wait_for(lambda: (json.loads(m.sh("quietgate status --json"))["guard"] or {"pid": before})["pid"] != before, "it is back", 15)
    assert ATTACKER in m.sh("quietgate bans")
    m.sh("systemctl reload quietgate-guard")
    wait_for(lambda: m.sh("systemctl is-active quietgate-guard || true") == "active\n", "it has read the policy again", 10)


def record(m: Machine, release: str) -> None:
    """The real lines of this release's sshd are understood; with QUIETGATE_REGENERATE they are kept in the checkout."""
    lines = m.sh("journalctl -b -t sshd -t sshd-session -t sshd-auth -o short-iso --no-pager -q")
    kinds = {json.loads(x)["kind"] for x in m.sh(f"cat > /tmp/l <<'LINES'\n{lines}LINES\nquietgate parse --json /tmp/l").splitlines()}
    assert kinds >= {Kind.FAILED.value, Kind.PAM_FAILED.value, Kind.ACCEPTED.value}, kinds
    if os.environ.get("QUIETGATE_REGENERATE"):
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{release}.log").write_text(lines)
