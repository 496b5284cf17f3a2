"""A guard that is off under systemd: said by whoever starts it, by `status` and by `doctor`, with the reason."""

from __future__ import annotations

import pytest

from tests.boot.machine import LIMITED, machine
from tests.kernel.lab import wait_for

STRANGER = "198.18.208.1"
BROKEN = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo the disk is made of cheese >&2; exit 1'\n"


@pytest.mark.boot
@pytest.mark.long
def test_a_guard_that_fails_is_told_with_its_reason() -> None:
    with machine("bookworm") as m:
        m.write("/etc/systemd/system/quietgate-guard.service.d/broken.conf", BROKEN)
        m.boot()
        said = m.sh("cd /src && ./install.sh", expect=3)
        assert "the firewall is in force, but not every service runs" in said
        assert "the disk is made of cheese" in said, said
        assert m.lets_in(STRANGER) == LIMITED
        wait_for(
            lambda: "it failed too often" in (s := m.sh("quietgate status")) or "it ended with an error" in s, "the reason is told", 30
        )
        doctor = m.sh("quietgate doctor", expect=1)
        assert "problem: the guard does not run, so nobody new is banned: it" in doctor
        assert "the disk is made of cheese" in doctor
        assert "remedy: systemctl start quietgate-guard; its output: journalctl -u quietgate-guard -n 20" in doctor

        m.sh("rm -r /etc/systemd/system/quietgate-guard.service.d && systemctl daemon-reload && systemctl reset-failed quietgate-guard")
        m.sh("systemctl restart quietgate-guard")
        assert "the guard" not in m.sh("quietgate doctor || true")
        m.sh("systemctl stop quietgate-guard")
        assert "it was stopped" in m.sh("quietgate status")
        m.write("/etc/quietgate/conf.d/off.toml", "[guard]\nenabled = false\n")
        m.sh("quietgate up --now && systemctl start quietgate-guard")
        assert m.run("systemctl is-failed quietgate-guard").returncode, "nothing is to run, and nothing failed"
        assert "the policy switches the guard off" in m.sh("quietgate status")
        assert "the policy switches the guard off" in m.sh("cd /src && ./install.sh"), "an upgrade is no failure either"
