"""The values a policy is made of, beyond numbers and texts."""

from __future__ import annotations

from dataclasses import dataclass

from quietgate.clock import format_duration
from quietgate.errors import Origin
from quietgate.net import Prefix


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` events in `window` seconds."""

    count: int
    window: int

    def __str__(self) -> str:
        return f"{self.count} per {format_duration(self.window)}"


@dataclass(frozen=True, slots=True)
class LogSource:
    """A file whose lines name no program: whose they are is declared. `path` absolute."""

    path: str
    program: str

    def __str__(self) -> str:
        return f'{{ path = "{self.path}", program = "{self.program}" }}'


@dataclass(frozen=True, slots=True)
class Name:
    """A host name, to be resolved at the edge; the core never looks anything up."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Group:
    """A reference to `[groups]`, replaced by its members when the files are merged."""

    text: str


@dataclass(frozen=True, slots=True)
class Anywhere:
    """Every address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of an address list, and where it was written. `group` is the group it came through, or ""."""

    target: Prefix | Name
    origin: Origin
    group: str = ""

    def __str__(self) -> str:
        return f"{self.target} (@{self.group})" if self.group else str(self.target)


@dataclass(frozen=True, slots=True)
class Addresses:
    """An address list after merging. `anywhere` is True when it holds "anywhere"."""

    entries: tuple[Entry, ...] = ()
    anywhere: bool = False

    def __bool__(self) -> bool:
        return self.anywhere or bool(self.entries)


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A range of ports, both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high <= 65535:
            raise ValueError(f"no port range: {self.low}-{self.high}")

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
