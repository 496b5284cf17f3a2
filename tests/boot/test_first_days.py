"""The first days of a real server: an administrator is logged in all the while, policies change, it reboots, others come and go.

Every path by which rules get into the kernel ends without drift and without an alert; nothing hangs; the administrator is never out.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.boot.machine import INSIDE, OFFLINE, OUTSIDE, Machine, machine
from tests.kernel.guarded import type_passwords
from tests.kernel.lab import wait_for
from tests.kernel.people import Session

ATTACKER, ELSEWHERE, SHORT = "198.18.208.66", "198.18.209.7", "198.18.210.8"
RELEASES = ["bookworm", "trixie"]
SECOND = 1.0  # nothing that a person waits for may hang longer because of somebody else's session
pytestmark = [pytest.mark.boot, pytest.mark.long]


@contextlib.contextmanager
def logged_in(m: Machine, source: str = OUTSIDE) -> Iterator[Session]:
    """An administrator's open session, by key."""
    session = Session(subprocess.Popen([*m.ssh_words(source), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    try:
        assert session.alive(10)
        yield session
    finally:
        session.close()


def status(m: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(m.sh("quietgate status --json"))
    return found


def well(m: Machine, path: str) -> None:
    """No drift, no alert, monitoring is content, and quick about it."""
    wait_for(lambda: status(m)["guard_state"]["state"] == "answers", f"after {path} the guard runs", 20)
    found = status(m)
    assert found["verdict"] == "up", f"after {path}: {found['verdict']}: {found['why']} {found['also']}"
    assert found["alerts"] == {}, f"after {path}: {m.sh('quietgate alerts')}"
    assert m.sh("quietgate alerts --json").count('"topic"') == 0, f"after {path}"
    said = m.run("check_quietgate").stdout
    assert said.startswith("QUIETGATE OK"), f"after {path}: {said}"
    begin = time.monotonic()
    m.sh("quietgate status")
    assert time.monotonic() - begin < 10 * SECOND, f"after {path}"
    assert m.ssh("echo in") == "in\n", f"after {path} the administrator gets in"


def install(m: Machine) -> None:
    """Over SSH, as the README has it."""
    m.ssh(f"cd /src && {OFFLINE} ./install.sh")


def change(m: Machine, setting: str) -> None:
    """Another policy on the disk."""
    m.sh(f"sed -i '/^\\[ssh\\]/a {setting}' /etc/quietgate/quietgate.toml" if setting else "true")


def by_trial(m: Machine) -> None:
    """`up`, kept by a new login that is over at once."""
    child = subprocess.Popen(["nsenter", "-t", str(m.pid), "-a", "quietgate", "up", "--trial", "40s"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)  # fmt: skip
    wait_for(lambda: status(m)["verdict"] == "trial" or child.poll() is not None, "the trial runs", 30)
    m.ssh("true")
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 0, said
    assert "proven: root logged in anew" in said


@pytest.mark.parametrize("release", RELEASES)
def test_every_way_into_the_kernel_ends_without_drift_and_without_an_alert(release: str) -> None:
    with machine(release) as m:
        m.boot()
        with logged_in(m) as session, logged_in(m, ELSEWHERE):
            begin = time.monotonic()
            install(m)
            assert time.monotonic() - begin < 120, "an open session holds up nothing"
            well(m, "install.sh")
            m.sh("sed -i 's/^limit.*//' /etc/quietgate/quietgate.toml")
            change(m, 'limit = "6 per 60s"')
            m.sh("quietgate up --now")
            well(m, "up --now")
            m.sh("sed -i 's/^limit.*/limit = \"7 per 60s\"/' /etc/quietgate/quietgate.toml")
            by_trial(m)
            well(m, "a trial that a short login kept")
            m.sh("quietgate refresh")
            well(m, "refresh")
            m.sh("systemctl stop quietgate-guard && systemctl start quietgate-guard")
            well(m, "the guard's restart")
            m.sh("systemctl stop quietgate && systemctl start quietgate && systemctl start quietgate-guard")
            well(m, "stop and start of the unit")
            m.sh("systemctl restart quietgate")
            well(m, "a restart of the unit")
            m.sh("systemctl reload quietgate")
            well(m, "a reload of the unit")
            m.sh("quietgate revert && sed -i 's/^limit.*/limit = \"6 per 60s\"/' /etc/quietgate/quietgate.toml")
            well(m, "revert")
            m.sh("cd /src && ./install.sh")
            well(m, "an upgrade")
            assert session.alive()
        m.reboot()
        well(m, "a reboot")
        with logged_in(m):
            m.sh("sed -i 's/^limit.*/limit = \"8 per 60s\"/' /etc/quietgate/quietgate.toml && quietgate up --now")
            well(m, "a change after a reboot")
        m.reboot()
        well(m, "a second reboot")


@pytest.mark.parametrize("without", ["libpam-systemd", "polkitd"])
def test_the_same_without_some_of_what_a_server_has(without: str) -> None:
    with machine("bookworm") as m:
        m.offline(f"DEBIAN_FRONTEND=noninteractive apt-get purge -y -q {without} >/dev/null")
        m.boot()
        with logged_in(m) as session:
            install(m)
            well(m, "install.sh")
            change(m, 'known_limit = "50 per 60s"')
            by_trial(m)
            well(m, "a trial that a short login kept")
            assert session.alive()
        m.reboot()
        well(m, "a reboot")


@pytest.mark.parametrize("release", RELEASES)
def test_a_first_week_in_an_hour(release: str) -> None:
    with machine(release) as m:
        m.boot()
        m.sh("useradd -m alice && echo alice:correct | chpasswd")
        with logged_in(m) as session:
            install(m)
            well(m, "install.sh")
            # a mistake: it names an office that is not theirs
            m.sh("sed -i '/^from/d' /etc/quietgate/quietgate.toml")
            change(m, 'from = ["203.0.113.0/24"]')
            said = m.sh("quietgate up --now", expect=4)
            assert OUTSIDE in said
            assert "lockout.keep" in said
            assert status(m)["verdict"] == "stale"
            m.sh(f'sed -i \'s/^from.*/from = ["203.0.113.0\\/24", "{OUTSIDE}", "198.18.208.0\\/20"]/\' /etc/quietgate/quietgate.toml')
            by_trial(m)
            well(m, "the mistake corrected, by a trial")
            change(m, "reserve = 30")
            m.sh("quietgate up --now")
            well(m, "up --now")
            # an attack, and what the journal tells of it
            for _ in range(3):
                type_passwords(m.outside, ATTACKER, INSIDE, "alice", 3)
            wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "the attacker is banned", 10)
            assert not m.answers(ATTACKER)
            well(m, "an attack")
            # a login from a new address
            m.ssh("sleep 1", SHORT)
            wait_for(lambda: SHORT in m.sh("nft list set inet quietgate known4_32"), "who has logged in is known", 10)
            well(m, "a login from a new address")
            m.reboot()
            assert ATTACKER in m.sh("quietgate bans")
            well(m, "a reboot")
        with logged_in(m) as session:
            m.sh("cd /src && ./install.sh")
            well(m, "an upgrade")
            # a neighbour that flushes nothing of ours
            m.sh("nft add table inet neighbour && nft add chain inet neighbour c '{ type filter hook input priority 10; }'")
            well(m, "a neighbour's table")
            change(m, "# an hour is enough")
            m.sh("printf '[lockout]\\nkeep = \"5s\"\\n' > /etc/quietgate/conf.d/keep.toml && quietgate up --now")
            session.close()
            time.sleep(7)  # lockout.keep itself
            assert m.ssh("echo in") == "in\n", "the administrator gets in when the floor has ended"
            well(m, "the end of lockout.keep")
            m.reboot()
            well(m, "a second reboot")
