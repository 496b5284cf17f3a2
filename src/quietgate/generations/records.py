"""Confirmed generations on disk: what a boot loads, and what `status` compares the kernel with.

A candidate is written and synced before the kernel takes it, and renamed after. A crash between leaves the kernel
new and the disk old, which is safe: `status` says so, and the next `up` mends it.

Each file carries a checksum of what it holds, and its values are checked when it is read. A file that cannot be used takes no
other with it: the newest whole one counts, whoever writes the next sets the damaged one aside, and its number is not used again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from quietgate.errors import NotPermitted, QuietgateError, StateError, Unusable
from quietgate.host.files import aside_in, remove, set_aside, sync_directory, write_durably
from quietgate.host.reading import read_text, read_whole
from quietgate.net import Counting
from quietgate.values import File

KEPT = 10
READABLE = 0o640  # by the guard, whose group the directory has (`host/layout.py`); nobody else gets into it
MOST = 1 << 26  # bytes of one file: a policy of the largest size makes some ten million
MOST_NUMBER = 999_999_999
_FILE = re.compile(r"(\d{1,9})\.json\Z")
_NUMBERED = re.compile(r"(\d{1,9})\.json(?:\.damaged-.*)?\Z")
_HIGHEST = "highest-generation"  # beside the directory: whatever becomes of that
_AGAIN = "run `quietgate up`, which writes a new one"


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


@dataclass(frozen=True, slots=True)
class Broken:
    """A file of a generation that cannot be used: its name, the number in it (None where it has none), why; `aside`: it was set aside."""

    name: str
    number: int | None
    why: str
    aside: bool = False


class Generations:
    """The directory of generations. Writing methods are atomic; all raise StateError. Whoever writes holds the lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self) -> Record | None:
        """The newest confirmed generation that is whole; None where there is none. Raises NotPermitted."""
        forbidden = None
        for number in reversed(self._numbers()):
            try:
                return self._read(self._path(number), number)
            except Unusable:
                continue
            except NotPermitted as error:  # of this user: another file may be readable
                forbidden = error
        if forbidden is not None:
            raise forbidden
        return None

    def readable(self) -> bool:
        """True if this process may read them."""
        return os.access(self._directory, os.R_OK | os.X_OK)

    def number(self, number: int) -> Record | None:
        """A confirmed generation by its number, or the candidate if it has that number; None where neither is whole."""
        for path, named in ((self._path(number), number), (self._candidate, None)):
            with contextlib.suppress(Unusable):
                if os.path.lexists(path):
                    found = self._read(path, named)
                    if found.number == number:
                        return found
        return None

    def all(self) -> list[Record]:
        """The confirmed generations that are kept and whole, the oldest first."""
        found = []
        for number in self._numbers():
            with contextlib.suppress(Unusable):
                found.append(self._read(self._path(number), number))
        return found

    def candidate(self) -> Record | None:
        """The generation that is or was on trial; None if there is none. Raises Unusable where its file is damaged."""
        return self._read(self._candidate) if os.path.lexists(self._candidate) else None

    def broken(self) -> list[Broken]:
        """What cannot be used, in place and set aside."""
        found = []
        for number in self._numbers():
            try:
                self._read(self._path(number), number)
            except Unusable as error:
                found.append(Broken(f"{number}.json", number, error.message))
            except NotPermitted:
                continue
        if self._is_blocked():
            found.append(Broken(self._directory.name, None, f"{self._directory} is no directory"))
        with contextlib.suppress(OSError):
            for name in aside_in(self._directory):
                match = _NUMBERED.match(name)
                found.append(Broken(name, int(match[1]) if match else None, "it was set aside", aside=True))
        return found

    def broken_above(self, number: int) -> bool:
        """True if a later generation than this one was confirmed, and cannot be used."""
        return any(b.number is not None and b.number > number for b in self.broken())

    def following(self, above: int) -> int:
        """A number that no generation had: above `above` (the kernel's highest) and every one that was ever written here."""
        used = [above, self._highest()]
        with contextlib.suppress(OSError):
            used += [int(m[1]) for name in os.listdir(self._directory) if (m := _NUMBERED.match(name))]
        with contextlib.suppress(QuietgateError):
            candidate = self.candidate()
            used.append(candidate.number if candidate is not None else 0)
        return max(used) + 1

    def propose(self, record: Record) -> None:
        """Write the candidate, durably, before the kernel hears of it. Its number counts as used from now on."""
        self.set_broken_aside()
        self._use(record.number)
        write_durably(self._candidate, _text(record), READABLE)

    def confirm(self, record: Record) -> None:
        """Make it the newest confirmed generation and forget all but the last ten."""
        self.set_broken_aside()
        self._use(record.number)
        write_durably(self._path(record.number), _text(record), READABLE)
        try:
            remove(self._candidate)
            for old in self._numbers()[:-KEPT]:
                remove(self._path(old))
            sync_directory(self._directory)
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "the ruleset is in force and written") from None

    def promote(self, number: int) -> None:
        """Rename the candidate to the newest confirmed generation: needs no room on the disk. Raises StateError."""
        try:
            remove(self._path(number))
            self._candidate.replace(self._path(number))
            sync_directory(self._directory)
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "the ruleset is confirmed in the kernel; `quietgate up` mends "
                             "what a boot would load") from None  # fmt: skip

    def discard(self) -> None:
        """Forget the candidate. Idempotent."""
        with contextlib.suppress(OSError):
            remove(self._candidate)

    def forget_all(self) -> None:
        """Remove every generation: they belong to another machine. Their numbers stay used."""
        for number in self._numbers():
            with contextlib.suppress(OSError):
                remove(self._path(number))
        self.discard()

    def belong_to(self, machine: str, before: str | None) -> None:
        """Forget all of them if they are another machine's. `before`: whose they were by the word of an earlier version, which noted
        it in the database; what stands there now may be anything, since the guard writes it. Whoever may not write them leaves it.
        """
        file = self._directory / "machine"
        if not os.access(self._directory, os.W_OK) or self._is_blocked():
            return
        try:
            known: str | None = read_text(file, 4096).strip()
        except OSError:
            known = before
        if known is not None and known != machine:
            self.forget_all()
        if known != machine or not file.exists():
            write_durably(file, f"{machine}\n", READABLE)

    def set_broken_aside(self) -> None:
        """Rename every file that cannot be used, so that it is in nobody's way and can be looked at. What cannot be renamed stays."""
        if self._is_blocked():
            with contextlib.suppress(OSError):
                set_aside(self._directory)
        for number in self._numbers():
            try:
                self._read(self._path(number), number)
            except Unusable:
                with contextlib.suppress(OSError):
                    set_aside(self._path(number))
            except NotPermitted:
                continue

    @property
    def _candidate(self) -> Path:
        return self._directory / "candidate.json"

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.json"

    def _is_blocked(self) -> bool:
        return os.path.lexists(self._directory) and not self._directory.is_dir()

    def _numbers(self) -> list[int]:
        try:
            found = [int(m[1]) for name in os.listdir(self._directory) if (m := _FILE.match(name))]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError:
            raise NotPermitted(f"{self._directory} may not be read by this user", "run this as root, with sudo") from None
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "see to the disk") from None
        return sorted(found)

    # -- numbers that were used: also those of files that are gone, damaged or were never confirmed

    def _highest(self) -> int:
        """The highest number ever written here; 0 where that file is not whole: then the other files have to do."""
        try:
            number, _, mark = read_whole(self._directory.with_name(_HIGHEST), 64).decode("ascii").strip().partition(" ")
            return int(number) if mark == _mark(int(number)) and int(number) < MOST_NUMBER else 0
        except (OSError, ValueError):
            return 0

    def _use(self, number: int) -> None:
        if number > self._highest():
            write_durably(self._directory.with_name(_HIGHEST), f"{number} {_mark(number)}\n")

    def _read(self, path: Path, number: int | None = None) -> Record:
        """The file; `number`: what it must hold. Raises Unusable, NotPermitted."""
        try:
            found = _record(json.loads(read_whole(path, MOST)))
            if number is not None and found.number != number:
                raise ValueError(f"it holds generation {found.number}")
        except PermissionError:
            raise NotPermitted(f"{path} may not be read by this user", "run this as root, with sudo") from None
        except OSError as error:
            raise Unusable(f"{path} cannot be read: {error.strerror}", _AGAIN) from None
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise Unusable(f"{path} is damaged: {ascii(str(error))[1:120].rstrip(chr(39))}", _AGAIN) from None
        return found


