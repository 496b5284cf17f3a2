"""The limiter under the kernel that most who use it have, and while that is young: there is a span of its life in which it counts its
ticks as negative numbers (docs/limiter.md), and each boot begins with five minutes of it.
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import pytest

from tests.boot import vm
from tests.boot.tree import CACHE

YOUNG = 295  # seconds of uptime


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine that is emulated is an x86_64")
def test_the_limit_is_exact_in_the_first_minutes_after_a_boot() -> None:
    tests = ("tests/kernel/test_attacks.py", "tests/kernel/test_attacks_sessions.py", "tests/kernel/test_netlink.py")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="vm") as place:
        said, ends = vm.run(Path(place), *tests, within=900)
    assert [(status, name) for status, _, name in ends] == [(0, name) for name in tests], said
    assert ends[0][1] < YOUNG, "else it says nothing of a young kernel"
