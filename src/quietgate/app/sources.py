"""Where sshd's lines come from, and how they are followed: the journal, files, standard input.

Each source runs by itself: one that fails is said aloud and tried again, and stops no other. What was written before the
guard began is read first, with its own times.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from quietgate.errors import InputError
from quietgate.guard.record import Event, Stamps, Trust, read
from quietgate.guard.sshd import understand
from quietgate.host import inotify, journal, sockets
from quietgate.host.files import machine_id
from quietgate.host.logfile import Lines, LogFile, Place
from quietgate.host.paths import Paths
from quietgate.host.sight import writers as find_writers
from quietgate.host.sshd_units import Writers
from quietgate.pages import page

BACK = 86400.0  # seconds of log that a first start reads: the longest window of a detector
LOOK = 5.0  # seconds after which a file is looked at without having been told
LOOK_WRITERS = 60.0  # seconds between two looks at who sshd is here
AGAIN = 5.0  # seconds before a source that failed is tried again
FILES = ("var/log/auth.log", "var/log/secure")


@dataclass(slots=True)
class Health:
    """How a source does. `last` is the wall second of its last line of sshd's, 0 for none yet."""

    name: str
    trust: Trust
    last: float = 0.0
    events: int = 0
    trouble: str = ""


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
            while True:
                self.health.trouble = "" if self.path.exists() else "the file is not there"
                stamps.now = time.time()
                for block in file.read():
                    await self._give(take, list(read(block.text, stamps)), block.place.text(), live=block.live)
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
        lines = Lines()
        while chunk := await reader.read(1 << 16):
            stamps.now = time.time()
            await self._give(take, list(read(lines.take(chunk).decode("utf-8", "replace"), stamps)), "", live=False)
        self.health.trouble = "its end was reached"


def _said(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        return (f"{error.filename} may not be read by the guard's user: let the group adm read it, or let him read everything "
                f"({page('guard')}, Where the lines come from)")  # fmt: skip
    return f"{type(error).__name__}: {error}"


def find(wanted: object, paths: Paths, units: tuple[str, ...] = ()) -> list[Source]:
    """The sources that the policy names, or with "auto" those that are here. Raises InputError when there are none.

    `units`: more units of sshd's than those that are found.
    """
    root = paths.root
    directory = None if root == Path("/") else root / "var/log/journal"
    if wanted == "auto":
        if journal.there(directory):
            return [JournalSource("journal", Trust.JOURNAL, directory=directory, machine=machine_id(paths.machine_id), units=units)]
        files = [root / f for f in FILES if (root / f).exists()]
        if files:
            return [FileSource(f"/{f.relative_to(root)}", Trust.FILE, path=f) for f in files]
        raise InputError("no source of sshd's lines is here: neither a journal nor /var/log/auth.log nor /var/log/secure",
                         "install rsyslog and see that it runs, or name the source: sources in [guard]")  # fmt: skip
    found: list[Source] = []
    for name in wanted if isinstance(wanted, tuple) else ():
        if name == "journal":
            found.append(JournalSource("journal", Trust.JOURNAL, directory=directory, machine=machine_id(paths.machine_id), units=units))
        elif name == "-":
            found.append(InputSource("-", Trust.FILE))
        else:
            found.append(FileSource(name, Trust.FILE, path=root / str(name).lstrip("/")))
    return found
