"""What to type on this host, with systemd and without; and the state of a unit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quietgate.host import systemd
from quietgate.host.systemd import credential_words, start_words

SOURCES = sorted((Path(__file__).parents[2] / "src").rglob("*.py"))


@pytest.mark.parametrize(("do", "with_systemd", "without"), [
    ("start", "systemctl start ssh", "service ssh start"),
    ("restart", "systemctl restart ssh", "service ssh restart"),
    ("reload", "systemctl reload ssh", "service ssh reload"),
    ("disable", "systemctl disable --now ssh", "service ssh stop && update-rc.d ssh disable"),
    ("edit", "systemctl edit --full ssh", "editor /etc/default/ssh"),
    ("log", "journalctl -u ssh -n 20", "tail -n 20 /var/log/ssh.log"),
])  # fmt: skip
def test_what_is_typed_fits_the_host(do: str, with_systemd: str, without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").touch(0o755)
    monkeypatch.setattr(systemd, "_SBIN", str(tmp_path))
    monkeypatch.setattr(systemd, "RUNNING", tmp_path)
    assert start_words("ssh", do) == with_systemd
    monkeypatch.setattr(systemd, "RUNNING", tmp_path / "none")
    assert start_words("ssh", do) == without
    (tmp_path / "service").unlink()
    assert start_words("ssh") == "/etc/init.d/ssh start"


def test_a_credential_is_systemds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "RUNNING", tmp_path)
    assert "systemctl edit quietgate-helper" in credential_words("hook")
    monkeypatch.setattr(systemd, "RUNNING", tmp_path / "none")
    assert "file:/" in credential_words("hook")
    assert "systemctl" not in credential_words("hook")


def test_nobody_else_tells_people_what_to_type() -> None:
    """Whoever names systemctl or journalctl in a message would be wrong on half of the hosts."""
    for file in SOURCES:
        if file.name not in ("systemd.py", "journal.py"):
            named = re.findall(r"systemctl [a-z-]+ |journalctl -|/etc/init\.d/(?!quietgate-guard\"\))", file.read_text())
            allowed = {"commands/parse.py": ["journalctl -"], "guard/alerts.py": ["journalctl -"]}.get(
                "/".join(file.parts[-2:]), []
            )  # of the journal itself
            assert named == allowed, file
