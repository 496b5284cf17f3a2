"""Headers of every kind, and lines of others that only look like sshd's."""

from __future__ import annotations

import datetime

import pytest

from quietgate.guard.record import Stamps, read, read_numbered

MESSAGE = "Failed password for root from 203.0.113.9 port 5 ssh2"
NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC).timestamp()


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def when(line: str, now: float = NOW) -> str | None:
    """The UTC time of the line's event; None if there is no event in it."""
    found = list(read(line + "\n", Stamps(now)))
    return datetime.datetime.fromtimestamp(found[0].at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S") if found else None


@pytest.mark.parametrize(("header", "at"), [
    ("Nov 24 11:00:00 host sshd[77]: ", "2026-11-24 11:00:00"),
    ("Nov  4 11:00:00 host sshd[77]: ", "2026-11-04 11:00:00"),
    ("Nov 24 11:00:00 host sshd-session[77]: ", "2026-11-24 11:00:00"),
    ("Nov 24 11:00:00 host sshd-auth[77]: ", "2026-11-24 11:00:00"),
    ("2026-11-24T11:00:00+00:00 host sshd[77]: ", "2026-11-24 11:00:00"),
    ("2026-11-24T12:00:00.123456+01:00 host sshd[77]: ", "2026-11-24 11:00:00"),
    ("2026-11-24T11:00:00Z host sshd[77]: ", "2026-11-24 11:00:00"),
    ("<86>1 2026-11-24T11:00:00Z host sshd 77 - - ", "2026-11-24 11:00:00"),
    ('<86>1 2026-11-24T11:00:00.5-05:00 host sshd 77 - [x@1 a="b"] ', "2026-11-24 16:00:00"),
])  # fmt: skip
def test_a_header_tells_when_and_who(header: str, at: str) -> None:
    assert when(header + MESSAGE) == at
    (event,) = read(header + MESSAGE + "\n", Stamps(NOW))
    assert event.pid == 77


@pytest.mark.parametrize("line", [
    f"Nov 24 11:00:00 host logger: sshd[77]: {MESSAGE}",
    f"Nov 24 11:00:00 host app[5]: Nov 24 11:00:00 host sshd[77]: {MESSAGE}",
    f"Nov 24 11:00:00 host mysshd[77]: {MESSAGE}",
    f"Nov 24 11:00:00 host sshd: {MESSAGE}",
    f" Nov 24 11:00:00 host sshd[77]: {MESSAGE}",
    f"sshd[77]: {MESSAGE}",
    f"{MESSAGE}",
    f"Nov 24 11:00:00 host sshd[77] {MESSAGE}",
])  # fmt: skip
def test_lines_of_others_are_passed_over(line: str) -> None:
    assert when(line) is None


def test_across_a_year_s_end_without_a_year() -> None:
    new_year = datetime.datetime(2027, 1, 1, 0, 5, tzinfo=datetime.UTC).timestamp()
    assert when(f"Dec 31 23:59:59 h sshd[1]: {MESSAGE}", new_year) == "2026-12-31 23:59:59"
    assert when(f"Jan  1 00:04:00 h sshd[1]: {MESSAGE}", new_year) == "2027-01-01 00:04:00"
    assert when(f"Jan  1 00:30:00 h sshd[1]: {MESSAGE}", new_year - 600) == "2027-01-01 00:30:00", "a clock a little ahead"


def test_the_29th_of_february_is_of_a_year_that_had_it() -> None:
    assert when(f"Feb 29 10:00:00 h sshd[1]: {MESSAGE}") == "2024-02-29 10:00:00"


def test_a_stamp_that_is_none_is_now() -> None:
    for stamp in ("Nov 99 11:00:00", "Xyz 24 11:00:00", "2026-99-24T11:00:00Z"):
        assert when(f"{stamp} h sshd[1]: {MESSAGE}") in ("2026-11-24 12:00:00", None)


def test_numbers_are_those_of_the_input() -> None:
    text = f"other\nNov 24 11:00:00 h sshd[1]: {MESSAGE}\n\nNov 24 11:00:00 h cron[1]: x\nNov 24 11:00:00 h sshd[1]: {MESSAGE}\n"
    assert [e.number for e in read_numbered(text, Stamps(NOW))] == [2, 5]
