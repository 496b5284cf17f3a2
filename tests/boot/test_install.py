"""The whole life of an installation on a fresh Debian: installed, attacked, rebooted, upgraded, removed."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.boot.hammer import Hammer, place_echo
from tests.boot.machine import LIMITED, OFFLINE, OUTSIDE, Machine, machine
from tests.kernel.lab import wait_for

STRANGER, BANNED, FREE = "198.18.208.1", "198.18.209.1", "198.18.210.1"


@pytest.mark.boot
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_a_fresh_debian_from_install_to_uninstall(release: str) -> None:
    with machine(release) as m:
        place_echo(m)
        m.boot()
        before = m.files()
        nobody_installs_without_root(m)
        an_install_over_ssh_cuts_nothing(m)
        each_service_has_its_documentation(m)

        assert m.sh("quietgate status").startswith("up: generation 1 is in force")
        assert m.lets_in(STRANGER) == LIMITED
        m.sh(f"quietgate ban {BANNED} --for 1h --scope host")
        with Hammer(m, banned=BANNED, free=FREE) as attack:
            m.reboot()
            the_rules_are_there_before_the_network(m)
            assert m.lets_in(STRANGER) == LIMITED
            assert BANNED in m.sh("quietgate bans")
        assert attack.answered[FREE], "the attack reached the machine"
        assert attack.answered[BANNED] == 0

        with Hammer(m, banned=BANNED, free=FREE) as attack:
            old = m.sh("systemctl show -P MainPID quietgate-guard")
            assert "was in force already" in m.sh("cd /src && ./install.sh"), "again, it upgrades"
            assert m.sh("systemctl show -P MainPID quietgate-guard") != old, "the guard as well"
            m.sh("systemctl restart quietgate")
            m.sh("systemctl reload quietgate")
            m.sh("echo '# mine' >> /etc/quietgate/quietgate.toml && quietgate up --now")
        assert attack.answered[FREE] > 1000
        assert attack.answered[BANNED] == 0
        assert attack.gap < 2, "nor was anybody else cut"
        assert BANNED not in m.sh("journalctl -u echo"), "not even a packet whose answer was lost"
        assert not m.answers(BANNED)

        assert "what you wrote stays" in m.sh("cd /src && ./install.sh --uninstall")
        assert m.files() - before == {"/etc/quietgate", "/etc/quietgate/quietgate.toml"}
        assert m.sh("nft list ruleset") == ""
        assert m.answers(BANNED)
        with Hammer(m, banned=BANNED, free=FREE) as attack:
            wait_for(lambda: attack.answered[BANNED], "without a firewall the same attack gets in")
        m.sh("rm -r /etc/quietgate")

        m.sh("cd /src && ./install.sh")
        assert m.sh("cd /src && ./install.sh --uninstall").endswith("quietgate is uninstalled\n")
        assert m.files() == before, "a policy that nobody touched goes"
        assert m.sh("systemctl --failed --no-legend") == "", "and no unit is missed"


def each_service_has_its_documentation(m: Machine) -> None:
    """So do messages: tests/test_documentation.py compares what they name with what is installed here."""
    named = m.sh("systemctl show -P Documentation 'quietgate*.service' 'quietgate*.socket' 'quietgate*.timer' 'quietgate*.path'").split()
    assert len(named) >= 7
    for one in named:
        assert m.exists(one.removeprefix("file:")), one
    pages = "/usr/local/share/doc/quietgate"
    for linked in re.findall(r"docs/[\w-]+\.md", m.sh(f"cat {pages}/README.md")):
        m.sh(f"test -s {pages}/{linked}")


def nobody_installs_without_root(m: Machine) -> None:
    usage = m.sh("cd /src && ./install.sh --help")
    for wanted in ("--image", "--uninstall", "Upgrade: git pull && sudo ./install.sh"):
        assert wanted in usage
    assert "unknown option --upgrade" in m.sh("cd /src && ./install.sh --upgrade", expect=2)
    m.sh("cd /src && ./install.sh --image --uninstall", expect=2)
    done = m.run("cd /src && setpriv --reuid=65534 --clear-groups ./install.sh")
    assert done.returncode == 77
    assert "root" in done.stderr


def an_install_over_ssh_cuts_nothing(m: Machine) -> None:
    """The session that installs lives on, and so does one that was open before."""
    with subprocess.Popen([*m.ssh_words(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as open_before:
        assert open_before.stdin
        assert open_before.stdout
        print("before", file=open_before.stdin, flush=True)
        assert open_before.stdout.readline() == "before\n"
        said = m.ssh(f"cd /src && {OFFLINE} ./install.sh && sleep 1 && echo still here")
        assert "generation 1 is in force: SSH on 22" in said
        assert f"logged in now: root from {OUTSIDE}" in said
        assert said.endswith("still here\n")
        print("after", file=open_before.stdin, flush=True)
        assert open_before.stdout.readline() == "after\n"
        open_before.stdin.close()
        assert open_before.wait(10) == 0
    assert all(m.answers(OUTSIDE) for _ in range(8)), "who administers is no stranger"


def the_rules_are_there_before_the_network(m: Machine) -> None:
    ruled = m.moment("Finished quietgate.service")
    assert ruled < m.moment("Reached target network-pre.target")
    assert ruled < m.moment("host0: Link UP")
