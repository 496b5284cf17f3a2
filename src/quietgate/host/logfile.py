"""A log file that is read as it grows, over rotations of every kind, never the same line twice.

rename       the writer goes on in the old file until it is told to open the new one: ours is read until the new one has
             lines, then once more to its end. What was rotated in between comes next, then the new file from its beginning
copytruncate the file is shorter than what was read, or begins with other bytes: what the copy holds beyond our place is
             read first, then the file anew
restart      the place is device, inode and offset, with a fingerprint of the file's first bytes: inodes are used again.
             A file that was rotated meanwhile is found by them among its successors (FILE.1, FILE.2.gz, FILE-20261124.xz)

Lines are handed out whole. One without an end waits for it; one without an end in sight is thrown away to its end, and
counted: its remainder is no line, whatever it looks like.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from quietgate.host import packed
from quietgate.host.packed import BROKEN, SUFFIXES

BLOCK = 1 << 16  # bytes of one read: about 600 lines, a few milliseconds of work
LONGEST_LINE = 1 << 16
FINGERPRINT = 256
TAIL = 64  # bytes before our place that are compared, so that a file which was edited in its place is noticed
MOST_OLD = 64 << 20  # bytes of predecessors that a first start reads
MOST_PREDECESSORS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was read. `head` bytes of its beginning have the digest `print`; `newest` wall second of its lines, for who can tell."""

    device: int
    inode: int
    offset: int
    head: int = 0
    print: str = ""
    newest: float = 0.0

    def text(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str | None) -> Place | None:
        """From the store; None for nothing, or nothing that can be read."""
        try:
            raw = json.loads(text) if text else {}
            found = cls(
                int(raw["device"]),
                int(raw["inode"]),
                int(raw["offset"]),
                int(raw["head"]),
                str(raw["print"]),
                float(raw.get("newest", 0.0)),
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return found if found.offset >= 0 and 0 <= found.head <= FINGERPRINT else None


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, and the place after them. `live`: they came while we were looking, not from before. `rewritten`: the file was put in
    place of one that is nowhere any more, so that lines which were read before may come again.
    """

    text: str
    place: Place
    live: bool
    rewritten: bool = False


class Lines:
    """Bytes in, whole lines out. Memory: one line that is not over, of at most LONGEST_LINE bytes."""

    def __init__(self) -> None:
        self.skipped = 0  # bytes of lines without an end
        self.behind = 0  # bytes since the end of the last whole line
        self._rest = b""
        self._skipping = False

    def take(self, chunk: bytes) -> bytes:
        """The lines that are whole now."""
        data = self._rest + chunk
        if self._skipping:
            begin = data.find(b"\n") + 1
            if not begin:
                self.skipped += len(data)
                self.behind += len(data)
                return b""
            self.skipped += begin
            self._skipping, data = False, data[begin:]
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        self.behind = len(self._rest)
        if self.behind > LONGEST_LINE:
            self.skipped += self.behind
            self._rest, self._skipping = b"", True
        return data[:end]

    def cut(self) -> None:
        """Nothing follows: what is not whole never will be. It is no line: a cut may stand anywhere."""
        self.skipped += len(self._rest)
        self._rest, self._skipping, self.behind = b"", False, 0


class LogFile:
    """One path. `read` hands out what is new; call it whenever the file may have changed."""

    def __init__(self, path: Path, place: Place | None, back: float | None = None) -> None:
        """`place`: where to go on. Without one it begins with what was written after wall second `back` (None: at the end)."""
        self.path = path
        self._lines = Lines()
        self._file: BinaryIO | None = None
        self._place = Place(0, 0, 0)
        self._live = False
        self._before: list[tuple[Path, int]] = []
        self._back = back
        self._last = place  # after the last line that was handed out, of whichever file
        self._begun = False
        self._rewritten = False  # what comes next may have been read before
        self._tail = b""  # the last bytes before the place, to see that they still are
        if place is None and back is None:
            self._begun = True
            self._open(path)
            if self._file is not None:
                self._seek(os.fstat(self._file.fileno()).st_size)

    def read(self) -> Iterator[Block]:
        """Every block of whole lines there is now. Raises OSError when the file cannot be read (missing is no error)."""
        if not self._begun:
            self._begin()
            self._begun = True
        while self._before:
            path, offset = self._before.pop(0)
            yield from self._old(path, offset)
        if self._file is None:
            self._open(self.path)
        while self._file is not None:
            followed = self._followed()
            yield from self._rest_of_file()
            if not followed:
                break
            since = self._since(self._place)
            self._rewritten = not since
            for path, _ in since[1:]:
                yield from self._old(path, 0)
            self.close()
            self._open(self.path)
        self._live = True

    def _begin(self) -> None:
        if self._last is not None and self._matches(self.path, self._last):
            self._open(self.path, self._last.offset)
            return
        self._before = self._unread()
        self._rewritten = self._last is not None and not self._before
        # The youngest may still be written to.
        if self._before and self._before[-1][0].suffix not in SUFFIXES:
            self._open(*self._before.pop())

    def close(self) -> None:
        """Let it go."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lines.cut()

    @property
    def skipped(self) -> int:
        """Bytes of lines without an end."""
        return self._lines.skipped

    def _rest_of_file(self) -> Iterator[Block]:
        assert self._file is not None
        while True:
            if self._truncated():
                copies = self._since(self._place)
                self._rewritten = not copies
                for path, offset in copies:  # what the copies of it hold beyond our place
                    yield from self._old(path, offset)
                self._lines.cut()
                self._seek(0)
            if not self._place.offset and not self._lines.behind:
                yield from self._missed()
            chunk = self._file.read(BLOCK)
            if not chunk:
                return
            whole = self._lines.take(chunk)
            if whole:
                self._place = self._last = self._fingerprinted(self._file.tell() - self._lines.behind)
                self._tail = whole[-TAIL:]
                yield Block(whole.decode("utf-8", "replace"), self._place, self._live, self._rewritten)
                self._rewritten = False

    def _fingerprinted(self, offset: int) -> Place:
        assert self._file is not None
        place = self._place
        if place.head < FINGERPRINT:
            head = os.pread(self._file.fileno(), min(FINGERPRINT, offset), 0)
            return Place(place.device, place.inode, offset, len(head), _digest(head))
        return Place(place.device, place.inode, offset, place.head, place.print)

    def _open(self, path: Path, offset: int = 0) -> None:
        try:
            # Without O_NONBLOCK a FIFO in this place would hold up everything.
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
        except FileNotFoundError:
            return
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            file.close()
            raise OSError(f"{path} is not a regular file")
        self._file = file
        self._place = Place(about.st_dev, about.st_ino, 0)
        self._lines.cut()
        self._seek(offset)

    def _seek(self, offset: int) -> None:
        assert self._file is not None
        self._file.seek(offset)
        self._place = Place(self._place.device, self._place.inode, offset)
        self._place = self._fingerprinted(offset)
        at = max(0, offset - TAIL)
        self._tail = os.pread(self._file.fileno(), offset - at, at)

    def _truncated(self) -> bool:
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        if size < self._file.tell():
            return True
        place = self._place
        if self._tail and os.pread(self._file.fileno(), len(self._tail), place.offset - len(self._tail)) != self._tail:
            return True
        return bool(place.head) and _digest(os.pread(self._file.fileno(), place.head, 0)) != place.print

    def _missed(self) -> Iterator[Block]:
        """Before the first line of a file: what was rotated away while it was empty to us."""
        for path, offset in self._unread():
            if _inode(path) == self._place.inode:
                return
            yield from self._old(path, offset)

    def _followed(self) -> bool:
        """True if another file has the path now, and the writer has begun to write there."""
        try:
            about = self.path.stat()
        except OSError:
            return False
        return about.st_size > 0 and (about.st_dev, about.st_ino) != (self._place.device, self._place.inode)

    # -- what was rotated away

    def _predecessors(self) -> list[Path]:
        """FILE.1, FILE.2.gz, FILE-20261124.xz ...: the youngest first."""
        form = re.compile(re.escape(self.path.name) + r"(?:\.(\d{1,4})|-(\d{8}[\d.T_-]{0,16}))(?:\.gz|\.xz|\.bz2|\.zst)?", re.ASCII)
        found: dict[tuple[bool, int, str], str] = {}
        try:
            names = os.listdir(self.path.parent)
        except OSError:
            return []
        for name in sorted(names, reverse=True):  # while it is being compressed both are there: FILE.2 counts, FILE.2.gz is not whole
            match = form.fullmatch(name)
            if match:
                found[match[1] is None, int(match[1] or 0), match[2] or ""] = name
        numbered = [found[k] for k in sorted(found) if not k[0]]
        dated = [found[k] for k in sorted(found, reverse=True) if k[0]]
        return [self.path.with_name(name) for name in [*numbered, *dated][:MOST_PREDECESSORS]]

    def _unread(self) -> list[tuple[Path, int]]:
        """Older files with lines that were not handed out yet."""
        if self._last is not None:
            return self._since(self._last)
        return self._recent(self._back) if self._back is not None else []

    def _since(self, place: Place) -> list[tuple[Path, int]]:
        """From where we stopped, the oldest first; nothing where that file is gone."""
        older = self._predecessors()
        for index, path in enumerate(older):
            same = _inode(path) == place.inode and path.suffix not in SUFFIXES
            if (place.head or same) and self._matches(path, place, same_file=same):
                return [(path, place.offset), *((p, 0) for p in reversed(older[:index]))]
        return []

    def _recent(self, back: float) -> list[tuple[Path, int]]:
        """At a first start: as far back as was asked, within MOST_OLD bytes."""
        recent: list[tuple[Path, int]] = []
        room = MOST_OLD
        for path in self._predecessors():
            try:
                about = path.stat()
            except OSError:
                continue
            room -= about.st_size * (10 if path.suffix in SUFFIXES else 1)
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
                    # A whole fingerprint is enough: another inode is a file that came back from a backup.
                    if about.st_size < place.offset or (about.st_ino != place.inode and place.head < FINGERPRINT):
                        return False
                return _digest(file.read(place.head)) == place.print if place.head else same_file
        except BROKEN:
            return False

    def _old(self, path: Path, offset: int) -> Iterator[Block]:
        """A file that no longer grows, as far as it can be read."""
        lines = Lines()
        try:
            with _opened(path) as file:
                about = path.stat()
                first = file.read(FINGERPRINT)
                file.seek(offset)
                while chunk := file.read(BLOCK):
                    whole = lines.take(chunk)
                    if whole:
                        at = file.tell() - lines.behind
                        self._last = Place(about.st_dev, about.st_ino, at, len(first[:at]), _digest(first[:at]))
                        yield Block(whole.decode("utf-8", "replace"), self._last, live=False)
        except BROKEN:
            pass
        lines.cut()
        self._lines.skipped += lines.skipped


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise FileNotFoundError(path)
    return packed.opened(path)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
