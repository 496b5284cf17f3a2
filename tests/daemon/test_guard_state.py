"""Why the guard is off, from what its service left behind. The real services are in tests/boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.daemon import guard_state as module
from quietgate.daemon.guard_state import GUARDS, STOPS, guard_state, is_expected, missing_log, of_output
from quietgate.host.lock import locked
from quietgate.host.paths import Paths
from quietgate.host.systemd import UnitState
from quietgate.policy.load import load
from quietgate.values import File

START = "== 2026-11-25 00:22:08 start"
AT = "after its start at 2026-11-25 00:22:08"


@pytest.mark.parametrize(("text", "why"), [
    ([START, "no source of sshd's lines is here", "install rsyslog"], f"it ended {AT}: no source of sshd's lines is here; install rsyslog"),
    ([START, f"{GUARDS}/var/log/auth.log"], f"it was killed, or the host went down {AT}"),
    ([START, f"{GUARDS}/var/log/auth.log", STOPS], f"it was stopped {AT}"),
    ([START, "an old reason", START], f"it was killed, or the host went down {AT}"),
    ([START, "an old reason", START, "a new one"], f"it ended {AT}: a new one"),
    ([START, *(f"line {n}" for n in range(9))], f"it ended {AT}: line 6; line 7; line 8"),
    ([], "it was killed, or the host went down"),
])  # fmt: skip
def test_the_kept_output_tells_why(text: list[str], why: str) -> None:
    assert of_output("\n".join(text)) == why


def test_a_guard_that_is_off_without_systemd(tmp_path: Path) -> None:
    paths, policy = Paths(tmp_path), load([]).policy
    assert guard_state(paths, policy).state == "off"
    assert guard_state(paths, policy).why == ""
    assert not is_expected(paths)
    (tmp_path / "etc/init.d").mkdir(parents=True)
    (tmp_path / "etc/init.d/quietgate-guard").touch()
    assert is_expected(paths)
    assert guard_state(paths, policy).why == "it was not started since it was installed"
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/quietgate-guard.log").write_text(f"{START}\nno room\n")
    assert guard_state(paths, policy).why == f"it ended {AT}: no room"


def test_a_guard_that_holds_its_lock_is_silent_and_not_off(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with locked(paths.guard_lock):
        found = guard_state(paths, load([]).policy)
        assert found.state == "silent"
        assert found.why.startswith("it runs as process ")
    assert guard_state(paths, load([]).policy).state == "off"


@pytest.mark.parametrize(("unit", "why"), [
    (UnitState(loaded=False, active="inactive", result="success"), "its unit is not installed"),
    (UnitState(loaded=True, active="inactive", result="success"), "it was stopped, or was not started since the boot"),
    (UnitState(loaded=True, active="failed", result="exit-code", said=("bad", "do this")), "it ended with an error: bad; do this"),
    (UnitState(loaded=True, active="failed", result="signal", said=(f"{GUARDS}journal",)), "it was killed"),
    (UnitState(loaded=True, active="activating", result="exit-code", said=("bad",), again=True),
     "it ended with an error, and systemd starts it again: bad"),
    (UnitState(loaded=True, active="activating", result="success"), "systemd is starting it, or stopping it"),
])  # fmt: skip
def test_a_unit_tells_why(unit: UnitState, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unit_state", lambda _: unit)
    assert module._why(Path("/")) == why


def test_a_policy_that_switches_it_off_is_the_reason(tmp_path: Path) -> None:

    found = guard_state(Paths(tmp_path), load([File("a", b"[guard]\nenabled = false\n")]).policy)
    assert (found.state, found.why) == ("disabled", module.DISABLED)


def test_a_host_without_a_log(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    wanted: object
    for wanted in ("auto", ("/var/log/auth.log", "journal")):
        error = missing_log(wanted, paths)
        assert error is not None
        assert error.hint
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/auth.log").touch()
    for wanted in ("auto", ("/var/log/auth.log", "journal"), ("-",)):
        assert missing_log(wanted, paths) is None
