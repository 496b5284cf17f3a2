"""The kinds of value a policy holds, and how each is read from TOML.

A reader takes the raw value and returns the typed one, or raises `Bad` with what is wrong and what to write. It
knows nothing of files and lines: `load.py` adds those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from quietgate.clock import format_duration, parse_duration
from quietgate.errors import Origin
from quietgate.net import AddressError, Prefix, parse_prefix

HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?\Z")
RULE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
MAX_LIST = 100_000  # elements in one list; a policy is not a ban list


class Bad(ValueError):
    """A value that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


Reader: TypeAlias = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` events in `window` seconds."""

    count: int
    window: int

    def __str__(self) -> str:
        return f"{self.count} per {format_duration(self.window)}"


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


def kind(value: object) -> str:
    """What TOML calls the type of a value."""
    names: dict[type, str] = {bool: "true or false", int: "a number", float: "a number with a fraction",
                              str: "a text", list: "a list", dict: "a table"}  # fmt: skip
    return names.get(type(value), "a date or time")


def _text(value: object, like: str) -> str:
    if not isinstance(value, str):
        raise Bad(f"expected a text, found {kind(value)}", f"write it in quotes, like {like}")
    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Bad(f"expected true or false, found {kind(value)}", "write true or false, without quotes")
    return value


def alert(value: object) -> bool | str:
    """true, false or "digest"."""
    if value == "digest":
        return "digest"
    if not isinstance(value, bool):
        raise Bad(f"{show(value)} is not possible here", 'write true, false or "digest"')
    return value


def text(value: object) -> str:
    """Any text of up to 4,096 characters without control characters."""
    found = _text(value, '"text"')
    if len(found) > 4096 or not found.isprintable():
        raise Bad("the text is too long or holds control characters", "at most 4096 printable characters")
    return found


def integer(low: int, high: int) -> Reader:
    """A whole number from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Bad(f"expected a number, found {kind(value)}", f"write a whole number from {low} to {high}")
        if not low <= value <= high:
            raise Bad(f"{value} is out of range", f"write a whole number from {low} to {high}")
        return value

    return read


def choice(*words: str) -> Reader:
    """One of a few words."""
    listed = " or ".join(f'"{w}"' for w in words)

    def read(value: object) -> str:
        found = _text(value, f'"{words[0]}"')
        if found not in words:
            raise Bad(f"{found!r} is not possible here", f"write {listed}")
        return found

    return read


def duration(low: int = 1, high: int = 10 * 365 * 86400, *, words: tuple[str, ...] = ()) -> Reader:
    """Seconds, or None for one of `words` ("off", "forever")."""
    bounds = f"{format_duration(low)} to {format_duration(high)}"

    def read(value: object) -> int | None:
        found = _text(value, '"90s"')
        if found in words:
            return None
        try:
            seconds = parse_duration(found)
        except ValueError as error:
            raise Bad(str(error), f"write {bounds}{''.join(f', or {w!r}' for w in words)}") from None
        if not low <= seconds <= high:
            raise Bad(f"{found!r} is out of range", f"write {bounds}")
        return seconds

    return read


_RATE = re.compile(r"(\S+)\s+per\s+(\S+)\Z")


def rate(max_count: int = 1_000_000, max_window: int = 86400, *, words: tuple[str, ...] = ("off",)) -> Reader:
    """A `Rate`, or the word itself when it is one of `words`, with "off" read as None."""
    also = "".join(f', or "{w}"' for w in words)

    def read(value: object) -> Rate | str | None:
        found = _text(value, '"5 per 60s"')
        if found in words:
            return None if found == "off" else found
        match = _RATE.match(found)
        if match is None:
            raise Bad(f"{found!r} is no rate", f'write it like "5 per 60s"{also}')
        count, window = match.groups()
        if not (count.isascii() and count.isdigit()) or len(count) > 9 or not 1 <= int(count) <= max_count:
            raise Bad(f"{found!r}: {count} is out of range", f"the number goes from 1 to {max_count}{also}")
        try:
            seconds = parse_duration(window)
        except ValueError as error:
            raise Bad(f"{found!r}: {error}", f'write it like "5 per 60s"{also}') from None
        if not 1 <= seconds <= max_window:
            raise Bad(f"{found!r}: the window {window} is out of range",
                      f"the window goes from 1s to {format_duration(max_window)}{also}")  # fmt: skip
        return Rate(int(count), seconds)

    return read


def listed(element: Reader, what: str) -> Reader:
    """A list; each element read by `element`. Errors of elements are raised by `load`, which knows their lines."""

    def read(value: object) -> list[object]:
        if not isinstance(value, list):
            raise Bad(f"expected a list of {what}, found {kind(value)}", f"put it in brackets: [{show(value)}]")
        if len(value) > MAX_LIST:
            raise Bad(f"{len(value)} elements are too many", f"a list holds at most {MAX_LIST}; ban lists go to `quietgate ban`")
        return value

    read.element = element  # type: ignore[attr-defined]
    return read


def show(value: object) -> str:
    """A TOML-like rendering of a simple value, for messages."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def address(value: object) -> Prefix | Name | Group | Anywhere:
    """An IP address, a prefix, a host name, "@group" or "anywhere"."""
    found = _text(value, '"192.0.2.7"')
    if found == "anywhere":
        return Anywhere()
    if found.startswith("@"):
        return Group(found[1:])
    numeric = ":" in found or "/" in found or found.replace(".", "").isdigit()
    if not numeric:
        if HOST_NAME.match(found):
            return Name(found.lower().rstrip("."))
        raise Bad(f"{found!r} is no address and no host name",
                  'write an IP address, a prefix, a host name, "@group" or "anywhere"')  # fmt: skip
    try:
        return parse_prefix(found)
    except AddressError as error:
        raise Bad(str(error), error.remedy) from None


def port(value: object) -> Ports:
    """A port or a range of ports: 22, "8000-8010"."""
    remedy = 'write a port from 1 to 65535, or a range like "8000-8010"'
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Bad(f"expected a port, found {kind(value)}", remedy)
    low, dash, high = str(value).partition("-")
    parts = [low, high] if dash else [low]
    if not all(p.isascii() and p.isdigit() and len(p) <= 6 for p in parts):
        raise Bad(f"{value!r} is no port", remedy)
    numbers = [int(p) for p in parts]
    if any(not 1 <= n <= 65535 for n in numbers):
        raise Bad(f"port {value} is out of range", remedy)
    if numbers[0] > numbers[-1]:
        raise Bad(f"the range {value} runs backwards", f'write "{numbers[-1]}-{numbers[0]}"')
    return Ports(numbers[0], numbers[-1])


def single_port(value: object) -> int:
    """One port."""
    found = port(value)
    if found.low != found.high:
        raise Bad(f"{value!r} is a range", "name each SSH port by itself")
    return found.low


def interface(value: object) -> str:
    """An interface name, or a prefix of names with a final *; the interface need not exist yet."""
    found = _text(value, '"eth0"')
    stem = found.removesuffix("*")
    if len(stem) > 15:
        raise Bad(f"{found!r} has {len(stem)} characters", "the kernel's interface names have at most 15")
    if not found or any(c in stem for c in '/*"\\ ') or not found.isprintable() or found in (".", ".."):
        raise Bad(f"{found!r} is no interface name", 'write a name like "eth0", or a prefix like "wg*"')
    return found


PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


def protocol(value: object) -> int | None:
    """The protocol number; None for "any"."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= 255:
            raise Bad(f"protocol {value} is out of range", "protocol numbers go from 0 to 255")
        return value
    found = _text(value, '"tcp"')
    if found == "any":
        return None
    if found not in PROTOCOLS:
        raise Bad(f"{found!r} is no protocol known here", "write tcp, udp, icmp, icmpv6, any, or a protocol number")
    return PROTOCOLS[found]


def rule_name(value: object) -> str:
    """A name for a rule, used in comments, counters and `why`."""
    found = _text(value, '"web"')
    if not RULE_NAME.match(found):
        raise Bad(f"{found!r} is no rule name", "use 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit")
    return found


def log_prefix(value: object) -> str:
    """The prefix of log lines: printable ASCII without quotes; 110 characters leave room for the kernel's 127."""
    found = _text(value, '"SSH Brute Force Attempt: "')
    if not found or len(found) > 110 or not found.isascii() or not found.isprintable() or '"' in found or "\\" in found or "$" in found:
        raise Bad("the log prefix cannot be used", 'at most 110 printable ASCII characters, without " \\ or $')
    return found


def mark_bit(value: object) -> int:
    """One bit of the 32-bit conntrack mark."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32 or value & (value - 1):
        raise Bad(f"{show(value)} is not one bit", "write one bit of 32, like 0x10000000")
    return value
