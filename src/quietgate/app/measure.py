"""Figures for monitoring: light enough to be asked every few seconds, and as much as whoever asks may see.

Root sees all of it. Who is in `control.group` sees what the guard tells; the kernel's counters and the store are not for him.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quietgate.app.control import ask
from quietgate.app.inside import look
from quietgate.app.parts import Parts
from quietgate.errors import NotPermitted, QuietgateError
from quietgate.host import conntrack
from quietgate.host.book import Book
from quietgate.host.store import Store


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
    try:
        said = ask(parts.paths.control, {"ask": "status"}, timeout)
        guard, why_not, denied = (None, str(said["error"]), said.get("id") == "permission") if "error" in said else (said, "", False)
    except NotPermitted as error:
        why_not, denied = error.message, True
    except QuietgateError as error:
        why_not = error.message
    generation = trial = bans = alerts = waiting = None
    counters: Mapping[str, int] = {}
    with contextlib.suppress(QuietgateError):
        inside = look(parts.nft)
        generation = inside.deciding or 0
        trial = max(inside.left.values()) if inside.on_trial else None
        counters = parts.nft.counters() if inside.living is not None else {}
    with contextlib.suppress(QuietgateError, OSError):
        if parts.paths.store.exists():
            with Store(parts.paths.store, read_only=True) as store:
                book = Book(store)
                bans, alerts, waiting = store.count(time.time()), book.open_things(), len(book.parcels())
    if guard is not None and alerts is None:
        alerts, waiting = guard["alerts"]["standing"], guard["alerts"]["waiting"]
    held = False
    with contextlib.suppress(OSError):
        held = parts.paths.held_down.exists()
    return Measures(time.time(), guard, why_not, generation, trial, held, counters, bans, alerts, waiting, conntrack.fill(), denied)
