"""Figures for monitoring: light enough to be asked every few seconds, and as much as whoever asks may see.

Root looks himself. Who is in `control.group`, as the server of metrics is, may look at nothing, and asks the guard, which looks for him.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quietgate.control.client import ask
from quietgate.errors import NotPermitted, QuietgateError
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import look
from quietgate.host import conntrack
from quietgate.state.alerts import Book

FRESH = 1.0  # seconds for which the guard does not look again


@dataclass(frozen=True, slots=True)
class Measures:
    """`guard`: what it says of itself, None if it does not answer (`why_not` tells). `generation`: which one decides, 0 for none, None
    where this user may not look; so are `bans` and `alerts` None. `trial`: seconds that one runs still. `held`: taken down by hand.
    `denied`: the guard may not be asked by this user, so that nobody knows whether it runs.
    """

    at: float
    guard: Mapping[str, Any] | None
    why_not: str = ""
    generation: int | None = None
    trial: float | None = None
    held: bool = False
    counters: Mapping[str, int] = field(default_factory=dict)
    bans: int | None = None
    alerts: Mapping[str, int] | None = None
    waiting: int | None = None
    conntrack: tuple[int, int] | None = None
    denied: bool = False


def measure(parts: Parts, timeout: float = 5.0) -> Measures:
    """Look. `timeout`: seconds for the guard's answer. Raises nothing: what cannot be seen is missing."""
    guard: Mapping[str, Any] | None = None
    why_not, denied = "", False
    mine = os.geteuid() == 0
    try:
        said = ask(parts.paths.control, {"ask": "status" if mine else "measures"}, timeout)
        guard, why_not, denied = (None, str(said["error"]), said.get("id") == "permission") if "error" in said else (said, "", False)
    except NotPermitted as error:
        why_not, denied = error.message, True
    except QuietgateError as error:
        why_not = error.message
    seen = look_at(parts) if mine else (guard or {}).get("measures") or {}
    alerts, waiting = seen.get("alerts"), seen.get("waiting")
    if guard is not None and alerts is None:
        alerts, waiting = guard["alerts"]["standing"], guard["alerts"]["waiting"]
    held = bool(seen.get("held"))
    if not mine:
        with contextlib.suppress(OSError):
            held = held or parts.paths.held_down.exists()
    return Measures(time.time(), guard, why_not, seen.get("generation"), seen.get("trial"), held, seen.get("counters") or {}, seen.get("bans"),
                    alerts, waiting, conntrack.fill(), denied)  # fmt: skip


def look_at(parts: Parts) -> dict[str, Any]:
    """What the kernel, the store and the disk say: `generation`, `trial`, `counters`, `bans`, `alerts`, `waiting`, `held`, as `Measures` has
    them; what cannot be seen is missing.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(QuietgateError):
        inside = look(parts.nft)
        found["generation"] = inside.deciding or 0
        found["trial"] = max(inside.left.values()) if inside.on_trial else None
        found["counters"] = parts.nft.counters() if inside.living is not None else {}
    with contextlib.suppress(QuietgateError, OSError):
        with parts.look() as store:
            book = Book(store)
            found |= {"bans": store.count(time.time()), "alerts": book.open_things(), "waiting": len(book.parcels())}
    with contextlib.suppress(OSError):
        found["held"] = parts.paths.held_down.exists()
    return found


class Measured:
    """The same for those who ask the guard: in a thread, once for all who ask within a second."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._at = float("-inf")
        self._found: dict[str, Any] = {}
        self._one = asyncio.Lock()

    async def now(self) -> dict[str, Any]:
        """As of the last second."""
        async with self._one:
            if time.monotonic() - self._at > FRESH:
                self._found = await asyncio.get_running_loop().run_in_executor(None, look_at, self._parts)
                self._at = time.monotonic()
        return self._found
