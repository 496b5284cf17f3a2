"""The demo shows what it promises, touches nothing outside, and leaves nothing behind, whenever it is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import LIBC, QUIETGATE, sh, wait_for

PR_SET_CHILD_SUBREAPER = 36  # sys/prctl.h: what outlives its parent becomes our child, and not another test's


@pytest.fixture(autouse=True)
def _reaper() -> Iterator[None]:
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def outside() -> tuple[str, str]:
    """What a guest could have changed: this namespace's links and rules."""
    return sh("ip", "-br", "addr"), sh("nft", "list", "ruleset")


def folders() -> set[Path]:
    return set(Path("/run").glob("quietgate-demo-*"))


def processes() -> set[str]:
    """Children of ours that run; those that have ended are waited for."""
    found = set()
    for line in sh("ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())).splitlines():
        pid, state, command = line.split(None, 2)
        if state.startswith("Z"):
            os.waitpid(int(pid), os.WNOHANG)
        elif not command.startswith("ps "):
            found.add(f"{pid} {command}")
    return found


def nothing_is_left(before: tuple[str, str], children: set[str], there: set[Path], what: str) -> None:
    assert outside() == before, what
    assert processes() == children, what
    new = folders() - there  # another demo may run beside this one: its folder goes with it
    wait_for(lambda: not new & folders(), f"{what}: the folder is gone", 60)


@pytest.mark.long
def test_the_administrator_gets_in_where_quietgate_is(tmp_path: Path) -> None:
    before, children, there = outside(), processes(), folders()
    done = subprocess.run([str(QUIETGATE), "demo", "--seconds", "20", "--json"], capture_output=True, text=True, timeout=85, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    without, guarded = told["servers"]
    assert guarded["failed"] == 0
    assert guarded["logins"] >= 4
    assert without["failed"] > 0, "the attack is one"
    assert without["most_processes"] > 2 * guarded["most_processes"]
    assert told["limited"] > 50
    nothing_is_left(before, children, there, "over")


@pytest.mark.parametrize("count", [3, pytest.param(10, marks=pytest.mark.long)])
def test_interrupted_it_leaves_nothing_behind(count: int) -> None:
    before, children, there = outside(), processes(), folders()
    dice = random.Random(count)
    for turn in range(count):
        child = subprocess.Popen([str(QUIETGATE), "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        assert child.stderr.readline().startswith("setting the stage")  # before that, it is Python that starts
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(dice.uniform(0, 9))
        child.send_signal(dice.choice([signal.SIGINT, signal.SIGTERM]))
        _, said = child.communicate(timeout=40)
        assert child.returncode == 130, f"turn {turn}: {child.returncode}\n{said}"
        assert "Traceback" not in said
        nothing_is_left(before, children, there, f"turn {turn}")


def test_without_root_it_says_so() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", str(QUIETGATE), "demo"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode in (77, 126), "refused, or the checkout is not for that user to read"
