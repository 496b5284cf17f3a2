"""Which unit a process belongs to, by its cgroup; only the system's own units count."""

from __future__ import annotations

import pytest

from quietgate.host import sshd_units

STATUS = "Name:\tsshd\nNSpid:\t77\n"


def unit(monkeypatch: pytest.MonkeyPatch, place: str, *, init: str = "/init.scope", status: str = STATUS) -> str:
    """The unit of process 77, where the kernel says so of it and of process 1."""
    files = {"/proc/77/status": status, "/proc/77/cgroup": place, "/proc/1/cgroup": f"0::{init}\n"}
    monkeypatch.setattr(sshd_units, "read_text", lambda path: files[str(path)])
    return sshd_units.unit_of(77)


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/system.slice/my-sshd.service\n", "my-sshd.service"),
        ("0::/system.slice/system-ssh.slice/ssh@3-198.18.0.1:22-198.18.0.2:4.service\n", "ssh.service"),
        ("0::/admin.slice/ssh.service\n", "ssh.service"),
        ("12:cpu:/\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service\n", ""),
        ("0::/system.slice/docker-4f2a9c.scope\n", ""),
        ("0::/system.slice/docker-4f2a9c.scope/system.slice/ssh.service\n", ""),
        ("0::/system.slice/web.service/libpod-payload-4f2a\n", ""),
        ("0::/system.slice/web.service/system.slice/ssh.service\n", ""),
        ("0::/machine.slice/machine-deb.scope/payload/system.slice/ssh.service\n", ""),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_only_a_service_of_the_systems_manager_is_a_unit(monkeypatch: pytest.MonkeyPatch, place: str, wanted: str) -> None:
    assert unit(monkeypatch, place) == wanted


def test_a_process_in_another_pid_namespace_is_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unit(monkeypatch, "0::/system.slice/ssh.service\n", status="Name:\tsshd\nNSpid:\t77\t5\n") == ""


def test_a_system_that_is_itself_in_a_container_has_its_own_units(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "/machine.slice/machine-deb.scope/payload"
    assert unit(monkeypatch, f"0::{here}/system.slice/ssh.service\n", init=f"{here}/init.scope") == "ssh.service"
    assert unit(monkeypatch, "0::/system.slice/ssh.service\n", init=f"{here}/init.scope") == ""
