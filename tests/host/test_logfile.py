"""No line is lost or read twice, whatever logrotate does and whenever the reader is stopped."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from quietgate.host import logfile
from quietgate.host.logfile import LONGEST_LINE, LogFile, Place

OLD = time.time() - 7 * 86400


class Writer:
    """A daemon that logs numbered lines, and logrotate beside it. Until `reopen` it writes where it wrote before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[str] = []
        self.reopen()

    def reopen(self) -> None:
        self.file = self.path.open("ab", buffering=0)

    def write(self, count: int = 1) -> None:
        lines = [f"2026-11-24 line {len(self.written) + n} {'x' * (7 * n % 40)}" for n in range(count)]
        self.written += lines
        self.file.write("".join(f"{line}\n" for line in lines).encode())

    def _shift(self, *, pack: bool) -> None:
        for n in range(8, 0, -1):
            for suffix in ("", ".gz"):
                old = self.path.with_name(f"{self.path.name}.{n}{suffix}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.path.name}.{n + 1}{suffix}"))
        second = self.path.with_name(self.path.name + ".2")
        if pack and second.exists():
            with gzip.open(f"{second}.gz", "wb") as packed:
                packed.write(second.read_bytes())
            second.unlink()

    def rotate(self, *, pack: bool = True) -> None:
        """As with "create" and "delaycompress": the daemon is told later."""
        self._shift(pack=pack)
        self.path.rename(self.path.with_name(self.path.name + ".1"))
        self.path.touch()

    def copytruncate(self, *, pack: bool = True) -> None:
        self._shift(pack=pack)
        shutil.copy(self.path, self.path.with_name(self.path.name + ".1"))
        os.truncate(self.path, 0)


