"""Logins from files that only root writes; whatever else stands there is no login."""

from __future__ import annotations

import ipaddress
import random
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.host.logins import lastlog, lastlog2, remembered, wtmp, wtmpdb
from quietgate.values import Login
from tests.host.records import (
    BOOT_TIME,
    DEAD_PROCESS,
    utmp,
    write_lastlog,
    write_lastlog2,
    write_passwd,
    write_wtmp,
    write_wtmpdb,
)

AT = 1_790_000_000.0
FOUR, SIX = "203.0.113.7", "2001:db8:7::1"


def told(logins: object) -> list[tuple[str, str, float, str]]:
    assert not isinstance(logins, str)
    return [(x.user, str(x.address), x.at, x.witness) for x in logins]  # type: ignore[attr-defined]


# -- wtmp


def test_wtmp_tells_user_address_and_time(tmp_path: Path) -> None:
    path = write_wtmp(tmp_path, utmp("anna", FOUR, AT), utmp("bert", SIX, AT + 1))
    assert told(wtmp(path)) == [("anna", FOUR, AT, "wtmp"), ("bert", SIX, AT + 1, "wtmp")]


def test_only_logins_count_and_only_those_over_the_network(tmp_path: Path) -> None:
    records = [
        utmp("anna", FOUR, AT, kind=DEAD_PROCESS),
        utmp("reboot", "", AT, kind=BOOT_TIME, named="6.1.0-18-amd64"),
        utmp("bert", "", AT, line="tty1"),
        utmp("cleo", "", AT, named=":0"),
        utmp("dora", "", AT, named="laptop.example.net"),  # UseDNS: a name is no address, and is not looked up
    ]
    assert told(wtmp(write_wtmp(tmp_path, *records))) == []


def test_the_packed_address_goes_before_the_name(tmp_path: Path) -> None:
    record = bytearray(utmp("anna", FOUR, AT))
    record[76 : 76 + 256] = b"198.51.100.66".ljust(256, b"\0")  # a PTR record may read like an address
    assert told(wtmp(write_wtmp(tmp_path, bytes(record)))) == [("anna", FOUR, AT, "wtmp")]


def test_a_host_text_that_is_an_address_will_do(tmp_path: Path) -> None:
    records = [
        utmp("anna", "", AT, named=FOUR),
        utmp("bert", "", AT, named="::ffff:203.0.113.9"),
        utmp("cleo", "", AT, named="fe80::1%eth0"),
    ]
    assert [a for _, a, _, _ in told(wtmp(write_wtmp(tmp_path, *records)))] == [FOUR, "203.0.113.9", "fe80::1"]


def test_a_mapped_packed_address_is_ipv4(tmp_path: Path) -> None:
    assert told(wtmp(write_wtmp(tmp_path, utmp("anna", "::ffff:203.0.113.9", AT))))[0][1] == "203.0.113.9"


def test_the_layout_is_the_one_that_util_linux_knows(tmp_path: Path) -> None:
    """The same record made by utmpdump(1), which has the layout from the C library."""
    program = shutil.which("utmpdump")
    if program is None:
        pytest.skip("no utmpdump here")
    line = f"[7] [04242] [ts/0] [anna    ] [pts/0       ] [{FOUR:<20}] [{FOUR:<15}] [2026-09-21T14:13:20,000000+00:00]\n"
    made = subprocess.run([program, "-r"], input=line.encode(), capture_output=True, check=True).stdout
    assert len(made) == 384
    path = write_wtmp(tmp_path, made)
    assert told(wtmp(path)) == [("anna", FOUR, AT, "wtmp")]
    back = subprocess.run([program, str(write_wtmp(tmp_path, utmp("anna", FOUR, AT)))], capture_output=True, check=True, text=True).stdout
    assert "anna" in back
    assert f"[{FOUR}" in back


@pytest.mark.parametrize("content", [b"", b"\0" * 384, b"\xff" * 384, b"x" * 383, b"x" * 385, utmp("anna", FOUR, AT)[:-1], b"text\n" * 200])
def test_what_is_no_wtmp_tells_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wtmp"
    path.write_bytes(content)
    assert told(wtmp(path)) == []


@pytest.mark.parametrize("count", [1, 7, 24, 48])  # 24 records of one are 25 of the other
def test_a_wtmp_with_times_of_64_bits_is_read_too(tmp_path: Path, count: int) -> None:
    path = write_wtmp(tmp_path, *(wide("anna", f"198.51.100.{n + 1}", int(AT) + n) for n in range(count)))
    assert told(wtmp(path)) == [("anna", f"198.51.100.{n + 1}", AT + n, "wtmp") for n in range(count)]


