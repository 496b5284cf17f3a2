"""Who is logged in: what stands in the way of an answer, and what is no witness."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quietgate.host import sessions

ACTIVE = "UID=1000\nUSER=anna\nACTIVE=1\nSTATE=active\nREMOTE=1\nLEADER=4242\n"


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sessions, "LOGIND", tmp_path)
    return tmp_path


def test_pam_systemds_fifos_beside_the_sessions_hold_nobody_up(logind: Path) -> None:
    """As systemd 252 and 257 leave it: pam_systemd keeps the writing end of N.ref open as long as the session lives."""
    (logind / "3").write_text(ACTIVE)
    os.mkfifo(logind / "3.ref")
    writer = os.open(logind / "3.ref", os.O_RDWR)
    try:
        assert list(sessions._led()) == [(4242, 1000)]
    finally:
        os.close(writer)


@pytest.mark.parametrize("text", ["", "LEADER=1\n", ACTIVE.replace("4242", "x"), ACTIVE.replace("REMOTE=1", "REMOTE=0"),
                                  ACTIVE.replace("active", "closing"), "\0" * 100, "=\n=\n"])  # fmt: skip
def test_other_sessions_lead_nothing(logind: Path, text: str) -> None:
    (logind / "3").write_text(text)
    assert list(sessions._led()) == []


def test_a_host_without_logind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sessions, "LOGIND", tmp_path / "none")
    assert list(sessions._led()) == []
