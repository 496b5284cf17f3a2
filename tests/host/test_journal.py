"""The journal: only what sshd's program wrote in sshd's unit counts, by the fields that journald itself writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quietgate.host.journal import LONGEST, cursor_of, entry, follow_words, own
from quietgate.host.sshd_units import USUAL_PROGRAMS, Writers

SAID = "Accepted publickey for root from 203.0.113.7 port 50514 ssh2: ED25519 SHA256:x"
GENUINE = {"MESSAGE": SAID, "_UID": "0", "_COMM": "sshd", "_EXE": "/usr/sbin/sshd", "_SYSTEMD_UNIT": "ssh.service", "_PID": "812",
           "__REALTIME_TIMESTAMP": "1790000000123456"}  # fmt: skip
WRITERS = Writers(frozenset({"ssh.service"}), frozenset(USUAL_PROGRAMS))


def line(**changed: object) -> bytes:
    """A line as `journalctl -o json` prints it; None takes a field out."""
    return json.dumps({k: v for k, v in {**GENUINE, **changed}.items() if v is not None}).encode()


@pytest.mark.parametrize(
    "changed",
    [{}, {"_EXE": "/usr/lib/openssh/sshd-session", "_COMM": "sshd-session"}, {"_EXE": "/usr/lib/openssh/sshd-auth"}, {"_COMM": None},
     {"_SYSTEMD_UNIT": "ssh@7-198.18.0.1:22-198.18.0.2:4242.service"}],
)  # fmt: skip
def test_sshd_in_its_unit_is_believed(changed: dict[str, object]) -> None:
    found = entry(line(**changed, _TRANSPORT="syslog"), WRITERS)
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
        line(_EXE="/usr/bin/logger"),  # through a link of the name sshd
        line(_EXE="/tmp/usr/sbin/sshd"),
        line(_EXE="/home/u/sshd"),
        line(_EXE=None),  # a process that was gone before journald looked
        line(_EXE=["/usr/sbin/sshd", "/usr/bin/logger"]),
        line(_EXE=None, EXE="/usr/sbin/sshd", SYSLOG_IDENTIFIER="sshd"),  # fields without _ are the sender's
        line(_SYSTEMD_UNIT="docker-4f2a.scope"),
        line(_SYSTEMD_UNIT="session-3.scope"),  # an sshd that somebody runs who is logged in
        line(_SYSTEMD_UNIT="user@1000.service", _SYSTEMD_USER_UNIT="ssh.service"),
        line(_SYSTEMD_UNIT="ssh.service.evil.service"),
        line(_SYSTEMD_UNIT="cron.service"),
        line(_SYSTEMD_UNIT=None),
        line(_SYSTEMD_UNIT=["ssh.service"]),
        line(_UID="1000", UID="0"),
        line(_TRANSPORT="stdout"),  # sshd -D -e: a user name with a line end in it makes such an entry
    ],
)
def test_who_pretends_to_be_sshd_is_not(forged: bytes) -> None:
    assert entry(forged, WRITERS) is None


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", line(MESSAGE=None), line(__REALTIME_TIMESTAMP=None), line(__REALTIME_TIMESTAMP="soon"),
     line(_PID="x"), line(MESSAGE=[999]), line(MESSAGE=["a"]), line(_EXE={}), line(_SYSTEMD_UNIT={}), b"[" * 5000, line(__REALTIME_TIMESTAMP="9" * 400)],
)  # fmt: skip
def test_what_cannot_be_read_is_passed_over(broken: bytes) -> None:
    assert entry(broken, WRITERS) is None
    assert cursor_of(broken) is None


def test_bytes_that_are_not_utf8_come_as_numbers() -> None:
    found = entry(line(MESSAGE=[*SAID.encode(), 0xFF]), WRITERS)
    assert found is not None
    assert found.message == SAID + "\N{REPLACEMENT CHARACTER}"


def test_a_long_message_is_cut() -> None:
    found = entry(line(MESSAGE="Accepted " + "x" * 1_000_000), WRITERS)
    assert found is not None
    assert len(found.message) == LONGEST


def test_where_sshd_runs_outside_any_unit_its_name_and_number_are_all_there_is() -> None:
    assert entry(line(_SYSTEMD_UNIT=None, _EXE=None), None) is not None
    assert entry(line(_UID="1000"), None) is None
    assert entry(line(_COMM="logger"), None) is None
    assert entry(line(_TRANSPORT="stdout"), None) is None


def test_only_this_machines_own_journal_is_read(tmp_path: Path) -> None:
    """Beside it lie those of containers (linked there) and of other hosts (remote), which say of themselves what they like."""
    mine, theirs = "a" * 32, "b" * 32
    assert own(mine, tmp_path) is None
    for place in (f"run/log/journal/{mine}", f"var/log/journal/{theirs}", "var/log/journal/remote"):
        (tmp_path / place).mkdir(parents=True)
    assert own(mine, tmp_path) == tmp_path / "run/log/journal" / mine
    (tmp_path / "var/log/journal" / mine).mkdir()
    assert own(mine, tmp_path) == tmp_path / "var/log/journal" / mine, "the lasting one"
    assert own("", tmp_path) is None
    words = follow_words(None, 0.0, tmp_path / "x", WRITERS)
    assert words is not None
    assert f"--directory={tmp_path / 'x'}" in words
    assert {"_UID=0", "_EXE=/usr/sbin/sshd"} <= set(words)
