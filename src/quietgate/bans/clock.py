"""The wall clock is set now and then: by network time after a boot without a battery, by hand.

How long a ban lasts is a length of time, and the kernel counts it by itself. What the store has of it is two wall times; they
move with the clock, or a ban of an hour would be over at once, or last for years. That of this boot which bears a time since
the first look is moved; what is older was written by a clock of which nothing is known.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import NamedTuple

from quietgate.state.database import Store

CLOCK = "clock"  # what is known of it, in the store
BOOT = Path("/proc/sys/kernel/random/boot_id")
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

    def __init__(self, kept: str | None = None) -> None:
        """`kept`: the `text` of the guard that ran before. What happened since is a jump too, if it was in this boot."""
        now = time.time()
        self._first, self._offset = now, now - time.clock_gettime(time.CLOCK_BOOTTIME)
        with contextlib.suppress(ValueError, TypeError, KeyError):
            before = json.loads(kept or "{}")
            if before["boot"] == _boot():
                self._first, self._offset = float(before["first"]), float(before["offset"])

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

    def text(self) -> str:
        """For the store."""
        return json.dumps({"boot": _boot(), "first": self._first, "offset": self._offset})


def follow(store: Store) -> bool:
    """Move what the store has of bans with the clock, if it was set since somebody last looked in this boot. Whoever is about to
    write or forget bans calls it first. The caller holds the lock. True if there was something to follow. Raises StateError.
    """
    if not _boot():
        return False  # the guard will see to it
    kept = store.about(CLOCK)
    jumps = Jumps(kept)
    jump = jumps.new()
    if jump is not None:
        store.shift(jump.first, jump.last, jump.by, [(CLOCK, jumps.text())])
    elif kept != jumps.text():
        store.put_about(CLOCK, jumps.text())
    return jump is not None


def _boot() -> str:
    """What tells this boot from others; "" for a unit that may not see it (ProcSubset=pid)."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
