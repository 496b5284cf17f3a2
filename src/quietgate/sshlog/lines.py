"""Lines of a log -> records: whose line it is, when, and the message. Blocks of whole lines, for speed.

The program's name is taken from the line's header only, anchored at the line's beginning: any user can write a line that
holds "sshd[" somewhere. (In a file any user can also forge the header itself, with `logger`: see `Trust`.)

Two ways through a block. Nearly all logs have rsyslog's or journald's own forms, which one pattern finds in the whole block; a block in which
it finds fewer lines than name a server goes line by line through `headers.py`, which knows every form, and counts what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from quietgate.sshlog import dropbear, headers, sshd, wrapped
from quietgate.sshlog.sshd import understand
from quietgate.sshlog.stamps import MONTHS, WEEKDAYS, Stamps
from quietgate.sshlog.unread import Unread, Why
from quietgate.sshlog.words import MOST_TIMES, Kind, Said

__all__ = ["Event", "Reader", "Stamps", "Trust", "is_login", "read", "read_numbered"]

# The stamp, then the host, then one of sshd's names with a process number. All at the line's beginning, and in one line. What
# ends in a colon is no host but a program's name, where the log has no hosts: what follows it is that program's text.
# Begins with a literal, so that the engine leaps from line to line, and gives nothing back (possessive): see bench/reading.
_USUAL = re.compile(
    r"\n(?:<\d{1,3}+>)?+([A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9}+)?+(?:Z|[+-]\d\d(?::?\d\d)?+)?+) ((?!auth(?:priv)?\.|\[)[^\s\0-\x1f]{1,255}+)(?<!:)"
    r" sshd(?:-session|-auth)?+\[(\d{1,10}+)\]: (?![ \[])([^\n]*+)",
    re.ASCII,
)
# How sshd's name stands in a header. A user may be called so too: then the block takes the longer way, and nothing is lost.
_NAMED = (" sshd[", " sshd-", " sshd:", " sshd@", "/sshd[", "[sshd]")
_made = tuple.__new__  # as the class does, without its Python-level constructor, which each line would pay for (bench/reading)
_WORDS = ("Failed password for ", "Invalid user ", "Bad password attempt", "Accepted ")
PROGRAMS = ("sshd", "dropbear")  # whose words are read; a source may be declared as one of them


class Trust(StrEnum):
    """What the source of a record is worth. In a file anyone may have written it; the journal names the writer itself."""

    FILE = "file"
    JOURNAL = "journal"


class Event(NamedTuple):
    """One event of one server: `at` in wall seconds as logged; `number` of its line in the input, from 1; `host` as the line names it, ""
    where it does not. `pid` 0: the line has none.
    """

    at: float
    pid: int
    said: Said
    message: str
    number: int = 0
    host: str = ""


@dataclass(slots=True)
class Reader:
    """One log's lines, in order. `program`: whose lines they are where the lines do not tell (`PROGRAMS`); "": every line has to tell.

    `journals`: lines of the journal's own exports are taken as well (a person has them; in a file of the guard's anybody may write them).
    `undated`: the moment of a line that names none; None: nobody can tell, and it is no event.
    `unread` counts what could not be read. `lines` of servers that were read, understood or not.
    """

    stamps: Stamps
    program: str = ""
    journals: bool = False
    undated: float | None = None
    unread: Unread = field(default_factory=Unread)
    lines: int = 0
    _last: Event | None = None  # of the line before, for "last message repeated"
    _export: wrapped.Export | None = None

    def read(self, block: str) -> list[Event]:
        """Every event in a block of whole lines, the refusals of accounts told from guesses."""
        if "\r" in block or "\0" in block:
            block = block.replace("\r\n", "\n")
        slow = bool(self.program or self.journals)
        found = _USUAL.findall("\n" + block) if not slow else []
        if slow or self._is_unusual(block, len(found)):
            return refused_by_account(list(self._each(block)))
        events, moment, said_of = [], self.stamps.read, understand
        undated = 0
        for stamp, host, pid, message in found:
            at = moment(stamp)
            if at is None:
                undated += 1
                self.unread.add(why_no_date(stamp), f"{stamp} {host} sshd[{pid}]: {message}")
                continue
            said = said_of(message)
            if said is None:
                if not sshd.says_nothing(message):
                    self.unread.add(Why.MESSAGE, message)
                continue
            events.append(_made(Event, (at, int(pid), said, message, 0, host)))
        self.lines += len(found) - undated
        self._last = events[-1] if events and block.endswith(events[-1].message + "\n") else None
        return refused_by_account(events) if "Access denied for user" in block else events

    def read_numbered(self, block: str, first: int = 1) -> Iterator[Event]:
        """The same, with the number of each line: for people (`parse`)."""
        yield from self._each(block, first)

    def explained(self, line: str) -> tuple[headers.Header | Why | None, Event | None]:
        """What one line's header is, or why there is none, and its event if it has one."""
        header = self._header(line)
        return header, self._event(header, line, 1) if isinstance(header, headers.Header) else None

    def _is_unusual(self, block: str, found: int) -> bool:
        if found == block.count("\n"):
            return False
        if "dropbear" in block or "last message repeated" in block:
            return True
        if block.count("sshd") - block.count("(sshd") == found:  # as in nearly every log; PAM's modules name it in brackets
            return not found and any(words in block for words in _WORDS)
        return sum(map(block.count, _NAMED)) != found or ">1 " in block or block.startswith("1 ") or "\n1 " in block

    def _each(self, block: str, first: int = 1) -> Iterator[Event]:
        if self.journals and first == 1 and wrapped.is_export(block):
            self._export = wrapped.Export()
        for number, line in enumerate(block.split("\n"), first):
            if self._export is not None:
                header = self._export.take(line)
                event = self._event(header, line, number) if header is not None else None
                if event is not None:
                    yield event
                continue
            if not line:
                continue
            event = self._repeated(line, number) or self._one(line, number)
            self._last = event
            if event is not None:
                yield event

    def _repeated(self, line: str, number: int) -> Event | None:
        last = self._last
        if last is None or "last message repeated" not in line:
            return None
        times = min(headers.repeated(line), MOST_TIMES)
        return last._replace(said=last.said._replace(times=times * last.said.times), number=number) if times else None

    def _one(self, line: str, number: int) -> Event | None:
        header = self._header(line)
        if header is None:
            return None
        if isinstance(header, Why):
            self.unread.add(header, line)
            return None
        return self._event(header, line, number)

    def _header(self, line: str) -> headers.Header | Why | None:
        piece = wrapped.printed(line)
        if self.program:
            inner = headers.header(piece.text if piece is not None else line)
            if isinstance(inner, headers.Header):
                return inner
            bare = headers.bare(piece.text if piece is not None else line)
            return bare._replace(stamp=bare.stamp or piece.stamp) if piece is not None else bare
        if piece is not None:
            return Why.NAMELESS if headers.looks_like_a_servers(piece.text) else None
        if self.journals and line.startswith('{"'):
            return wrapped.of_journal(line)
        return headers.header(line)

    def _event(self, header: headers.Header, line: str, number: int) -> Event | None:
        at = self.stamps.read(header.stamp) if header.stamp else self.undated
        if at is None:
            if header.stamp or not self.program:
                self.unread.add(why_no_date(header.stamp), line)
            return None  # of a declared log: it was written some time ago, and nobody can tell when
        self.lines += 1
        program = self.program or ("sshd" if header.program.startswith("sshd") else header.program)
        said = _UNDERSTAND[program](header.message)
        if said is None:
            if not _SAYS_NOTHING[program](header.message):
                self.unread.add(Why.MESSAGE, header.message)
            return None
        return Event(at, header.pid, said, header.message, number, header.host)


