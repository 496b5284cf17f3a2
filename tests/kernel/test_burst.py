"""Two million lines at once: every event is counted, and the attackers among them are banned."""

from __future__ import annotations

import json
import threading
import time

import pytest
from bench.burst import FIRST, SOURCES, burst, flooded
from bench.guard import Guard, appended, guarding, line

from tests.kernel.lab import Pair


@pytest.mark.long
def test_none_of_two_million_lines_is_lost(pair: Pair) -> None:
    text, events = burst(2_000_000, 10)
    with guarding(pair) as guard:
        flooded(guard, text, events)
        told = guard.status() or {}
        assert told["bans"] == SOURCES + 1, "each of them guessed ten times"
        assert told["sources"][0]["trouble"] == ""
        assert '"verdict": "drop"' in pair.quietgate("why", FIRST, "--json")
    assert len({json.loads(row)["prefix"] for row in pair.quietgate("bans", "--json").splitlines()}) == SOURCES + 1


@pytest.mark.long
def test_it_stops_when_told_while_the_log_grows(pair: Pair) -> None:
    """In Python 3.11 `asyncio.wait_for` swallows a cancellation that comes together with what it waits for."""
    with guarding(pair) as guard:
        for n in range(15):
            over = threading.Event()
            writer = threading.Thread(target=drip, args=(guard, over))
            writer.start()
            try:
                time.sleep(0.05 + n * 0.003)
                guard.stop()
            finally:
                over.set()
                writer.join()
            guard.start()


def drip(guard: Guard, over: threading.Event) -> None:
    """A line each half millisecond."""
    while not over.wait(0.0005):
        appended(guard.log, line("198.18.3.4"))
