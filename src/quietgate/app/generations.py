"""Confirmed generations on disk: what a boot loads, and what `status` compares the kernel with.

A candidate is written and synced before the kernel takes it, and renamed after. A crash between leaves the kernel
new and the disk old, which is safe: `status` says so, and the next `up` mends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from quietgate.errors import NotPermitted, StateError
from quietgate.host.files import sync_directory, write_durably
from quietgate.policy.load import File

KEPT = 10
READABLE = 0o640  # by the guard, whose group the directory has (`host/layout.py`); nobody else gets into it
_FILE = re.compile(r"(\d{1,9})\.json\Z")


@dataclass(frozen=True, slots=True)
class Record:
    """One generation: its number, ruleset text, digest, SSH ports, and what nft listed after it was loaded.

    `shared`: the text that makes the state sets alone. `contents`: name and text of each policy file it was made from,
    so that it can be made anew when host names or ports change. `counting`: how many bits make one source.
    `by`: who made it, as a login user number, or None. `cookies`: the kernel's, of the SSH connections that were open then.
    """

    number: int
    digest: str
    text: str
    ports: tuple[int, ...]
    files: tuple[str, ...]
    made: float
    listing: str = ""
    nft: str = ""
    shared: str = ""
    contents: tuple[tuple[str, str], ...] = ()
    counting: tuple[int, int] = (32, 64)
    by: int | None = None
    cookies: tuple[int, ...] = ()

    def written(self) -> list[File]:
        """The policy files that it was made from, as they were."""
        return [File(name, text.encode()) for name, text in self.contents]


class Generations:
    """The directory of generations. Writing methods are atomic; all raise StateError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self) -> Record | None:
        """The confirmed generation; None before the first."""
        numbers = self._numbers()
        return self._read(self._path(numbers[-1])) if numbers else None

    def readable(self) -> bool:
        """True if this process may read them."""
        return os.access(self._directory, os.R_OK | os.X_OK)

    def number(self, number: int) -> Record | None:
        """A confirmed generation by its number, or the candidate if it has that number."""
        for path in (self._path(number), self._candidate):
            if path.exists():
                found = self._read(path)
                if found.number == number:
                    return found
        return None

    def propose(self, record: Record) -> None:
        """Write the candidate, durably, before the kernel hears of it."""
        write_durably(self._candidate, json.dumps(asdict(record)), READABLE)

    def confirm(self, record: Record) -> None:
        """Make it the newest confirmed generation and forget all but the last ten."""
        write_durably(self._path(record.number), json.dumps(asdict(record)), READABLE)
        try:
            self._candidate.unlink(missing_ok=True)
            for old in self._numbers()[:-KEPT]:
                self._path(old).unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "the ruleset is in force and written") from None

    def candidate(self) -> Record | None:
        """The generation that is or was on trial; None if there is none."""
        return self._read(self._candidate) if self._candidate.exists() else None

    def promote(self, number: int) -> None:
        """Rename the candidate to the newest confirmed generation: needs no room on the disk. Raises StateError."""
        try:
            self._candidate.replace(self._path(number))
            sync_directory(self._directory)
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "the ruleset is confirmed in the kernel; `quietgate up` mends "
                             "what a boot would load") from None  # fmt: skip

    def discard(self) -> None:
        """Forget the candidate. Idempotent."""
        with contextlib.suppress(OSError):
            self._candidate.unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Remove every generation: they belong to another machine."""
        for number in self._numbers():
            self._path(number).unlink(missing_ok=True)
        self.discard()

    def belong_to(self, machine: str, before: str | None) -> None:
        """Forget all of them if they are another machine's. `before`: whose they were by the word of an earlier version, which noted
        it in the database; what stands there now may be anything, since the guard writes it. Whoever may not write them leaves it.
        """
        file = self._directory / "machine"
        if not os.access(self._directory, os.W_OK):
            return
        try:
            known: str | None = file.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            known = before
        if known is not None and known != machine:
            self.forget_all()
        if known != machine or not file.exists():
            write_durably(file, f"{machine}\n", READABLE)

    def all(self) -> list[Record]:
        """The confirmed generations that are kept, the oldest first."""
        return [self._read(self._path(n)) for n in self._numbers()]

    @property
    def _candidate(self) -> Path:
        return self._directory / "candidate.json"

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.json"

    def _numbers(self) -> list[int]:
        try:
            found = [int(m[1]) for p in self._directory.iterdir() if (m := _FILE.match(p.name))]
        except FileNotFoundError:
            return []
        except PermissionError:
            raise NotPermitted(f"{self._directory} may not be read by this user", "run this as root, with sudo") from None
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "see to the disk") from None
        return sorted(found)

    def _read(self, path: Path) -> Record:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(Record)}  # a newer version may have written more
            tuples = {k: tuple(raw[k]) for k in ("ports", "files", "counting", "cookies") if k in raw}
            contents = tuple((str(n), str(t)) for n, t in raw.get("contents", ()))
            return Record(**{**{k: v for k, v in raw.items() if k in known}, **tuples, "contents": contents})
        except PermissionError:
            raise NotPermitted(f"{path} may not be read by this user", "run this as root, with sudo") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StateError(f"{path} cannot be read: {error}", "run `quietgate up`, which writes a new one") from None
