"""What an administrator has granted for a time, beside the policy: an address that is let in (`allow`), a source that is not banned again
(`pardon`, of `unban --for`). Functions on an open store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from quietgate.net import BITS, Prefix
from quietgate.state.database import Store

MOST = 10_000  # of each kind; of more, those that would end soonest leave


class Kind(StrEnum):
    """What is granted."""

    ALLOW = "allow"
    PARDON = "pardon"


@dataclass(frozen=True, slots=True)
class Grant:
    """One of them, until a wall second, and by whom."""

    kind: Kind
    prefix: Prefix
    until: float
    by: str = ""
    reason: str = ""


def put(store: Store, grants: Iterable[Grant]) -> None:
    """Write them, in place of those of the same kind and prefix. Raises StateError."""
    rows = [(g.kind.value, g.prefix.version, _packed(g.prefix), g.prefix.length, g.until, g.by, g.reason) for g in grants]
    with store.transaction():
        store.db.executemany("INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for kind in {row[0] for row in rows}:
            store.db.execute(
                "DELETE FROM grants WHERE kind=? AND rowid NOT IN (SELECT rowid FROM grants WHERE kind=? ORDER BY until DESC LIMIT ?)",
                (kind, kind, MOST),
            )


def standing(store: Store, kind: Kind, now: float) -> list[Grant]:
    """Those in force at wall second `now`, by address. Raises StateError."""
    with store.errors():
        rows = store.db.execute(
            "SELECT version, first, length, until, author, reason FROM grants WHERE kind=? AND until > ? ORDER BY version, first, length",
            (kind.value, now),
        ).fetchall()
    return [
        Grant(kind, Prefix.of(v, int.from_bytes(first, "big"), length), until, by, reason) for v, first, length, until, by, reason in rows
    ]


def end(store: Store, kind: Kind, prefix: Prefix) -> int:
    """End what was granted to this prefix or inside it; how many that were."""
    size = BITS[prefix.version] // 8
    with store.transaction():
        done = store.db.execute(
            "DELETE FROM grants WHERE kind=? AND version=? AND length>=? AND first BETWEEN ? AND ?",
            (kind.value, prefix.version, prefix.length, _packed(prefix), prefix.last.to_bytes(size, "big")),
        )
    return done.rowcount


def _packed(prefix: Prefix) -> bytes:
    return prefix.value.to_bytes(BITS[prefix.version] // 8, "big")