class Reader:
    """The file's reader; `again` is what a restart makes of the place that was stored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place: str | None = None
        self.seen: list[str] = []
        self.file = LogFile(path, None, 0.0)

    def read(self, most: int = 1 << 30) -> None:
        """Read; stop after `most` blocks, as if killed in the middle."""
        with contextlib.closing(self.file.read()) as blocks:  # type: ignore[type-var]
            for block in blocks:
                assert block.text.endswith("\n"), "only whole lines"
                self.seen += block.text.splitlines()
                self.place = block.place.text()
                most -= 1
                if not most:
                    break

    def again(self) -> None:
        self.file.close()
        self.file = LogFile(self.path, Place.of(self.place), None if self.place else 0.0)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Writer, Reader]:
    path = tmp_path / "auth.log"
    return Writer(path), Reader(path)


def test_it_grows(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    for _ in range(5):
        writer.write(3)
        reader.read()
        assert reader.seen == writer.written
    reader.read()
    assert reader.seen == writer.written


def test_a_line_without_an_end_waits_for_it(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    for part in (b"Failed passw", b"ord for x", b" from 203.0.113.9\nnext", b" one\n"):
        writer.file.write(part)
        reader.read()
        reader.again()
    assert reader.seen == ["Failed password for x from 203.0.113.9", "next one"]


def test_a_rename_while_the_writer_goes_on_in_the_old_file(pair: tuple[Writer, Reader]) -> None:
    """Between the rename and the signal a daemon writes where it wrote before; the new file is there, and empty."""
    writer, reader = pair
    writer.write(3)
    reader.read()
    writer.rotate()
    reader.read()
    writer.write(3)
    reader.read()
    writer.write(1)
    writer.reopen()
    writer.write(2)
    reader.read()
    assert reader.seen == writer.written


def test_two_rotations_between_two_looks(pair: tuple[Writer, Reader]) -> None:
    for way in ("rotate", "copytruncate"):
        writer, reader = pair
        writer.write(3)
        reader.read()
        for _ in range(3):
            writer.write(3)
            getattr(writer, way)()
            writer.reopen()
        writer.write(1)
        reader.read()
        assert reader.seen == writer.written, way


@pytest.mark.parametrize("longer", [False, True])
def test_copytruncate_also_when_the_new_file_is_already_longer(pair: tuple[Writer, Reader], longer: bool) -> None:
    writer, reader = pair
    writer.write(20)
    reader.read()
    writer.write(5)
    writer.copytruncate()
    writer.write(200 if longer else 1)
    reader.read()
    assert reader.seen == writer.written


def test_a_file_that_was_emptied_begins_anew(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    writer.write(20)
    reader.read()
    os.truncate(writer.path, 0)
    reader.read()
    writer.write(2)
    reader.read()
    assert reader.seen == writer.written


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Writes, rotations of one kind, late writes, kills after any block, restarts: each line once, in order."""
    monkeypatch.setattr(logfile, "BLOCK", 97)
    dice = random.Random(seed)
    writer, reader = Writer(tmp_path / "auth.log"), Reader(tmp_path / "auth.log")
    way = dice.choice(("rotate", "copytruncate"))
    asleep = False  # the writer was not told of the rotation
    for _ in range(60):
        do = dice.choice(("write", "write", "write", "read", "read", "kill", "restart", "rotate"))
        if do == "write":
            writer.write(dice.randrange(1, 12))
        elif do == "read":
            reader.read()
        elif do == "kill":
            reader.read(dice.randrange(1, 6))
            reader.again()
        elif do == "restart":
            reader.again()
        elif asleep:
            writer.reopen()
            asleep = False
        elif writer.written and writer.path.stat().st_size and len(list(tmp_path.iterdir())) < 8:
            getattr(writer, way)(pack=dice.random() < 0.7)
            asleep = way == "rotate"
    writer.reopen()
    writer.write(1)
    reader.read()
    assert reader.seen == writer.written


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.open), (".xz", lzma.open), (".bz2", bz2.open)])
@pytest.mark.parametrize("names", [("auth.log.2", "auth.log.1"), ("auth.log-20261122", "auth.log-20261123")])
def test_compressed_predecessors_are_read_at_a_first_start_and_after_one(
    tmp_path: Path, suffix: str, pack: object, names: tuple[str, str]
) -> None:
    for name, text in zip(names, ("one\ntwo\n", "three\nfour\n"), strict=True):
        with pack(tmp_path / (name + suffix), "wb") as file:  # type: ignore[operator]
            file.write(text.encode())
    path = tmp_path / "auth.log"
    path.write_text("five\n")
    reader = Reader(path)
    reader.read(1)
    assert reader.seen == ["one", "two"]
    reader.again()  # killed between two files
    reader.read()
    assert reader.seen == ["one", "two", "three", "four", "five"]


def test_what_is_too_old_is_left_out_at_a_first_start(tmp_path: Path) -> None:
    for name, age in (("auth.log.1", 3600), ("auth.log.2", 86400 * 3)):
        (tmp_path / name).write_text(f"{name}\n")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "auth.log").write_text("now\n")
    (tmp_path / "auth.log.bak").write_text("no\n")
    (tmp_path / "auth.log.1.swp").write_text("no\n")
    file = LogFile(tmp_path / "auth.log", None, time.time() - 86400)
    assert [line for b in file.read() for line in b.text.splitlines()] == ["auth.log.1", "now"]


@pytest.mark.parametrize("content", [b"", b"no archive at all", gzip.compress(b"x\n" * 100000)[:-20], b"\x1f\x8b\x08\x00" + b"\xff" * 50])
def test_a_broken_archive_stops_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "auth.log.1.gz").write_bytes(content)
    (tmp_path / "auth.log.2.xz").write_bytes(content)
    (tmp_path / "auth.log.3").mkdir()
    (tmp_path / "auth.log").write_text("now\n")
    file = LogFile(tmp_path / "auth.log", None, 0.0)
    assert [b.text for b in file.read()][-1] == "now\n"


