"""Lines for the log: as journald and syslog take them, below the root alone, and never in anybody's way."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.host.journal_write import JOURNALD, NOTICE, SYSLOG, Line, Log, native, rfc3164

LINE = Line("banned 203.0.113.9", NOTICE, "0" * 32, {"QUIETGATE_BY": "guard"})


def fields(datagram: bytes) -> dict[str, str]:
    """What journald makes of it (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    found: dict[str, str] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in found, "a field once"
        found[name.decode()] = value.decode()
        datagram = rest
    return found


@contextlib.contextmanager
def listening(root: Path, place: str) -> Iterator[socket.socket]:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        s.setblocking(False)
        yield s


def heard(s: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(s.recv(100_000))
    return found


def test_values_with_line_ends_forge_no_fields() -> None:
    hostile = "x\nPRIORITY=0\n_UID=0\nMESSAGE=Accepted password for root\x00\udcff\u202e"
    found = fields(native(Line("m", NOTICE, "0" * 32, {"QUIETGATE_REASON": hostile})))
    assert found["PRIORITY"] == "5"
    assert found["MESSAGE"] == "m"
    assert "_UID" not in found
    assert found["QUIETGATE_REASON"].startswith("x\nPRIORITY=0\n_UID=0\n")
    assert found["SYSLOG_IDENTIFIER"] == "quietgate"


def test_a_value_is_cut() -> None:
    assert len(native(Line("m", NOTICE, "0" * 32, {"QUIETGATE_REASON": "\n" * 10**6}))) < 6000


def test_syslog_gets_one_line_with_our_name() -> None:
    said = rfc3164(LINE).decode()
    assert said.startswith("<29>")
    head, _, text = said.partition("]: ")
    assert text == "banned 203.0.113.9"
    assert " quietgate[" in head


def test_journald_first_then_syslog(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with listening(tmp_path, SYSLOG) as old:
        log.write([LINE])
        assert len(heard(old)) == 1
        with listening(tmp_path, JOURNALD) as new:
            log.write([LINE])
            assert fields(heard(new)[0])["MESSAGE"] == LINE.message
            assert heard(old) == []
        log.write([LINE])
        assert len(heard(old)) == 1, "a socket that nobody reads any more"
    assert log.dropped == 0


def test_where_there_is_no_log_nothing_happens(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write([LINE] * 3)
    assert log.dropped == 3
    Log(Path("/proc/nothing")).write([LINE])
    Log(tmp_path / ("x" * 200)).write([LINE])


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    """A tree's /dev/log is a link to /run/systemd/journal/dev-log: from outside of the tree that is this host's."""
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    with listening(tmp_path, "outside") as outside:
        (root / SYSLOG).symlink_to(tmp_path / "outside")
        log = Log(root)
        log.write([LINE])
        assert heard(outside) == []
        assert log.dropped == 1
    with listening(root, "run/log") as inside:
        (root / SYSLOG).unlink()
        (root / SYSLOG).symlink_to("../run/log")
        log.write([LINE])
        assert len(heard(inside)) == 1


@pytest.mark.parametrize(("patience", "most"), [(0.0, 5.0), (0.3, 5.0)])
def test_a_log_that_is_behind_holds_nobody_up(tmp_path: Path, patience: float, most: float) -> None:
    """Whoever waits for it without an end waits for ever: nobody reads."""
    with listening(tmp_path, JOURNALD) as s:
        log = Log(tmp_path, patience)
        began = time.monotonic()
        log.write([LINE] * 5000)
        assert time.monotonic() - began < most
        taken = len(heard(s))
        assert 0 < taken < 5000
        assert log.dropped == 5000 - taken, "each is counted"
        log.write([LINE])
        assert len(heard(s)) == 1, "and it goes on"
