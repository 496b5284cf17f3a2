"""Confirmed generations on disk: what a boot loads, and what `status` compares the kernel with.

A candidate is written and synced before the kernel takes it, and renamed after. A crash between leaves the kernel
new and the disk old, which is safe: `status` says so, and the next `up` mends it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from quietgate.errors import NotPermitted, StateError
from quietgate.host.files import sync_directory, write_durably

KEPT = 10
_FILE = re.compile(r"(\d{1,9})\.json\Z")


@dataclass(frozen=True, slots=True)
class Record:
    """One generation: its number, ruleset text, digest, SSH ports, and what nft listed after it was loaded."""

    number: int
    digest: str
    text: str
    ports: tuple[int, ...]
    files: tuple[str, ...]
    made: float
    listing: str = ""
    nft: str = ""


class Generations:
    """The directory of generations. Writing methods are atomic; all raise StateError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self) -> Record | None:
        """The confirmed generation; None before the first."""
        numbers = self._numbers()
        return self._read(self._path(numbers[-1])) if numbers else None

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
        write_durably(self._candidate, json.dumps(asdict(record)))

    def confirm(self, record: Record) -> None:
        """Make it the newest confirmed generation and forget all but the last ten."""
        write_durably(self._path(record.number), json.dumps(asdict(record)))
        try:
            self._candidate.unlink(missing_ok=True)
            for old in self._numbers()[:-KEPT]:
                self._path(old).unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise StateError(f"{self._directory}: {error.strerror}", "the ruleset is in force and written") from None

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
            return Record(**{**raw, "ports": tuple(raw["ports"]), "files": tuple(raw["files"])})
        except PermissionError:
            raise NotPermitted(f"{path} may not be read by this user", "run this as root, with sudo") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StateError(f"{path} cannot be read: {error}", "run `quietgate up`, which writes a new one") from None
