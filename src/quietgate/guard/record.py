"""Lines of a log file -> records: whose line it is, when, and the message. Blocks of whole lines, for speed.

The program's name is taken from the line's header only, anchored at the line's beginning: any user can write a line that
holds "sshd[" somewhere. (In a file any user can also forge the header itself, with `logger`: see `Trust`.)

Headers: syslog (RFC 3164: "Dec 10 06:55:46 host sshd[24200]: ...", no year), rsyslog's ISO stamps
("2026-11-24T18:53:26.123456+01:00 host sshd[1]: ..."), and RFC 5424 ("<86>1 2026-11-24T18:53:26Z host sshd 1 - - ...").
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from quietgate.guard.sshd import Kind, Said, understand

# The stamp, then the host, then one of sshd's names with a process number. All at the line's beginning, and in one line. What
# ends in a colon is no host but a program's name, where the log has no hosts: what follows it is that program's text.
_LINE = re.compile(
    r"^(?:<\d{1,3}>)?"
    r"(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^ \n]{0,16}) \S{0,254}[^\s:] sshd(?:-session|-auth)?\[(\d{1,10})\]: "
    r"|1 (\d{4}-\d\d-\d\dT[^ \n]{8,24}) \S{1,255} sshd(?:-session|-auth)? (\d{1,10}) \S{1,32} (?:-|\[[^\]\n]{0,500}\]) (?:\ufeff)?)(.*)$",
    re.MULTILINE | re.ASCII,
)
_MONTHS = {m: n for n, m in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)}
FUTURE = 86400.0  # a stamp without a year that would lie further ahead than this is of last year


class Trust(StrEnum):
    """What the source of a record is worth. In a file anyone may have written it; the journal names the writer itself."""

    FILE = "file"
    JOURNAL = "journal"


class Event(NamedTuple):
    """One event of one sshd: `at` in wall seconds as logged; `number` of its line in the input, from 1."""

    at: float
    pid: int
    said: Said
    message: str
    number: int = 0


class Stamps:
    """Reads stamps. The same second again is taken from memory; a year that is missing is inferred from `now`.

    Stamps without a zone are local time. Across a year's end the year is the one that puts a stamp no more than a day
    into the future.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self._memory: dict[str, float] = {}

    def read(self, text: str) -> float:
        """Wall seconds; `now` for what is no date."""
        found = self._memory.get(text)
        if found is None:
            found = self._parse(text)
            if found is None:
                return self.now
            if len(self._memory) > 4096:
                self._memory.clear()
            self._memory[text] = found
        return found

    def _parse(self, text: str) -> float | None:
        try:
            if text[0].isdigit():
                return datetime.datetime.fromisoformat(text).timestamp()
            month, day, clock = _MONTHS[text[:3]], int(text[4:6]), text[7:]
            hour, minute, second = (int(p) for p in clock.split(":"))
            year = datetime.datetime.fromtimestamp(self.now).year  # noqa: DTZ006  local, as the stamps are
            # 29 February exists only in some years: then the last one that had it.
            for candidate in (year + 1, year, year - 1, year - 2, year - 3, year - 4):
                try:
                    at = datetime.datetime(candidate, month, day, hour, minute, min(second, 59)).timestamp()  # noqa: DTZ001  local
                except ValueError:
                    continue
                if at <= self.now + FUTURE:
                    return at
        except (KeyError, ValueError, OverflowError, OSError, IndexError):
            pass
        return None


def read(block: str, stamps: Stamps) -> Iterator[Event]:
    """Every event in a block of whole lines. Lines of other programs are passed over, and cost least."""
    for stamp, pid, stamp2, pid2, message in _LINE.findall(block):
        said = understand(message)
        if said is not None:
            yield Event(stamps.read(stamp or stamp2), int(pid or pid2), said, message)


def read_numbered(block: str, stamps: Stamps, first: int = 1) -> Iterator[Event]:
    """The same, with the number of each line: for people (`parse`)."""
    at, number = 0, first
    for found in _LINE.finditer(block):
        number += block.count("\n", at, found.start())
        at = found.start()
        said = understand(found[5])
        if said is not None:
            yield Event(stamps.read(found[1] or found[3]), int(found[2] or found[4]), said, found[5], number)


def is_login(event: Event) -> bool:
    """True for a successful login."""
    return event.said.kind is Kind.ACCEPTED
