"""The journal: only what root's sshd wrote counts, by the fields that journald itself writes."""

from __future__ import annotations

import json

import pytest

from quietgate.host.journal import LONGEST, NAMES, cursor_of, entry

SAID = "Accepted publickey for root from 203.0.113.7 port 50514 ssh2: ED25519 SHA256:x"
GENUINE = {"MESSAGE": SAID, "_UID": "0", "_COMM": "sshd", "_PID": "812", "__REALTIME_TIMESTAMP": "1790000000123456"}


def line(**changed: object) -> bytes:
    """A line as `journalctl -o json` prints it; None takes a field out."""
    return json.dumps({k: v for k, v in {**GENUINE, **changed}.items() if v is not None}).encode()


@pytest.mark.parametrize("name", NAMES)
def test_roots_sshd_is_believed(name: str) -> None:
    found = entry(line(_COMM=name, _TRANSPORT="syslog"))
    assert found is not None
    assert (found.message, found.pid, found.at) == (SAID, 812, 1790000000.123456)


@pytest.mark.parametrize(
    "forged",
    [
        line(_UID="1000"),  # logger -t sshd, by a user
        line(_UID=None),  # over syslog's socket, from a process that was gone already
        line(_UID=0),  # not as journald writes it
        line(_UID="00"),
        line(_UID=["1000", "0"]),  # a field that was given twice
        line(_COMM="logger"),
        line(_COMM="sshd-evil"),
        line(_COMM=None),
        line(_COMM=["sshd", "logger"]),
        line(_COMM="logger", COMM="sshd", SYSLOG_IDENTIFIER="sshd", _UID="0"),  # fields without _ are the sender's
        line(_UID="1000", UID="0"),
        line(_TRANSPORT="stdout"),  # sshd -D -e: a user name with a line end in it makes such an entry
    ],
)
def test_who_pretends_to_be_sshd_is_not(forged: bytes) -> None:
    assert entry(forged) is None


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", line(MESSAGE=None), line(__REALTIME_TIMESTAMP=None), line(__REALTIME_TIMESTAMP="soon"),
     line(_PID="x"), line(MESSAGE=[999]), line(MESSAGE=["a"]), line(_COMM={}), b"[" * 5000, line(__REALTIME_TIMESTAMP="9" * 400)],
)  # fmt: skip
def test_what_cannot_be_read_is_passed_over(broken: bytes) -> None:
    assert entry(broken) is None
    assert cursor_of(broken) is None


def test_bytes_that_are_not_utf8_come_as_numbers() -> None:
    found = entry(line(MESSAGE=[*SAID.encode(), 0xFF]))
    assert found is not None
    assert found.message == SAID + "\N{REPLACEMENT CHARACTER}"


def test_a_long_message_is_cut() -> None:
    found = entry(line(MESSAGE="Accepted " + "x" * 1_000_000))
    assert found is not None
    assert len(found.message) == LONGEST
