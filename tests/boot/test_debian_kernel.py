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
    # What has to be as fast as a real machine is left out: this one is not.
    tests = ("tests/kernel/test_attacks.py -k again_and_again", "tests/kernel/test_netlink.py")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="vm") as place:
        said, ends = vm.run(Path(place), *tests, within=900)
    assert [status for status, _ in ends] == [0, 0], said
    assert ends[0][1] < YOUNG, "else it says nothing of a young kernel"
