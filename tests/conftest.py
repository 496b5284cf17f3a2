"""Fixtures that every level shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import Pair, make_pair

# What counts in milliseconds, needs both processors, or reads the one kernel log.
ALONE = {"test_limit.py", "test_attacks.py", "test_reserve.py", "test_logging.py", "test_generations.py", "test_evaluator.py"}

# Started in the background of a script, we are told to ignore Ctrl-C, and so would be all that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands in tests/kernel needs root and namespaces."""
    for item in items:
        if "kernel" in item.path.parts:
            item.add_marker(pytest.mark.kernel)
        if item.path.name in ALONE:
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: item.name != "test_half_an_hour")  # first: the others are done while it runs


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A server and a client on one cable."""
    if os.geteuid() != 0:
        pytest.fail("this test needs root; ./test.sh --pure runs what does not")
    with make_pair(tmp_path) as made:
        yield made
