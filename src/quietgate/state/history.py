"""The history: what quietgate changed, by whom and why; beside the bans, in the same database.

At most MOST rows, about 60 MB; the oldest go first. `add` works on an open database, within the caller's transaction, so that a
ban and its row are one commit. `Store.forget_old` forgets what is old.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

from quietgate.state.database import Store
from quietgate.values import Deed, What

MOST = 500_000  # rows
_KINDS = frozenset(what.value for what in What)
_COLUMNS = "id, at, deed, subject, scope, until, author, reason"


def add(db: sqlite3.Connection, deeds: Sequence[Deed]) -> list[Deed]:
    """Append these; the same with their ids."""
    if not deeds:
        return []
    db.executemany(
        "INSERT INTO history (at, deed, subject, scope, until, author, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((d.at, d.what.value, d.subject, d.scope, d.until, d.by, d.reason) for d in deeds),
    )
    last = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])  # nobody else writes meanwhile: the ids have no gaps
    db.execute("DELETE FROM history WHERE id <= ?", (last - MOST,))
    return [replace(d, id=last - len(deeds) + n) for n, d in enumerate(deeds, 1)]


def read(store: Store, *, since: float = 0.0, after: int = 0, limit: int = -1) -> Iterator[Deed]:
    """Deeds of wall second `since` or later with ids above `after`, the oldest first. None in a database that has no history yet.

    Raises StateError, Damaged.
    """
    with store.errors():
        if not _there(store.db):
            return
        rows = store.db.execute(f"SELECT {_COLUMNS} FROM history WHERE id > ? AND at >= ? ORDER BY id LIMIT ?", (after, since, limit))
        for row in rows:
            deed = _deed(*row)
            if deed is not None:
                yield deed


def newest(store: Store) -> int:
    """The id of the last deed; 0 before the first. Raises StateError, Damaged."""
    with store.errors():
        return int(store.db.execute("SELECT ifnull(max(id), 0) FROM history").fetchone()[0])


def last_about(store: Store, subject: str) -> Deed | None:
    """The last deed with this subject. Raises StateError, Damaged."""
    with store.errors():
        row = store.db.execute(f"SELECT {_COLUMNS} FROM history WHERE subject=? ORDER BY id DESC LIMIT 1", (subject,)).fetchone()
    return None if row is None else _deed(*row)


def _deed(id_: int, at: float, what: str, subject: str, scope: str, until: float | None, by: str, reason: str) -> Deed | None:
    """None for a kind that a newer quietgate wrote, or a damaged page holds."""
    return Deed(at, What(what), subject, scope, until, by, reason, id_) if what in _KINDS else None


def _there(db: sqlite3.Connection) -> bool:
    """A reader does not bring an older database up to date."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name='history'").fetchone() is not None
