"""What --since takes."""

from __future__ import annotations

import datetime
import time

import pytest

from quietgate.errors import InputError
from quietgate.ui.since import parse_since


def local(day: int, hour: int = 0) -> float:
    return time.mktime((2026, 11, day, hour, 0, 0, 0, 0, -1))


NOW = local(27, 4)


def test_lengths_dates_and_times() -> None:
    assert parse_since("12h", NOW) == NOW - 43200
    assert parse_since("1d12h", NOW) == NOW - 129600
    assert parse_since("2026-11-26", NOW) == local(26)
    assert parse_since("2026-11-26 22:00", NOW) == local(26, 22)
    assert parse_since("2026-11-26T22:00:00Z", NOW) == datetime.datetime(2026, 11, 26, 22, tzinfo=datetime.UTC).timestamp()
    assert parse_since("2026-11-26T22:00:00+02:00", NOW) == datetime.datetime(2026, 11, 26, 20, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    "text", ["", "yesterday", "12", "12 h", "-1h", "2026-13-01", "2026-11-26 25:00", "0001-01-01 \x1b[31m", "9" * 5000, "\ud800"]
)
def test_what_is_neither_gets_one_message(text: str) -> None:
    with pytest.raises(InputError, match="is no length of time and no date") as found:
        parse_since(text, NOW)
    assert "12h" in found.value.hint
    assert len(found.value.message) < 700


def test_the_future_is_refused() -> None:
    with pytest.raises(InputError, match="2026-11-28 00:00:00 is in the future"):
        parse_since("2026-11-28", NOW)


def test_the_ends_of_time() -> None:
    assert parse_since("999999999w", NOW) < 0
    with pytest.raises(InputError):
        parse_since("9999-12-31", NOW)
    assert parse_since("0001-01-01T00:00:00+14:00", NOW) < 0
