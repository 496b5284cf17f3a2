"""Where sshd's lines come from, and how they are followed: the journal, files, standard input.

Each source runs by itself: one that fails is said aloud and tried again, and stops no other. What was written before the
guard began is read first, with its own times.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from quietgate.errors import InputError, QuietgateError
from quietgate.host import inotify, journal, sockets
from quietgate.host.files import machine_id
from quietgate.host.logfile import Lines, LogFile, Place
from quietgate.host.paths import Paths
from quietgate.host.reading import opened
from quietgate.host.sight import writers as find_writers
from quietgate.host.sshd_units import Writers
from quietgate.pages import page
from quietgate.policy.terms import LogSource
from quietgate.sshlog.lines import Event, Reader, Stamps, Trust
from quietgate.sshlog.sshd import says_nothing, understand
from quietgate.sshlog.unread import Unread, Why

BACK = 86400.0  # seconds of log that a first start reads: the longest window of a detector
LOOK = 5.0  # seconds after which a file is looked at without having been told
LOOK_WRITERS = 60.0  # seconds between two looks at who sshd is here
TAIL = 1 << 20  # bytes of a log's end that are looked at to see whether it tells of SSH
AGAIN = 5.0  # seconds before a source that failed is tried again
FILES = ("var/log/auth.log", "var/log/secure", "var/log/messages")
AFTER_JOURNAL = 3.0  # seconds by which a file waits for the journal, the better witness of the same lines


@dataclass(slots=True)
class Health:
    """How a source does. `last` is the wall second of its last line of sshd's, 0 for none yet; `lines` of servers that were read, and what
    could not be read.
    """

    name: str
    trust: Trust
    last: float = 0.0
    events: int = 0
    trouble: str = ""
    lines: int = 0
    unread: Unread = field(default_factory=Unread)


@dataclass(frozen=True, slots=True)
class Batch:
    """Events read together, and the place after them (for the store). `live`: they are of this moment."""

    source: str
    trust: Trust
    events: list[Event]
    place: str
    live: bool


Take = Callable[[Batch], Awaitable[None]]


@dataclass(slots=True)
class Source:
    """One of them. `follow` runs until it is cancelled."""

    name: str
    trust: Trust
    health: Health = field(init=False)
    place: str = ""  # how far it has read

    def __post_init__(self) -> None:
        self.health = Health(self.name, self.trust)

    async def follow(self, place: str | None, take: Take) -> None:
        """Hand out batch after batch. Errors are kept in `health`, and it goes on."""
        while True:
            try:
                await self._follow(self.place or place, take)
            except Exception as error:  # noqa: BLE001  whatever it was: a guard that is blind without saying so is the worst
                self.health.trouble = _said(error)
                await asyncio.sleep(AGAIN)
            else:
                return

    async def _follow(self, place: str | None, take: Take) -> None:
        raise NotImplementedError

    async def _give(self, take: Take, events: list[Event], place: str, *, live: bool) -> None:
        self.place = place
        self.health.events += len(events)
        if events:
            self.health.last = time.time()
        await take(Batch(self.name, self.trust, events, place, live))


@dataclass(slots=True)
class FileSource(Source):
    """A log file, over its rotations."""

    path: Path = Path("/dev/null")
    program: str = ""
    host: str = ""  # this host's name: lines that bear it are of here, as those without a name are
    after_journal: bool = False

    async def _follow(self, place: str | None, take: Take) -> None:
        found = Place.of(place)
        file = LogFile(self.path, found, None if found else time.time() - BACK)
        watch = inotify.Inotify()
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            watch.drain()
            woken.set()

        loop.add_reader(watch.fd, wake)
        try:
            watch.watch(str(self.path.parent), inotify.CREATE | inotify.MOVED_TO)
            watched = 0
            stamps = Stamps(time.time())
            reader = Reader(stamps, self.program, unread=self.health.unread)
            again = Again(found.newest if found is not None else 0.0)
            while True:
                self.health.trouble = "" if self.path.exists() else "the file is not there"
                stamps.now = time.time()
                woke = time.monotonic()
                for block in file.read():
                    # A log without times (sshd -e): what was there before us is of any time, and counts for nothing.
                    reader.undated = stamps.now if block.live or found is not None else None
                    events = again.new(reader.read(block.text), rewritten=block.rewritten)
                    self.health.lines = reader.lines
                    if self.after_journal and block.live:
                        await asyncio.sleep(max(0.0, woke + AFTER_JOURNAL - time.monotonic()))
                    reached = replace(block.place, newest=again.newest)
                    await self._give(take, [self._here(e) for e in events], reached.text(), live=block.live)
                    await asyncio.sleep(0)  # others have their turn between two blocks
                with contextlib.suppress(FileNotFoundError):
                    inode = self.path.stat().st_ino  # of the new one too, before it has lines
                    if inode != watched:
                        watch.watch(str(self.path), inotify.MODIFY | inotify.ATTRIB | inotify.MOVE_SELF)
                        watched = inode
                        continue  # what came between the reading and the watching
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event, and a guard
                    # that is told to stop while sshd writes would go on for ever.
                    async with asyncio.timeout(LOOK):
                        await woken.wait()
                woken.clear()
        finally:
            loop.remove_reader(watch.fd)
            watch.close()
            file.close()

    def _here(self, event: Event) -> Event:
        if self.program:
            return event._replace(host=self.name)
        return event._replace(host="") if event.host.partition(".")[0].lower() == self.host else event


@dataclass(slots=True)
class Again:
    """Tells lines that were read before from new ones, when somebody has written a log anew in its place (an editor, `sed -i`, a cleaner).

    There what is older than the newest line that was read, or the same as one of its second, was read before; it ends with the first
    line that is newer. A log that begins anew holds nothing older, unless the clock was set back meanwhile.
    """

    newest: float = 0.0  # wall seconds as logged
    _last: set[tuple[int, str]] = field(default_factory=set)  # of that second
    _on: bool = False

    def new(self, events: list[Event], *, rewritten: bool) -> list[Event]:
        """Those that were not read before."""
        self._on = self._on or rewritten
        if not events:
            return events
        found = events
        if self._on:
            found = [e for e in events if e.at > self.newest or (e.at == self.newest and (e.pid, e.message) not in self._last)]
            self._on = not any(e.at > self.newest for e in events)
        newest = max(e.at for e in events)
        if newest > self.newest:
            self.newest, self._last = newest, set()
        self._last.update((e.pid, e.message) for e in events[-256:] if e.at == self.newest)
        return found


@dataclass(slots=True)
class JournalSource(Source):
    """The systemd journal of this machine; `directory` reads its files there. `units`: those of sshd's that the policy names besides those
    that are found.

    Where the journal cannot tell who wrote a line, since sshd runs outside any unit, it is worth what a file is worth.
    """

    directory: Path | None = None
    machine: str = ""
    units: tuple[str, ...] = ()
    _listening: frozenset[int] = frozenset()  # sockets that were there when the writers were found
    _writers: Writers | None = None
    _place: Path | None = None

    async def _follow(self, place: str | None, take: Take) -> None:
        self._look()
        while True:
            place = await self._read(place, take)

    def _look(self) -> bool:
        """Find out where the journal lies, and whose lines in it are sshd's; True if that has changed."""
        before = (self._place, self._writers)
        self._place = self.directory or journal.own(self.machine)
        listening = frozenset(x.inode for x in sockets.listeners())
        if listening != self._listening:
            self._listening, self._writers = listening, find_writers(self.units)
            self.trust = self.health.trust = Trust.FILE if self._writers is None else Trust.JOURNAL
        return (self._place, self._writers) != before

    async def _read(self, place: str | None, take: Take) -> str | None:
        """Read until sshd runs as something else, or the journal lies elsewhere; returns the place after what was read."""
        if self._place is None:
            raise OSError("journald keeps no journal of this machine")
        words = journal.follow_words(place, time.time() - BACK, self._place, self._writers)
        if words is None:
            raise OSError("journalctl is not installed")
        child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                                                     stdin=asyncio.subprocess.DEVNULL, limit=1 << 20)  # fmt: skip
        assert child.stdout is not None
        begun, looked = time.time(), time.monotonic()
        try:
            lines = Lines()
            while chunk := await _within(child.stdout, LOOK_WRITERS):
                if time.monotonic() - looked > LOOK_WRITERS:
                    looked = time.monotonic()
                    if self._look():
                        return place
                self.health.trouble = ""
                events, cursor = [], None
                for line in lines.take(chunk).split(b"\n")[:-1]:
                    entry = journal.entry(line, self._writers)
                    said = understand(entry.message) if entry is not None else None
                    if entry is not None and said is not None:
                        events.append(Event(entry.at, entry.pid, said, entry.message))
                    elif entry is not None and not says_nothing(entry.message):
                        self.health.unread.add(Why.MESSAGE, entry.message)
                    self.health.lines += entry is not None
                    cursor = line
                place = (journal.cursor_of(cursor) if cursor else None) or place
                if cursor is not None:
                    await self._give(take, events, place or "", live=bool(events) and events[-1].at >= begun)
            raise OSError("journalctl ended")
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def _within(stream: asyncio.StreamReader, seconds: float) -> bytes:
    """What comes next, b"" at the end, an empty line if nothing came in time."""
    try:
        async with asyncio.timeout(seconds):  # not wait_for: see FileSource
            return await stream.read(1 << 17)
    except TimeoutError:
        return b"\n"


