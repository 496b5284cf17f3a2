"""The demo shows what it promises, touches nothing outside, and leaves nothing behind, whenever it is interrupted."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kernel.lab import QUIETGATE, sh


def outside() -> tuple[str, str, list[Path]]:
    """What a guest could have changed: this namespace's links and rules, and folders."""
    return sh("ip", "-br", "addr"), sh("nft", "list", "ruleset"), sorted(Path("/run").glob("quietgate-demo-*"))


def processes() -> str:
    return sh("pgrep", "-af", "quietgate-demo-", check=False)


def test_the_administrator_gets_in_where_quietgate_is(tmp_path: Path) -> None:
    before = outside()
    done = subprocess.run([str(QUIETGATE), "demo", "--seconds", "20", "--json"], capture_output=True, text=True, timeout=85, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    without, guarded = told["servers"]
    assert guarded["failed"] == 0
    assert guarded["logins"] >= 4
    assert without["failed"] > 0, "the attack is one"
    assert without["most_processes"] > 2 * guarded["most_processes"]
    assert told["limited"] > 50
    assert outside() == before
    assert processes() == ""


@pytest.mark.parametrize("count", [3, pytest.param(10, marks=pytest.mark.long)])
def test_interrupted_it_leaves_nothing_behind(count: int) -> None:
    before = outside()
    dice = random.Random(count)
    for turn in range(count):
        child = subprocess.Popen([str(QUIETGATE), "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(dice.uniform(0.2, 9))
        child.send_signal(dice.choice([signal.SIGINT, signal.SIGTERM]))
        _, said = child.communicate(timeout=40)
        assert child.returncode == 130, f"turn {turn}: {child.returncode}\n{said}"
        assert "Traceback" not in said
        assert outside() == before, f"turn {turn}"
        assert processes() == "", f"turn {turn}"


def test_without_root_it_says_so() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", str(QUIETGATE), "demo"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode in (77, 126), "refused, or the checkout is not for that user to read"
