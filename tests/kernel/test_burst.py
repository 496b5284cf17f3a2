"""Two million lines at once: every event is counted, and the attackers among them are banned."""

from __future__ import annotations

import json

import pytest
from bench.burst import FIRST, SOURCES, burst, flooded
from bench.guard import guarding

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