@dataclass(slots=True)
class InputSource(Source):
    """Standard input, to its end."""

    async def _follow(self, place: str | None, take: Take) -> None:  # noqa: ARG002  it has no places
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        stamps = Stamps(time.time())
        records, lines = Reader(stamps, unread=self.health.unread), Lines()
        while chunk := await reader.read(1 << 16):
            stamps.now = time.time()
            await self._give(take, records.read(lines.take(chunk).decode("utf-8", "replace")), "", live=False)
            self.health.lines = records.lines
        self.health.trouble = "its end was reached"


def _said(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        return (f"{error.filename} may not be read by the guard's user: let the group adm read it, or let him read everything "
                f"({page('guard')}, Where the lines come from)")  # fmt: skip
    return f"{type(error).__name__}: {error}"


def find(wanted: object, paths: Paths, units: tuple[str, ...] = ()) -> list[Source]:
    """The sources that the policy names, or with "auto" those that tell of SSH servers here. Raises InputError when there are none.

    `units`: more units of sshd's than those that are found.
    """
    root = paths.root
    directory = None if root == Path("/") else root / "var/log/journal"
    host = os.uname().nodename.partition(".")[0].lower()

    def the_journal() -> JournalSource:
        return JournalSource("journal", Trust.JOURNAL, directory=directory, machine=machine_id(paths.machine_id), units=units)

    def a_file(name: str, program: str = "", *, beside: bool = False) -> FileSource:
        return FileSource(name, Trust.FILE, path=root / name.lstrip("/"), program=program, host=host, after_journal=beside)

    if wanted == "auto":
        kept = journal.there(directory) and journal.keeps(machine_id(paths.machine_id), directory)
        files = living([root / f for f in FILES])
        if kept:
            return [the_journal()]
        if files:
            return [a_file(f"/{f.relative_to(root)}") for f in files]
        if journal.there(directory):
            return [the_journal()]
        raise InputError("no source of sshd's lines is here: neither a journal nor /var/log/auth.log nor /var/log/secure",
                         "install rsyslog and see that it runs, or name the source: sources in [guard]")  # fmt: skip
    found: list[Source] = []
    beside = isinstance(wanted, tuple) and "journal" in wanted
    for name in wanted if isinstance(wanted, tuple) else ():
        if name == "journal":
            found.append(the_journal())
        elif name == "-":
            found.append(InputSource("-", Trust.FILE))
        elif isinstance(name, LogSource):
            found.append(a_file(name.path, name.program))
        else:
            found.append(a_file(str(name), beside=beside))
    return found


def others(found: list[Source], paths: Paths) -> list[Source]:
    """The usual files that are not among `found` and tell of SSH."""
    names, host = {s.name for s in found}, os.uname().nodename.partition(".")[0].lower()
    return [FileSource(f"/{name}", Trust.FILE, path=paths.root / name, host=host, after_journal="journal" in names)
            for name in FILES if f"/{name}" not in names and (paths.root / name).exists() and _tells(paths.root / name)]  # fmt: skip


def living(files: list[Path]) -> list[Path]:
    """Of the usual files those to which SSH servers' lines go: the first two where they are there; /var/log/messages where neither is, or
    where sshd's lines are in it and in none of them.
    """
    there = [f for f in files if f.exists()]
    usual, rest = [f for f in there if f.name != "messages"], [f for f in there if f.name == "messages"]
    if not rest or any(_tells(f) for f in usual):  # they are read only where there is a choice
        return usual
    return [*usual, *(f for f in rest if _tells(f) or not usual)]


def _tells(file: Path) -> bool:
    """True if the last part of a file holds a line of an SSH server's."""
    try:
        with opened(file) as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
            text = log.read(TAIL).decode("utf-8", "replace")
    except (OSError, QuietgateError):
        return False
    reader = Reader(Stamps(time.time()))
    reader.read(text.partition("\n")[2] if len(text) == TAIL else text)
    return reader.lines > 0
