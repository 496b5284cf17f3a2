"""Without systemd: a Debian that boots with sysvinit, and the init script as LSB and old hands use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.boot.hammer import Hammer, place_echo
from tests.boot.machine import LIMITED, Machine, machine
from tests.kernel.lab import wait_for

STRANGER, OTHER, BANNED, FREE = "198.18.208.1", "198.18.208.2", "198.18.209.1", "198.18.210.1"
pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.fixture
def m() -> Iterator[Machine]:
    with machine("bookworm", network="ifupdown", systemd=False) as made:
        made.ready = "ss -Hltn sport = :22 | grep -q ."  # not only started
        place_echo(made)
        made.write("/var/log/auth.log", "")  # Debian 12's rsyslog has no init script
        made.boot()
        yield made


def test_install_boot_and_uninstall_without_systemd(m: Machine) -> None:
    before = m.files()
    said = m.sh("cd /src && ./install.sh")
    assert "generation 1 is in force: SSH on 22" in said
    steps = [line.split(":")[0] for line in said.splitlines() if re.match(r"\d/\d ", line)]
    assert steps == ["1/5 packages", "2/5 program", "3/5 services", "4/5 firewall", "5/5 guard"]
    assert m.sh("service quietgate-guard status").startswith("quietgate-guard runs"), "the install starts it"
    assert re.search(r"guard +runs for", said)
    assert m.lets_in(STRANGER) == LIMITED
    m.sh(f"quietgate ban {BANNED} --for 1h --scope host")

    order = m.sh("ls /etc/rcS.d").split()
    position = {name[3:]: number for number, name in enumerate(order) if name[0] == "S"}
    assert position["mountall.sh"] < position["quietgate"] < position["networking"]
    with Hammer(m, banned=BANNED, free=FREE) as attack:
        m.reboot()
        assert m.lets_in(STRANGER) == LIMITED
        old = m.sh("service quietgate-guard status")
        assert "was in force already" in m.sh("cd /src && ./install.sh")
        assert m.sh("service quietgate-guard status") != old, "an upgrade restarts the guard"
        for word in ("restart", "reload", "start"):
            m.sh(f"service quietgate {word}")
    assert attack.answered[FREE]
    assert BANNED not in m.sh("cat /var/log/echo")

    m.sh("service quietgate-guard restart && service quietgate-guard status")
    cron = m.sh("grep -v '^#' /etc/cron.d/quietgate").split("root ", 1)[1]
    m.sh(f"env -i SHELL=/bin/sh PATH=/usr/bin:/bin sh -c '{cron.strip()}'")  # crontab(5): this is all of the environment

    assert m.sh("cd /src && ./install.sh --uninstall").endswith("quietgate is uninstalled\n")
    assert m.files() == before
    assert not m.exists("/var/log/quietgate-guard.log")
    assert m.sh("nft list ruleset") == ""


def test_a_guard_that_is_off_is_told_with_its_reason(m: Machine) -> None:
    m.sh("rm /var/log/auth.log")
    said = m.sh("cd /src && ./install.sh", expect=3)
    reason = "no source of sshd's lines is here"
    assert reason in said
    assert "the firewall is in force, but not every service runs" in said
    assert m.lets_in(STRANGER) == LIMITED
    for word in ("start", "restart"):
        assert reason in m.sh(f"service quietgate-guard {word}", expect=1)
    assert reason in m.sh("service quietgate-guard status", expect=3)
    m.sh("service quietgate-guard reload", expect=7)
    status, doctor = m.sh("quietgate status"), m.sh("quietgate doctor", expect=1)
    assert reason in status
    assert "/var/log/quietgate-guard.log" in status
    assert "problem: the guard does not run, so nobody new is banned: it ended after its start at 20" in doctor
    assert "remedy: service quietgate-guard start; its output: tail -n 20 /var/log/quietgate-guard.log" in doctor
    assert f"problem: {reason}" in doctor
    assert "systemctl" not in status + doctor
    assert reason in m.sh("cat /var/log/quietgate-guard.log")

    m.sh("touch /var/log/auth.log")
    m.sh("service quietgate-guard start")
    assert json.loads(m.sh("quietgate status --json"))["guard_state"]["state"] == "answers", "start returns when it answers"
    assert "the guard" not in m.sh("quietgate doctor || true")

    m.sh("kill -STOP $(cat /run/quietgate/guard.pid)")
    assert "problem: the guard runs, but does not answer" in m.sh("quietgate doctor", expect=1)
    m.sh("kill -KILL $(cat /run/quietgate/guard.pid)")
    wait_for(lambda: m.run("service quietgate-guard status").returncode == 3, "it is gone", 10)
    assert "it was killed, or the host went down" in m.sh("quietgate status")
    m.sh("service quietgate-guard start && service quietgate-guard stop")
    assert "it was stopped" in m.sh("quietgate status")

    m.sh("(quietgate run >/dev/null 2>&1 </dev/null &)")
    wait_for(lambda: m.run("quietgate run --ready").returncode == 0, "one that was started by hand answers", 20)
    assert "another guard runs, which was not started here" in m.sh("service quietgate-guard start", expect=1)
    m.sh("kill $(quietgate run --ready)")
    m.sh("mkdir -p /etc/quietgate/conf.d && printf '[guard]\\nenabled = false\\n' > /etc/quietgate/conf.d/off.toml && quietgate up --now")
    assert "the policy switches the guard off" in m.sh("service quietgate-guard start"), "nothing is to run, and nothing failed"
    assert "the policy switches the guard off" in m.sh("quietgate status")
    assert "advice: the policy switches the guard off" in m.sh("quietgate doctor || true")


def test_the_init_scripts_exit_codes(m: Machine) -> None:
    """As LSB has them (Linux Standard Base 3.1, 20.2)."""
    m.sh("cd /src && ./install.sh")
    m.sh("service quietgate status")
    for word in ("start", "restart", "reload", "force-reload"):
        assert "generation 1" in m.sh(f"service quietgate {word}"), "what runs may be started again"
    assert m.lets_in(STRANGER) == LIMITED

    m.sh("service quietgate stop")
    assert m.sh("service quietgate status", expect=3).startswith("down")
    assert all(m.lets_in(STRANGER))
    m.sh("service quietgate stop")
    assert "generation 1 is in force" in m.sh("service quietgate start")
    assert m.sh("service quietgate status").startswith("up")

    m.sh("cp /etc/quietgate/quietgate.toml /root/ && echo 'limt = 5' >> /etc/quietgate/quietgate.toml")
    assert "limt" in m.sh("service quietgate restart", expect=2)
    assert m.lets_in(OTHER) == LIMITED, "a policy with a mistake changes nothing"
    m.sh("mv /root/quietgate.toml /etc/quietgate/")

    assert "Usage" in m.sh("/etc/init.d/quietgate", expect=2)
    assert "Usage" in m.sh("/etc/init.d/quietgate now", expect=2)
    m.sh("setpriv --reuid=65534 --clear-groups /etc/init.d/quietgate status", expect=4)
    m.sh("mv /usr/local/sbin/quietgate /root/")
    m.sh("/etc/init.d/quietgate start", expect=5)
