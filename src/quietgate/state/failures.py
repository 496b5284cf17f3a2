"""Who failed how often on which day, and with which names: kept by the side of the attempts, which go when there is no room.

A flood of attempts must not hide that somebody guessed slowly before he came in. At most MOST rows, about 100 MB; the oldest days go
first. Functions on an open database, within the caller's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from quietgate.net import BITS, Prefix
from quietgate.values import Guess, Guessed

DAY = 86400
MOST_NAMES = 8  # that are kept of a source and day
KEPT = 35  # days
MOST = 2_000_000  # rows
SLICE = 20_000  # rows that are forgotten in one transaction


def add(db: sqlite3.Connection, attempts: Iterable[Guess]) -> None:
    """Count the failures among these attempts."""
    found: dict[tuple[int, bytes, int], list[Guess]] = {}
    for g in attempts:
        if g.outcome in ("failed", "excused"):
            found.setdefault((g.source.version, _packed(g.source), int(g.at // DAY)), []).append(g)
    for key, guesses in found.items():
        at = [g.at for g in guesses]
        failures, names, first, last = db.execute(
            "SELECT failures, names, earliest, latest FROM guessers WHERE version=? AND source=? AND day=?", key
        ).fetchone() or (0, "[]", at[0], at[0])
        kept = list(dict.fromkeys([*json.loads(names), *(g.user for g in guesses if g.user)]))[:MOST_NAMES]
        # What was excused was told as a failure before.
        more = sum(g.times if g.outcome == "failed" else -g.times for g in guesses)
        row = (*key, max(0, failures + more), json.dumps(kept), min(first, *at), max(last, *at))
        db.execute("INSERT OR REPLACE INTO guessers VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def of(db: sqlite3.Connection, source: Prefix, since: float) -> Guessed:
    """The failures of a source since wall second `since`; of the day in which that lies, all."""
    rows = db.execute(
        "SELECT failures, names, earliest, latest FROM guessers WHERE version=? AND source=? AND day>=? AND latest>=?",
        (source.version, _packed(source), int(since // DAY), since),
    ).fetchall()
    names = frozenset(name for row in rows for name in json.loads(row[1]))
    return Guessed(sum(r[0] for r in rows), min((r[2] for r in rows), default=0.0), max((r[3] for r in rows), default=0.0), names)


def forget(db: sqlite3.Connection, now: float) -> bool:
    """Drop what is older than KEPT days at wall second `now`, and the oldest day while there are more than MOST rows; at most SLICE
    at a time: True if there is more to drop.
    """
    oldest, count = db.execute("SELECT min(day), count(*) FROM guessers").fetchone()
    if not count or (oldest >= now // DAY - KEPT and count <= MOST):
        return False
    gone = db.execute(
        "DELETE FROM guessers WHERE (version, source, day) IN (SELECT version, source, day FROM guessers WHERE day=? LIMIT ?)",
        (oldest, SLICE),
    )
    return bool(gone.rowcount)


def _packed(source: Prefix) -> bytes:
    return source.value.to_bytes(BITS[source.version] // 8, "big")
