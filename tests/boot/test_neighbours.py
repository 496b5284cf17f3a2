"""Beside other firewalls and blockers of Debian: both work, or `doctor` says what is wrong and how to mend it.

Each remedy that `doctor` prints is typed here as it stands.
"""

from __future__ import annotations

import json

import pytest

from tests.boot.machine import LIMITED, OUTSIDE, Machine, machine
from tests.kernel.lab import wait_for

BANNED, THEIRS = "198.18.209.1", "198.18.209.2"
STRANGERS = tuple(f"198.18.208.{n}" for n in range(1, 20))
# Debian 12 writes no auth.log, and its package is not told so (fail2ban's README.Debian)
JAIL = "[DEFAULT]\nbackend = systemd\nbanaction = nftables-multiport\nbanaction_allports = nftables-allports\n"
RUNS = "until fail2ban-client status sshd >/dev/null 2>&1; do sleep 0.1; done"
pytestmark = [pytest.mark.boot, pytest.mark.long]


def findings(m: Machine, severity: str) -> dict[str, dict[str, str]]:
    """What `doctor` says, by id."""
    said = json.loads(m.run("quietgate doctor --json").stdout)
    return {f["id"]: f for f in said["findings"] if f["severity"] == severity}


def intact(m: Machine, stranger: str) -> bool:
    """Our table is whole, the limit binds, the ban holds, and an administrator gets in."""
    m.sh("quietgate diff")
    assert m.sh("quietgate status").startswith("up: generation ")
    assert m.lets_in(stranger) == LIMITED
    assert not m.answers(BANNED)
    return "in" in m.ssh("echo in")


def install(m: Machine) -> None:
    m.ssh("true")  # so that whoever administers from there is known
    m.sh(f"cd /src && ./install.sh && quietgate ban {BANNED} --for 1h")


@pytest.mark.parametrize("first", ["firewalld", "quietgate"])
def test_firewalld(first: str) -> None:
    with machine("bookworm", "firewalld") as m:
        m.offline(f"systemctl -q {'enable' if first == 'firewalld' else 'disable'} firewalld")
        m.boot()
        install(m)
        m.sh("systemctl enable -q --now firewalld")
        assert intact(m, STRANGERS[0])
        m.sh("firewall-cmd --reload && firewall-cmd --complete-reload")
        assert intact(m, STRANGERS[1])
        m.sh("systemctl restart firewalld")
        assert intact(m, STRANGERS[2])
        m.sh("systemctl restart quietgate && quietgate up --now")
        assert "inet firewalld" in m.sh("nft list tables"), "nor do we touch theirs"
        m.reboot()
        m.sh("firewall-cmd --state")
        assert intact(m, STRANGERS[3])
        assert not findings(m, "problem")
        assert "firewalld filters here too" in findings(m, "advice")["other-firewall"]["what"]

        m.sh("firewall-cmd --permanent --remove-service=ssh && firewall-cmd --reload")
        assert not m.answers(OUTSIDE)
        problem = findings(m, "problem")["closed-by-other"]
        assert "inet firewalld (of firewalld) drops" in problem["what"]
        assert problem["what"] in m.sh("quietgate status")
        m.sh(problem["remedy"])
        assert intact(m, STRANGERS[4])
        assert not findings(m, "problem")

        m.sh("systemctl stop firewalld")
        assert intact(m, STRANGERS[5])


@pytest.mark.parametrize("first", ["ufw", "quietgate"])
def test_ufw(first: str) -> None:
    with machine("bookworm", "ufw") as m:
        m.boot()
        if first == "ufw":
            m.sh("ufw allow ssh && ufw --force enable")
            install(m)
        else:
            install(m)
            m.sh("ufw --force enable")
            assert not m.answers(OUTSIDE)
            problem = findings(m, "problem")["closed-by-other"]
            assert "(of ufw) drops" in problem["what"]
            assert problem["what"] in m.sh("quietgate status")
            m.sh(problem["remedy"])
        assert intact(m, STRANGERS[0])
        assert not findings(m, "problem")
        assert "ufw filters here too" in findings(m, "advice")["other-firewall"]["what"]
        m.sh("ufw reload")
        assert intact(m, STRANGERS[1])
        m.sh("systemctl restart ufw")
        assert intact(m, STRANGERS[2])
        m.sh("systemctl restart quietgate && quietgate up --now")
        assert "Status: active" in m.sh("ufw status")
        assert "ufw-user-input" in m.sh("nft list ruleset"), "nor do we touch theirs"
        m.reboot()
        assert "Status: active" in m.sh("ufw status")
        assert intact(m, STRANGERS[3])
        m.sh("ufw --force reset")
        assert intact(m, STRANGERS[4])


