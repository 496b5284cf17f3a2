"""The monitoring plugin, by the guidelines of monitoring-plugins.org: states, ranges, one line that a parser of theirs can read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from quietgate.daemon.measure import Measures
from quietgate.ui.nagios import CRITICAL, OK, UNKNOWN, WARNING, WORDS, Range, judge
from tests.ui.test_metrics import ALL, GUARD

WELL: Measures = replace(ALL, guard={**GUARD, "sources": GUARD["sources"][:1]}, trial=None, alerts={}, waiting=0)

# Written from the guidelines alone: SERVICE STATUS - text | 'label'=value[UOM];[warn];[crit];[min];[max] ...
_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = rf"(?:@?(?:(?:~|{_NUMBER}):)?(?:{_NUMBER})?)"
_DATUM = re.compile(
    rf"'(?P<label>[^'=]+)'=(?P<value>{_NUMBER})(?P<unit>s|us|ms|%|B|KB|MB|TB|c)?;{_RANGE};{_RANGE};(?:{_NUMBER})?;(?:{_NUMBER})?(?: |\Z)"
)


def parsed(line: str) -> tuple[int, str, dict[str, float]]:
    """State, text and performance data of a plugin's line. Fails for what the guidelines do not know."""
    assert line.isascii() or line.isprintable()
    assert "\n" not in line
    assert line.count("|") <= 1
    said, _, data = line.partition(" | ")
    service, state, dash, text = said.split(" ", 3)
    assert (service, dash) == ("QUIETGATE", "-")
    found: dict[str, float] = {}
    at = 0
    while at < len(data):
        match = _DATUM.match(data, at)
        assert match is not None, data[at:]
        found[match["label"]] = float(match["value"])
        at = match.end()
    return WORDS.index(state), text, found


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({}, OK, "generation 3 in force, 4 bans, the guard runs for"),
        ({"generation": 0}, CRITICAL, "nothing is in force in the kernel"),
        ({"generation": 0, "held": True}, WARNING, "taken down by hand"),
        ({"guard": None, "why_not": "the guard is not running"}, CRITICAL, "the guard is not running"),
        ({"guard": None, "generation": None, "why_not": "not permitted", "denied": True}, UNKNOWN, "nothing can be seen: not permitted"),
        ({"guard": None, "generation": None, "why_not": "the guard is not running"}, CRITICAL, "the guard is not running"),
        ({"guard": None, "why_not": "not permitted", "denied": True}, UNKNOWN, "not permitted"),
        (
            {"guard": None, "why_not": "not permitted", "denied": True, "generation": 0},
            CRITICAL,
            "nothing is in force in the kernel; not perm",
        ),
        ({"alerts": {"break_in": 2}}, CRITICAL, "2 alerts of break_in: quietgate alerts"),
        ({"alerts": {"strain": 1}}, WARNING, "1 alert of strain"),
        ({"trial": 12.5}, WARNING, "a trial runs for 13s more"),
        ({"waiting": 3}, WARNING, "3 messages not delivered"),
        ({"conntrack": (95, 100)}, WARNING, "conntrack holds 95 of 100"),
    ],
)
def test_states(change: dict[str, Any], state: int, said: str) -> None:
    found, text, _ = judge(replace(WELL, **change), None, None)
    assert (WORDS[found], text[: len(said)]) == (WORDS[state], said)


def test_the_worst_comes_first_and_nothing_is_left_out() -> None:
    state, text, _ = judge(replace(WELL, trial=5.0, alerts={"blind": 1}), None, None)
    assert state == CRITICAL
    assert text == "1 alert of blind: quietgate alerts; a trial runs for 5s more"


@pytest.mark.parametrize(
    ("range_", "quiet", "told"),
    [
        ("10", (0, 10), (-1, 11)),
        ("10:", (10, 1e9), (9,)),
        ("~:10", (-1e9, 10), (11,)),
        ("5:10", (5, 10), (4, 11)),
        ("@5:10", (4, 11), (5, 10)),
    ],
)
def test_ranges_of_the_guidelines(range_: str, quiet: tuple[float, ...], told: tuple[float, ...]) -> None:
    assert not any(Range(range_).alerts(v) for v in quiet)
    assert all(Range(range_).alerts(v) for v in told)


@pytest.mark.parametrize("nonsense", ["", "@", "a", "10:5", "1:2:3", "~", "--", "1e5"])
def test_what_is_no_range(nonsense: str) -> None:
    with pytest.raises(ValueError, match=r"range|begins above"):
        Range(nonsense)


def test_ranges_are_for_the_number_of_bans() -> None:
    assert judge(WELL, Range("3"), Range("10"))[0] == WARNING
    assert judge(WELL, Range("3"), Range("3"))[0] == CRITICAL
    assert judge(WELL, Range("4"), Range("4"))[0] == OK
    assert "'bans'=4;3;~:10;0;" in judge(WELL, Range("3"), Range("~:10"))[2]


def test_the_data_is_what_the_guidelines_read() -> None:
    state, text, data = judge(WELL, Range("~:100"), Range("@5:10"))
    _, _, found = parsed(f"QUIETGATE {WORDS[state]} - {text} | {data}")
    assert found == {"bans": 4, "bans_made": 7, "attempts": 40, "watched": 5, "startups": 3, "ssh_counted": 5, "conntrack": 100}
