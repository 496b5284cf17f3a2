"""Durations, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.clock import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1d", 86400), ("2w", 1209600), ("0s", 0), ("1m1m", 120), ("400d", 34560000)],
)
def test_reads(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "1.5h", "-1s", "1 s", "1S", "1y", "90s ", " 90s", "1h,1m", "9999999999s", "1s\n"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_writes_what_it_reads(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "1m30s"), (3600, "1h"), (86400, "1d"), (604800, "7d"), (0, "0s"), (-5, "0s"), (0.2, "1s"), (59.5, "1m")]
)
def test_writes_the_shortest_and_never_too_little(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
