"""Whose line it is and when it was written is told by its header, and by nothing else in it."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.sshlog.lines import Reader, Stamps, read, read_numbered
from quietgate.sshlog.unread import Why

SAID = "Failed password for root from 203.0.113.9 port 40000 ssh2"


def wall(text: str) -> float:
    """A local moment, as wall seconds."""
    return datetime.datetime.fromisoformat(text).timestamp()


NOW = wall("2026-11-24T18:00:00")


def times(header: str, now: float = NOW) -> list[tuple[float, int]]:
    """When, and of which process, this line is."""
    return [(e.at, e.pid) for e in read(f"{header}{SAID}\n", Stamps(now))]


@pytest.mark.parametrize(
    ("header", "at"),
    [("Nov 24 17:00:00 host sshd[7]: ", "2026-11-24T17:00:00"), ("Nov  4 17:00:00 host sshd[7]: ", "2026-11-04T17:00:00"),
     ("<38>Nov 24 17:00:00 host sshd-session[7]: ", "2026-11-24T17:00:00"), ("2026-11-24T17:00:00 host sshd-auth[7]: ", "2026-11-24T17:00:00"),
     ("2026-11-24T17:00:00.250000+01:00 host sshd[7]: ", "2026-11-24T17:00:00.25+01:00"), ("2026-11-24T17:00:00Z host sshd[7]: ", "2026-11-24T17:00:00+00:00"),
     ("2026-11-24T17:00:00-0930 host sshd[7]: ", "2026-11-24T17:00:00-09:30"), ("1 2026-11-24T17:00:00Z host sshd 7 - - ", "2026-11-24T17:00:00+00:00"),
     ('<86>1 2026-11-24T17:00:00.5+05:30 host sshd-session 7 ID1 [a b="c d"] ', "2026-11-24T17:00:00.5+05:30"),
     ("<86>1 2026-11-24T17:00:00Z host sshd 7 - - \ufeff", "2026-11-24T17:00:00+00:00"), ("Nov 24 17:00:00 2001:db8::1 sshd[7]: ", "2026-11-24T17:00:00")],
)  # fmt: skip
def test_headers_that_are_read(header: str, at: str) -> None:
    assert times(header) == [(wall(at), 7)]


@pytest.mark.parametrize(
    "header",
    ["", "sshd[7]: ", "host sshd[7]: ", "Nov 24 17:00:00 host sshd[7] ", "Nov 24 17:00:00 host sshd[]: ",
     "Nov 24 17:00:00 host sshd[x]: ", "Nov 24 17:00:00 host xsshd[7]: ", "Nov 24 17:00:00 host sshd-evil[7]: ", "Nov 24 17:00:00 host cron[1]: sshd[7]: ",
     "Nov 24 17:00:00 cron: sshd[7]: ", " Nov 24 17:00:00 host sshd[7]: ", "nov 24 17:00:00 host sshd[7]: ",
     "2026-11-24T17:00:00\n host sshd[7]: ", "<38>1 2026-11-24T17:00:00Z host cron 1 - - sshd[7]: ",
     "2 2026-11-24T17:00:00Z host sshd 7 - - ", "1 2026-11-24T17:00:00Z host sshd 7 - [a\nb] ", "Nov 24 17:00:00 host sshd[\u0667]: ", "Nov 24 17:00:00 host sshd[12345678901]: "],
)  # fmt: skip
def test_headers_that_are_not(header: str) -> None:
    assert times(header) == []


@pytest.mark.parametrize(
    ("now", "stamp", "at"),
    [("2027-01-01T00:00:05", "Dec 31 23:59:58", "2026-12-31T23:59:58"), ("2026-12-31T23:59:58", "Jan  1 00:00:01", "2027-01-01T00:00:01"),
     ("2026-12-31T12:00:00", "Jan  1 12:00:01", "2026-01-01T12:00:01"), ("2026-06-01T00:00:00", "Dec 31 00:00:00", "2025-12-31T00:00:00"),
     ("2027-03-01T00:00:00", "Feb 29 12:00:00", "2024-02-29T12:00:00"), ("2028-03-01T00:00:00", "Feb 29 12:00:00", "2028-02-29T12:00:00"),
     ("2027-01-01T00:00:05", "Dec 31 23:59:60", "2026-12-31T23:59:59")],
)  # fmt: skip
def test_the_year_is_the_last_that_is_not_in_the_future(now: str, stamp: str, at: str) -> None:
    assert times(f"{stamp} host sshd[7]: ", wall(now)) == [(wall(at), 7)]


def test_a_year_ends_in_the_middle_of_a_block() -> None:
    stamps = Stamps(wall("2027-01-01T00:00:10"))
    block = "".join(f"{stamp} host sshd[7]: {SAID}\n" for stamp in ("Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:59"))
    at = [e.at for e in read(block, stamps)]
    assert at == [wall("2026-12-31T23:59:59"), wall("2027-01-01T00:00:00"), wall("2026-12-31T23:59:59")]


@pytest.mark.parametrize("stamp", ["Nov 31 17:00:00", "Xxx 24 17:00:00", "Nov  0 17:00:00", "Nov 24 25:00:00", "2026-13-24T17:00:00Z", "9999-99-99T99:99:99",
                                   "2026-11-24T17:00:00+99:99", "0001-01-01T00:00:00"])  # fmt: skip
def test_what_is_no_date_is_not_taken_for_now(stamp: str) -> None:
    reader = Reader(Stamps(NOW))
    assert reader.read(f"{stamp} host sshd[7]: {SAID}\n") == []
    assert reader.unread.forms == 1


@pytest.mark.parametrize(
    "stamp",
    ["Dez 27 17:00:00", "d\u00e9c. 27 17:00:00", "M\u00e4r 27 17:00:00", "ene 27 17:00:00", "11\u6708 24 17:00:00", "sie 02 17:38:21"],
)
def test_months_of_other_languages_are_refused_by_name(stamp: str) -> None:
    reader = Reader(Stamps(NOW))
    assert reader.read(f"{stamp} host sshd[7]: {SAID}\n") == []
    assert reader.unread.counts == {Why.MONTH: 1}


def test_stamps_that_are_remembered_are_bounded() -> None:
    stamps = Stamps(NOW)
    for n in range(10_000):
        stamps.read(f"2026-11-24T17:00:00.{n:06d}Z")
    assert len(stamps._memory) <= 4097


def test_lines_are_numbered_as_an_editor_does() -> None:
    block = f"other\n\nNov 24 17:00:00 host sshd[1]: {SAID}\nNov 24 17:00:00 host cron[1]: x\nNov 24 17:00:00 host sshd[2]: {SAID}\n"
    assert [(e.number, e.pid) for e in read_numbered(block, Stamps(NOW))] == [(3, 1), (5, 2)]
    assert [(e.number, e.pid) for e in read_numbered(block, Stamps(NOW), 101)] == [(103, 1), (105, 2)]


@given(st.text(max_size=200), st.text(max_size=30))
def test_no_text_before_or_behind_makes_it_raise(block: str, stamp: str) -> None:
    list(read(block, Stamps(NOW)))
    list(read(f"Nov 24 17:00:00 host sshd[7]: {block}\n", Stamps(NOW)))
    Stamps(NOW).read(stamp)


def test_both_readers_say_the_same() -> None:
    block = "".join(f"Nov 24 17:00:{n % 60:02d} host sshd[{n}]: {SAID}\n" + "x\n" * (n % 3) for n in range(500))
    assert [e._replace(number=0) for e in read_numbered(block, Stamps(NOW))] == list(read(block, Stamps(NOW)))


def account(*lines: tuple[int, str]) -> list[str]:
    block = "".join(f"Nov 24 17:00:00 host sshd[{pid}]: {message}\n" for pid, message in lines)
    return [e.said.kind.value for e in read(block, Stamps(NOW))]


def test_a_refused_account_excuses_the_guess_before_it_and_no_other() -> None:
    wrong = SAID
    denied = "fatal: Access denied for user root by PAM account configuration [preauth]"
    over = "pam_unix(sshd:account): account root has expired (account expired)"
    assert account((1, wrong), (1, denied)) == ["step", "step"]
    assert account((1, wrong), (1, wrong), (1, denied)) == ["failed", "step", "step"]
    assert account((1, wrong), (2, wrong), (1, denied)) == ["step", "failed", "step"]
    # PAM says it before: then the connection knows, and nothing that was guessed before is hidden.
    assert account((1, wrong), (1, over), (1, wrong), (1, denied)) == ["failed", "account-refused", "failed", "account-refused"]
