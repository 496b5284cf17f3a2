"""Old logs, read once: files, packed ones, directories, standard input; in the order in which they were written."""

from __future__ import annotations

import heapq
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from quietgate.errors import InputError
from quietgate.host.packed import BROKEN, SUFFIXES, opened
from quietgate.sshlog.lines import Event, Reader, Stamps
from quietgate.sshlog.unread import Unread

BLOCK = 1 << 20
LONGEST_LINE = 1 << 16
NAMES = ("auth.log", "secure", "messages", "sshd.log", "syslog")  # what is looked for in a directory
_ROTATED = re.compile(r"(?P<base>.+?)(?:[.-](?P<date>20\d{6})(?:-\d+)?|\.(?P<number>\d{1,4}))\Z")


@dataclass(slots=True)
class Logs:
    """What is to be read. `broken`: files that could not be read to their end, with the reason; `unread`: of all of them."""

    groups: list[list[Path]]
    program: str = ""
    broken: list[tuple[Path, str]] = field(default_factory=list)
    unread: Unread = field(default_factory=Unread)
    lines: int = 0  # of SSH servers

    @classmethod
    def of(cls, named: Iterable[Path], program: str = "") -> Logs:
        """These files, the logs of these directories, standard input for "-". Raises InputError for all that is not there."""
        found: list[Path] = []
        missing = []
        for path in dict.fromkeys(named):
            if str(path) == "-":
                found.append(path)
            elif path.is_dir():
                inside = [p for p in sorted(path.iterdir()) if p.is_file() and _place(p)[0] in NAMES]
                found += inside
                if not inside:
                    missing.append(f"{path}: no log of SSH is in it (looked for {', '.join(NAMES)}, and what was rotated)")
            elif path.exists():
                found.append(path)
            else:
                missing.append(f"{path}: No such file or directory")
        if missing:
            raise InputError("\n".join(missing), "name log files or directories, or - for standard input")
        groups: dict[tuple[Path, str], list[Path]] = {}
        for path in found:
            groups.setdefault((path.parent, _place(path)[0]), []).append(path)
        return cls([sorted(g, key=lambda p: _place(p)[1:]) for g in groups.values()], program)

    def events(self) -> Iterator[Event]:
        """All events, logs of several files together by time. Their `number` counts from 1 in each file."""
        if len(self.groups) == 1:
            yield from self._group(self.groups[0])
        else:
            yield from heapq.merge(*map(self._group, self.groups), key=lambda e: e.at)

    def _group(self, files: list[Path]) -> Iterator[Event]:
        for path in files:
            try:
                # A stamp without a year is of the year before the file's last change.
                now = time.time() if str(path) == "-" else path.stat().st_mtime + 86400
                reader = Reader(Stamps(now), self.program, journals=True)
                reader.unread = self.unread
                with sys.stdin.buffer if str(path) == "-" else opened(path) as stream:
                    yield from events_of(stream, reader)
            except BROKEN as error:
                self.broken.append((path, str(error) or type(error).__name__))
            self.lines += reader.lines


def events_of(stream: BinaryIO, reader: Reader) -> Iterator[Event]:
    """The events of a stream, with the number of each line. A line longer than any log has is cut."""
    number, rest = 1, b""
    while chunk := stream.read(BLOCK):
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > LONGEST_LINE:  # no log has such a line; what it is shall not fill the memory
            rest = rest[:LONGEST_LINE]
        text = data[:end].decode("utf-8", "replace")
        yield from reader.read_numbered(text, number)
        number += text.count("\n")
    if rest:
        yield from reader.read_numbered(rest.decode("utf-8", "replace"), number)


def _place(path: Path) -> tuple[str, int, int]:
    """The log that a file belongs to, and where in it: dated ones first, then numbers downwards, the log itself last."""
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    match = _ROTATED.match(name)
    if match is None:
        return name, 1, 0
    if match["date"] is not None:
        return match["base"], 0, int(match["date"])
    return match["base"], 0, -int(match["number"])