def test_an_inode_that_is_used_again_is_another_file(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    writer.write(5)
    reader.read()
    place = Place.of(reader.place)
    assert place is not None
    writer.path.write_text("another file, and longer than what was read before of the one that had this number\n" * 5)
    reader.seen.clear()
    reader.place = Place(place.device, writer.path.stat().st_ino, place.offset, place.head, place.print).text()
    reader.again()
    reader.read()
    assert len(reader.seen) == 5


def test_a_copy_from_a_backup_has_another_inode(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    writer.write(30)
    reader.read()
    text = writer.path.read_bytes()
    writer.path.unlink()
    Path(f"{writer.path}.holds.the.inode").touch()
    writer.path.write_bytes(text)
    writer.reopen()
    writer.write(1)
    reader.again()
    reader.read()
    assert reader.seen == writer.written


def test_the_rest_of_a_line_that_is_too_long_is_no_line(pair: tuple[Writer, Reader]) -> None:
    """What follows the first bytes could be anything; taken as a line it would be a forged one."""
    writer, reader = pair
    writer.write(1)
    for _ in range(3):
        writer.file.write(b"y" * LONGEST_LINE)
        reader.read()
        reader.again()
    writer.file.write(b"2026-11-24T18:00:00Z host sshd[1]: Accepted password for root from 198.51.100.66 port 1 ssh2\n")
    writer.write(2)
    reader.read()
    assert reader.seen == writer.written
    assert reader.file.skipped > 3 * LONGEST_LINE


def test_what_was_cut_off_by_a_rotation_is_no_line(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    writer.write(1)
    writer.file.write(b"Failed password for invalid user x from 198.51.100.66 port 22 ssh2")  # the disk was full
    reader.read()
    writer.rotate()
    writer.reopen()
    writer.write(1)
    reader.read()
    assert reader.seen == writer.written


@pytest.mark.parametrize("text", [None, "", "{", "[]", "7", '{"device": 1}', '{"device":1,"inode":2,"offset":-3,"head":0,"print":""}',
                                  '{"device":1,"inode":2,"offset":3,"head":99999999999,"print":""}', '{"device":null,"inode":2,"offset":3,"head":0,"print":""}', "[" * 9999])  # fmt: skip
def test_a_place_that_cannot_be_read_is_none(text: str | None) -> None:
    assert Place.of(text) is None


def test_a_place_survives_the_store() -> None:
    place = Place(1, 2, 3, 4, "ab")
    assert Place.of(place.text()) == place


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(OSError, match=r"regular|directory"):
            list(LogFile(path, None, 0.0).read())
    assert list(LogFile(tmp_path / "none", None, 0.0).read()) == []


def test_live_is_what_came_while_looking(pair: tuple[Writer, Reader]) -> None:
    writer, reader = pair
    writer.write(1)
    assert [b.live for b in reader.file.read()] == [False]
    writer.write(1)
    assert [b.live for b in reader.file.read()] == [True]


def test_at_the_end_without_a_place(pair: tuple[Writer, Reader]) -> None:
    writer, _ = pair
    writer.write(5)
    file = LogFile(writer.path, None)
    assert list(file.read()) == []
    writer.write(1)
    assert [b.text for b in file.read()] == [f"{writer.written[-1]}\n"]


def test_a_burst_of_two_million_lines(tmp_path: Path) -> None:
    """Handed out in blocks: nothing grows with the burst."""
    path = tmp_path / "auth.log"
    with path.open("w") as file:
        for n in range(200):
            file.write("".join(f"{n * 10_000 + m:08d} Failed password for root from 203.0.113.9\n" for m in range(10_000)))
    expected, longest = 0, 0
    for block in LogFile(path, None, 0.0).read():
        assert block.text[:8] == f"{expected:08d}"
        expected += block.text.count("\n")
        longest = max(longest, len(block.text))
    assert expected == 2_000_000
    assert longest < 2 * logfile.BLOCK
