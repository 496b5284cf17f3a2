"""Time, in the two senses that must not be mixed, and durations as people write them."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d{1,9}[smhdw])+\Z")
_PART = re.compile(r"(\d+)([smhdw])")


class Instant(NamedTuple):
    """One moment: `wall` (seconds since 1970, UTC) for people and the store, `mono` (seconds) for windows.

    The wall clock may jump; nothing that is counted may depend on it.
    """

    wall: float
    mono: float


def parse_duration(text: str) -> int:
    """Seconds in `90s`, `10m`, `1h30m`, `1d`, `2w`. Raises ValueError with what is wrong."""
    if not _DURATION.match(text):
        raise ValueError(f"{text!r} is no duration: a number and one of s m h d w, as in 90s, 10m, 1d")
    return sum(int(n) * UNITS[u] for n, u in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest exact way to write whole seconds: 90 -> 1m30s, 3600 -> 1h. Fractions are rounded up."""
    left = int(-(-seconds // 1))
    if left <= 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s"):
        n, left = divmod(left, UNITS[unit])
        if n:
            parts.append(f"{n}{unit}")
    return "".join(parts)


def moment(wall: float | None) -> str:
    """A wall time as local ISO date and time; "for ever" for None."""
    if wall is None:
        return "for ever"
    return datetime.datetime.fromtimestamp(wall).astimezone().strftime("%Y-%m-%d %H:%M:%S")