@pytest.mark.parametrize(
    ("other", "shut"),
    [("ufw", "ufw --force enable"), ("firewalld", "firewall-cmd --permanent --remove-service=ssh && firewall-cmd --reload")],
    ids=["ufw", "firewalld"],
)
def test_an_install_behind_a_door_that_another_tool_shut(other: str, shut: str) -> None:
    """From the console: whoever logged in before would not get in, whatever we do. That is said before anything is done."""
    with machine("bookworm", other) as m:
        m.boot()
        m.ssh("true")
        m.sh(shut)
        assert not m.answers(OUTSIDE)
        said = m.sh("cd /src && ./install.sh", expect=4)
        assert f"{OUTSIDE} (port 22; root logged in from there): a new connection would be shut out by another tool's table" in said
        assert "installed, but not in force" in said
        assert m.sh("quietgate status", expect=0).startswith("down: ")
        assert "enabled" not in m.sh("systemctl is-enabled quietgate quietgate-guard || true"), "no boot loads what was refused"
        m.sh(findings(m, "problem")["closed-by-other"]["remedy"])
        m.sh(f"cd /src && ./install.sh && quietgate ban {BANNED} --for 1h")
        assert intact(m, STRANGERS[0])


@pytest.mark.parametrize("first", ["fail2ban", "quietgate"])
def test_fail2ban(first: str) -> None:
    with machine("bookworm", "fail2ban", "python3-systemd") as m:
        m.write("/etc/fail2ban/jail.local", JAIL)
        m.offline(f"systemctl -q {'enable' if first == 'fail2ban' else 'disable'} fail2ban")
        m.boot()
        install(m)
        m.sh("systemctl enable -q --now fail2ban")
        m.sh(RUNS)
        assert intact(m, STRANGERS[0])
        m.sh("fail2ban-client reload && systemctl restart fail2ban")
        m.sh(f"{RUNS}; fail2ban-client set sshd banip {THEIRS}")
        assert not m.answers(THEIRS), "who they ban is out"
        assert intact(m, STRANGERS[1])
        m.sh("systemctl restart quietgate && quietgate up --now")
        assert THEIRS in m.sh("fail2ban-client status sshd")
        assert not m.answers(THEIRS), "nor do we touch theirs"
        m.sh(f"fail2ban-client set sshd unbanip {THEIRS}")
        assert m.answers(THEIRS)
        assert not findings(m, "problem")
        assert "fail2ban bans here too" in findings(m, "advice")["other-blocker"]["what"]
        m.reboot()
        assert intact(m, STRANGERS[2])
        m.sh("systemctl stop fail2ban")
        assert intact(m, STRANGERS[3])


def test_a_flush_of_everything() -> None:
    """Debian's own /etc/nftables.conf begins with `flush ruleset`, and its unit runs before the network as ours does."""
    with machine("bookworm") as m:
        m.write("/etc/systemd/system/nftables.service.d/slow.conf", "[Service]\nExecStartPre=/bin/sleep 3\n")
        m.offline("systemctl -q enable nftables")
        m.boot()
        install(m)
        m.reboot()
        assert "inet filter" in m.sh("nft list tables")
        assert intact(m, STRANGERS[0]), "at the boot we come after it"

        assert "flush ruleset" in findings(m, "advice")["flush"]["what"]
        m.sh("nft flush ruleset")
        wait_for(lambda: m.sh("quietgate status").startswith("up: "), "the guard puts it back")
        assert intact(m, STRANGERS[1])
        m.sh("systemctl stop quietgate-guard")  # what follows holds without it
        for number, deed in enumerate(("nft flush ruleset", "systemctl restart nftables", "systemctl stop nftables"), 2):
            m.sh(deed)
            assert m.sh("quietgate status").startswith("down: ")
            assert "nobody took it down" in findings(m, "problem")["lost"]["what"]
            assert all(m.lets_in(STRANGERS[10], 2))
            m.sh("systemctl start quietgate-refresh")
            assert intact(m, STRANGERS[number])
        m.sh("systemctl restart nftables")
        m.sh(findings(m, "problem")["lost"]["remedy"] + " --now")
        assert intact(m, STRANGERS[9])
        m.sh("quietgate down && systemctl start quietgate-refresh")
        assert m.sh("quietgate status").startswith("down: "), "who takes it down by hand means it"
