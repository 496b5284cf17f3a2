"""A log file that is read as it grows, over rotations of every kind, never the same line twice.

rename       the old file is read to its end through its open descriptor, then the new one from its beginning
copytruncate the file is shorter than what was read, or begins with other bytes: what the copy (FILE.1) holds beyond our
             place is read first, then the file anew
restart      the place is device, inode and offset, with a fingerprint of the file's first bytes: inodes are used again.
             A file that was rotated meanwhile is found by them among its successors

Lines are handed out whole. One without an end waits for it; one without an end in sight is thrown away, and counted.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16  # bytes of one read: about 600 lines, a few milliseconds of work
LONGEST_LINE = 1 << 16
FINGERPRINT = 256
MOST_OLD = 64 << 20  # bytes of predecessors that a first start reads


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was read. `head` bytes of its beginning have the digest `print`."""

    device: int
    inode: int
    offset: int
    head: int = 0
    print: str = ""

    def text(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str | None) -> Place | None:
        """From the store; None for nothing, or nothing that can be read."""
        try:
            return cls(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, and the place after them. `live`: they came while we were looking, not from before."""

    text: str
    place: Place
    live: bool


class LogFile:
    """One path. `read` hands out what is new; call it whenever the file may have changed."""

    def __init__(self, path: Path, place: Place | None, back: float | None = None) -> None:
        """`place`: where to go on. Without one it begins with what was written after wall second `back` (None: at the end)."""
        self.path = path
        self.skipped = 0  # bytes of lines without an end
        self._file: BinaryIO | None = None
        self._place = Place(0, 0, 0)
        self._rest = b""
        self._live = False
        self._before: list[tuple[Path, int]] = self._predecessors(place, back)
        if place is None and back is None:
            self._open()
            if self._file is not None:
                end = os.fstat(self._file.fileno()).st_size
                self._seek(end)
        elif place is not None and self._matches(path, place):
            self._open(place.offset)

    def read(self) -> Iterator[Block]:
        """Every block of whole lines there is now. Raises OSError when the file cannot be read (missing is no error)."""
        while self._before:
            path, offset = self._before.pop(0)
            yield from self._old(path, offset)
        if self._file is None:
            self._open()
        while self._file is not None:
            yield from self._rest_of_file()
            if not self._moved_on():
                break
        self._live = True

    def close(self) -> None:
        """Let it go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def inode(self) -> int:
        """Of the file that is open; 0 for none."""
        return self._place.inode if self._file is not None else 0

    def _rest_of_file(self) -> Iterator[Block]:
        assert self._file is not None
        if self._truncated():
            yield from self._copied()
            self._rest = b""
            self._seek(0)
        while chunk := self._file.read(BLOCK):
            data = self._rest + chunk
            end = data.rfind(b"\n") + 1
            self._rest = data[end:]
            if len(self._rest) > LONGEST_LINE:
                self.skipped += len(self._rest)
                self._rest = b""
            offset = self._file.tell() - len(self._rest)
            if end:
                self._place = self._fingerprinted(offset)
                yield Block(data[:end].decode("utf-8", "replace"), self._place, self._live)

    def _fingerprinted(self, offset: int) -> Place:
        assert self._file is not None
        place = self._place
        if place.head < FINGERPRINT:
            head = os.pread(self._file.fileno(), min(FINGERPRINT, offset), 0)
            return Place(place.device, place.inode, offset, len(head), _digest(head))
        return Place(place.device, place.inode, offset, place.head, place.print)

    def _open(self, offset: int = 0) -> None:
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        about = os.fstat(file.fileno())
        self._file = file
        self._place = Place(about.st_dev, about.st_ino, 0)
        self._rest = b""
        self._seek(offset)

    def _seek(self, offset: int) -> None:
        assert self._file is not None
        self._file.seek(offset)
        self._place = Place(self._place.device, self._place.inode, offset)
        self._place = self._fingerprinted(offset)

    def _truncated(self) -> bool:
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        if size < self._place.offset + len(self._rest):
            return True
        place = self._place
        return bool(place.head) and _digest(os.pread(self._file.fileno(), place.head, 0)) != place.print

    def _copied(self) -> Iterator[Block]:
        """What logrotate's copy holds beyond our place."""
        copy = self.path.with_name(self.path.name + ".1")
        if self._matches(copy, self._place, same_file=False):
            yield from self._old(copy, self._place.offset)

    def _moved_on(self) -> bool:
        """True after a switch to the file that has the path now: ours was renamed, and has been read to its end."""
        try:
            about = self.path.stat()
        except OSError:
            return False
        if (about.st_dev, about.st_ino) == (self._place.device, self._place.inode):
            return False
        self.close()
        self._open()
        return self._file is not None

    def _predecessors(self, place: Place | None, back: float | None) -> list[tuple[Path, int]]:
        """Older files to read first: from where we stopped, or, at a first start, as far back as was asked."""
        older = [self.path.with_name(self.path.name + suffix) for suffix in (".1", ".1.gz", ".2", ".2.gz", ".3", ".3.gz", ".4.gz")]
        older = [p for p in older if p.exists()]
        if place is not None:
            if self._matches(self.path, place):
                return []
            for index, path in enumerate(older):
                if self._matches(path, place, same_file=path.suffix != ".gz" and path.stat().st_ino == place.inode):
                    return [(path, place.offset), *((p, 0) for p in reversed(older[:index]))]
            return []
        if back is None:
            return []
        recent: list[tuple[Path, int]] = []
        room = MOST_OLD
        for path in older:
            about = path.stat()
            room -= about.st_size * (10 if path.suffix == ".gz" else 1)
            if about.st_mtime < back or room < 0:
                break
            recent.insert(0, (path, 0))
        return recent

    @staticmethod
    def _matches(path: Path, place: Place, *, same_file: bool = True) -> bool:
        try:
            with _opened(path) as file:
                if same_file:
                    about = path.stat()
                    if about.st_ino != place.inode or about.st_size < place.offset:
                        return False
                return _digest(file.read(place.head)) == place.print if place.head else same_file
        except OSError:
            return False

    def _old(self, path: Path, offset: int) -> Iterator[Block]:
        """A file that no longer grows."""
        with contextlib.suppress(FileNotFoundError, EOFError), _opened(path) as file:
            file.seek(offset)
            rest = b""
            while chunk := file.read(BLOCK):
                data = rest + chunk
                end = data.rfind(b"\n") + 1
                rest = data[end:] if len(data) - end <= LONGEST_LINE else b""
                if end:
                    yield Block(data[:end].decode("utf-8", "replace"), self._place, live=False)


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
