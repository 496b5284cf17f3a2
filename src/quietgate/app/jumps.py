"""The wall clock is set now and then: by network time after a boot without a battery, by hand.

How long a ban lasts is a length of time, and the kernel counts it by itself. What the store has of it is two wall times; they
move with the clock, or a ban of an hour would be over at once, or last for years.
"""

from __future__ import annotations

import time
from typing import NamedTuple

LEAST = 60.0  # seconds; less is what network time does all the time


class Jump(NamedTuple):
    """The clock was set by so many seconds. What bears a time from `first` to `last` (wall seconds) was written by the old one
    while we looked.
    """

    first: float
    last: float
    by: float


class Jumps:
    """Compares the wall clock with the one that nobody can set (CLOCK_BOOTTIME, which goes on while the host sleeps)."""

    def __init__(self) -> None:
        self._first = time.time()
        self._offset = self._first - time.clock_gettime(time.CLOCK_BOOTTIME)

    def new(self) -> Jump | None:
        """The jump since the last time it was asked for, if there was one."""
        now = time.time()
        by = now - time.clock_gettime(time.CLOCK_BOOTTIME) - self._offset
        if abs(by) < LEAST:
            return None
        jump = Jump(self._first, now - by, by)
        self._first += by
        self._offset += by
        return jump