def _mark(number: int) -> str:
    return hashlib.sha256(f"quietgate {number}".encode()).hexdigest()[:16]


def _checksum(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({k: v for k, v in raw.items() if k != "checksum"}, sort_keys=True).encode()).hexdigest()


def _text(record: Record) -> str:
    raw = asdict(record)
    return json.dumps(raw | {"checksum": _checksum(raw)})


def _record(raw: Any) -> Record:
    """A record from JSON. One without a checksum was written by an earlier version. Raises ValueError, TypeError, KeyError."""
    if not isinstance(raw, dict):
        raise TypeError("it holds no object")
    if "checksum" in raw and raw["checksum"] != _checksum(raw):
        raise ValueError("its checksum is wrong")
    known = {f.name for f in fields(Record)}  # a newer version may have written more
    for name, value in raw.items():
        if name in known and not _FITS[name](value):
            raise TypeError(f"its {name} is none")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known}
    values["contents"] = tuple((str(n), str(t)) for n, t in raw.get("contents", ()))
    record = Record(**values)
    Counting(*record.counting)
    if f"g{record.number}_" not in record.text:
        raise ValueError(f"its ruleset is not one of generation {record.number}")
    return record


def _is_int(value: object, low: int = 0, high: int = 1 << 64) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _all(value: object, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


_FITS: dict[str, Callable[[Any], bool]] = {
    "number": lambda v: _is_int(v, 1, MOST_NUMBER - 1),
    "digest": lambda v: _is_text(v) and re.fullmatch("[0-9a-f]{64}", v) is not None,
    "text": _is_text,
    "ports": lambda v: _all(v, lambda p: _is_int(p, 1, 65535)),
    "files": lambda v: _all(v, _is_text),
    "made": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and abs(v) < 1e11,
    "listing": _is_text,
    "nft": _is_text,
    "shared": _is_text,
    "contents": lambda v: _all(v, lambda pair: _all(pair, _is_text) and len(pair) == 2),
    "counting": lambda v: _all(v, _is_int) and len(v) == 2,
    "by": lambda v: v is None or _is_int(v),
    "cookies": lambda v: _all(v, _is_int),
}