def wide(user: str, address: str, at: int) -> bytes:
    """A record as glibc on aarch64 writes it: 400 bytes."""
    return b"".join((
        struct.pack("<hxxi", 7, 4242), b"pts/0".ljust(32, b"\0"), b"ts/0", user.encode().ljust(32, b"\0"),
        address.encode().ljust(256, b"\0"), struct.pack("<hhqqq", 0, 0, 0, at, 1000 * at % 1_000_000),
        ipaddress.ip_address(address).packed.ljust(16, b"\0"), bytes(24),
    ))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=384 * 3).map(lambda b: b[: len(b) // 384 * 384] or b))
def test_any_bytes_at_all_do_no_harm(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "wtmp"
        path.write_bytes(content)
        assert all(isinstance(x, Login) and x.address.single for x in wtmp(path))


def test_a_missing_file_a_directory_and_one_that_may_not_be_read(tmp_path: Path) -> None:
    assert told(wtmp(tmp_path / "none")) == []
    assert told(wtmp(tmp_path)) == []
    assert told(lastlog(tmp_path / "none", tmp_path / "none")) == []
    assert told(wtmpdb(tmp_path / "none")) == []
    assert told(lastlog2(tmp_path)) == []


# -- lastlog


def test_lastlog_is_read_at_each_users_number(tmp_path: Path) -> None:
    users = write_passwd(tmp_path, {"root": 0, "anna": 1000, "bert": 60_000, "cleo": 1001})
    path = write_lastlog(tmp_path, {0: (FOUR, AT), 1000: ("", AT), 60_000: (SIX, AT + 5)})
    assert told(lastlog(path, users)) == [("root", FOUR, AT, "lastlog"), ("bert", SIX, AT + 5, "lastlog")]


def test_lastlog_is_the_one_that_lastlog_knows(tmp_path: Path) -> None:
    program = shutil.which("lastlog")
    if program is None:
        pytest.skip("no lastlog here")
    write_passwd(tmp_path, {"root": 0, "anna": 1000})
    write_lastlog(tmp_path, {1000: (FOUR, AT)})
    said = subprocess.run([program, "-R", str(tmp_path)], capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip("lastlog -R needs root")
    assert any(line.startswith("anna") and FOUR in line for line in said.stdout.splitlines()), said.stdout


def test_a_lastlog_with_times_of_64_bits_is_read_too(tmp_path: Path) -> None:
    users = write_passwd(tmp_path, {"root": 0, "anna": 1000})
    path = tmp_path / "lastlog"
    record = struct.pack("<q", int(AT)) + b"pts/0".ljust(32, b"\0") + FOUR.encode().ljust(256, b"\0")
    path.write_bytes(bytes(296 * 1000) + record)
    assert told(lastlog(path, users)) == [("anna", FOUR, AT, "lastlog")]


@pytest.mark.parametrize("line", ["broken", "anna:x", "anna:x:notanumber:1::/:", "anna:x:-5:1::/:", "anna:x:99999999999999999999:1::/:"])
def test_a_broken_passwd_does_no_harm(tmp_path: Path, line: str) -> None:
    users = write_passwd(tmp_path, {"root": 0})
    users.write_text(users.read_text() + line + "\nlast:x:7:7::/:\n")
    path = write_lastlog(tmp_path, {0: (FOUR, AT), 7: (SIX, AT)})
    assert ("root", FOUR, AT, "lastlog") in told(lastlog(path, users))
    assert ("last", SIX, AT, "lastlog") in told(lastlog(path, users)), "one bad line does not hide the others"


def test_a_lastlog_that_ends_within_a_record(tmp_path: Path) -> None:
    users = write_passwd(tmp_path, {"root": 0, "anna": 1000})
    path = write_lastlog(tmp_path, {0: (FOUR, AT), 1000: (SIX, AT)})
    path.write_bytes(path.read_bytes()[:-1])
    assert told(lastlog(path, users)) == [("root", FOUR, AT, "lastlog")]


# -- the databases of Debian 13


def test_wtmpdb_counts_in_microseconds(tmp_path: Path) -> None:
    path = write_wtmpdb(tmp_path, [(3, "anna", AT, FOUR), (1, "reboot", AT, None), (3, "bert", AT, None), (3, "cleo", AT + 0.5, SIX)])
    assert sorted(told(wtmpdb(path))) == [("anna", FOUR, AT, "wtmp"), ("cleo", SIX, AT + 0.5, "wtmp")]


def test_lastlog2_counts_in_seconds(tmp_path: Path) -> None:
    path = write_lastlog2(tmp_path, [("anna", AT, FOUR), ("bert", AT, "tower.example.net"), ("cleo", AT, None), ("dora", AT, "")])
    assert told(lastlog2(path)) == [("anna", FOUR, AT, "lastlog")]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 100, b"no database"])
def test_what_is_no_database_tells_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    assert told(wtmpdb(path)) == []
    assert told(lastlog2(path)) == []


def test_a_database_of_another_layout_tells_nothing(tmp_path: Path) -> None:
    assert told(wtmpdb(write_lastlog2(tmp_path, [("anna", AT, FOUR)]))) == []
    assert told(lastlog2(write_wtmpdb(tmp_path, [(3, "anna", AT, FOUR)]))) == []


def test_reading_a_database_writes_nothing_beside_it(tmp_path: Path) -> None:
    path = write_wtmpdb(tmp_path, [(3, "anna", AT, FOUR)])
    before = path.read_bytes()
    told(wtmpdb(path))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


# -- all of them


def test_all_witnesses_below_one_root_and_only_the_recent(tmp_path: Path) -> None:
    write_wtmp(tmp_path, utmp("old", FOUR, AT - 100), name="wtmp.1")
    write_wtmp(tmp_path, utmp("wtmp", FOUR, AT + 1))
    write_passwd(tmp_path, {"lastlog": 1000})
    write_lastlog(tmp_path, {1000: (FOUR, AT + 2)})
    write_wtmpdb(tmp_path, [(3, "wtmpdb", AT + 3, FOUR), (3, "older", AT - 3, FOUR)])
    write_lastlog2(tmp_path, [("lastlog2", AT + 4, FOUR)])
    assert sorted(x.user for x in remembered(tmp_path, AT)) == ["lastlog", "lastlog2", "wtmp", "wtmpdb"]
    assert "old" in [x.user for x in remembered(tmp_path, AT - 200)]


def test_one_broken_witness_does_not_silence_the_others(tmp_path: Path) -> None:
    write_wtmp(tmp_path, b"broken")
    write_wtmpdb(tmp_path, []).write_bytes(random.Random(1).randbytes(4096))
    write_lastlog2(tmp_path, [("anna", AT + 1, FOUR)])
    assert [x.user for x in remembered(tmp_path, AT)] == ["anna"]