def why_no_date(stamp: str) -> Why:
    """Whether it is a month of another language, or no date of any."""
    return Why.MONTH if stamp and not stamp[0].isdigit() and stamp[:3] not in {*MONTHS, *WEEKDAYS} else Why.DATE


# tinysshd's log tells of no guess: it takes keys only, and names none.
_UNDERSTAND: dict[str, Callable[[str], Said | None]] = {"sshd": understand, "dropbear": dropbear.understand, "tinysshd": lambda _: None}
_SAYS_NOTHING: dict[str, Callable[[str], bool]] = {"sshd": sshd.says_nothing, "dropbear": dropbear.says_nothing, "tinysshd": lambda _: True}


def refused_by_account(events: list[Event]) -> list[Event]:
    """A right password that the account refused is told apart from a wrong one by the line after it ("Access denied for user"): the
    guess that the line before seemed to be is none. Where PAM has said so before (`methods.pam`), nothing has to be done here.
    """
    if not any(e.said.kind is Kind.ACCOUNT_REFUSED for e in events):
        return events
    told: dict[tuple[str, int], int] = {}
    before: set[tuple[str, str | None]] = set()
    found: list[Event] = []
    for given in events:
        event, key, whose, kind = given, (given.host, given.pid), (given.host, given.said.user), given.said.kind
        if kind is Kind.FAILED and event.said.times == 1:
            if whose in before:
                before.discard(whose)
                told.pop(key, None)
            else:
                told[key] = len(found)
        elif kind is Kind.ACCOUNT_REFUSED and event.said.method == "before":
            before.add(whose)
        elif kind is Kind.ACCOUNT_REFUSED and key in told:
            at = told.pop(key)
            found[at] = found[at]._replace(said=found[at].said._replace(kind=Kind.STEP))
            event = event._replace(said=event.said._replace(kind=Kind.STEP))
        elif kind is not Kind.PAM_FAILED:
            told.pop(key, None)
        found.append(event)
    return found


def read(block: str, stamps: Stamps) -> Iterable[Event]:
    """Every event in a block of whole lines. Lines of other programs are passed over, and cost least."""
    return Reader(stamps).read(block)


def read_numbered(block: str, stamps: Stamps, first: int = 1) -> Iterator[Event]:
    """The same, with the number of each line: for people (`parse`)."""
    return Reader(stamps).read_numbered(block, first)


def is_login(event: Event) -> bool:
    """True for a successful login."""
    return event.said.kind is Kind.ACCEPTED
