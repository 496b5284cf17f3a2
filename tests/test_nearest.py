"""A suggestion is near, or there is none."""

from __future__ import annotations

import pytest

from quietgate.nearest import distance, nearest

COMMANDS = ("ban", "unban", "bans", "boot", "status", "up", "check", "alerts", "report")


@pytest.mark.parametrize(("word", "found"), [
    ("statsu", "status"), ("stat", "status"), ("chek", "check"), ("alert", "alerts"), ("unbn", "unban"), ("STATUS", "status"), ("bna", "ban"),
    ("block", None), ("list", None), ("xyzzy", None), ("upp", None), ("", None), ("-", None), ("a" * 10_000, None),
    ("bas", None),  # ban and bans are as near
])  # fmt: skip
def test_the_nearest_word(word: str, found: str | None) -> None:
    assert nearest(word, COMMANDS) == found


@pytest.mark.parametrize(
    ("a", "b", "slips"),
    [("", "", 0), ("ab", "ba", 1), ("ab", "abc", 1), ("abc", "axc", 1), ("status", "statsu", 1), ("kitten", "sitting", 3)],
)
def test_slips(a: str, b: str, slips: int) -> None:
    assert distance(a, b) == distance(b, a) == slips
