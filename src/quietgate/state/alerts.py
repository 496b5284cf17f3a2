"""The record of what a person should know, and of the messages that wait for a way out; beside the bans, in the same database.

Every method is one transaction. Raises StateError, Damaged, as the store does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from quietgate.net import BITS, Prefix
from quietgate.state import failures
from quietgate.state.database import Store
from quietgate.state.rows import packed
from quietgate.state.sums import HOUR, TALLY
from quietgate.values import Guessed, Noted, Parcel

MOST = 200_000  # things that are kept in the record
TALLIES = 60 * 86400.0  # seconds for which the hours' bans are kept
_COLUMNS = (
    "topic, subject, severity, what, evidence, done, next, lasting, earliest, latest, count, told, tellings, told_at, over, over_told, seen"
)
_UPDATE = ", ".join(f"{c.strip()}=?" for c in _COLUMNS.split(","))


class Book:
    """The record in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- what happened

    def write(self, noted: Sequence[Noted], parcels: Iterable[Parcel], about: Iterable[tuple[str, str]]) -> list[int]:
        """Things as they are now, messages that are to go out, and facts, in one commit. Returns the ids of the things."""
        ids = []
        with self._store.transaction():
            for n in noted:
                row = (n.topic, n.subject, n.severity, n.what, json.dumps(n.evidence), n.done, n.next, n.lasting, n.first, n.last, n.count,
                       n.told, n.tellings, n.told_at, n.over, n.over_told, n.seen)  # fmt: skip
                if n.id:
                    self._store.db.execute(f"UPDATE things SET {_UPDATE} WHERE id=?", (*row, n.id))
                    ids.append(n.id)
                else:
                    made = self._store.db.execute(f"INSERT INTO things ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
                    ids.append(made.lastrowid or 0)
            self._store.db.executemany("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)",
                                       ((p.id, p.route, p.message, p.made, p.due, p.tries, p.error) for p in parcels))  # fmt: skip
            self._store.db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about)
        return ids

    def noted(self, since: float, limit: int = -1) -> list[Noted]:
        """What happened after wall second `since`, or lasts still; the latest first."""
        return self._noted("WHERE latest > ? OR (lasting AND over='') ORDER BY latest DESC, id DESC LIMIT ?", (since, limit))

    def with_ids(self, ids: Sequence[int]) -> list[Noted]:
        """Those of these that there are."""
        return self._noted(f"WHERE id IN ({', '.join('?' * len(ids))})", tuple(ids))

    def see(self, ids: Sequence[int]) -> None:
        """A person has acknowledged these."""
        with self._store.transaction():
            self._store.db.executemany("UPDATE things SET seen=1 WHERE id=?", ((i,) for i in ids))

    def open_things(self) -> dict[str, int]:
        """How many things nobody has acknowledged that last still, or happened and were no passing state; by topic."""
        with self._store.errors():
            return dict(self._store.db.execute("SELECT topic, count(*) FROM things WHERE NOT seen AND over='' GROUP BY topic").fetchall())

    def forget(self, since: float, now: float) -> bool:
        """Drop things that were over before wall second `since` and the oldest beyond MOST; and what `guessers` keeps too long.
        True if there is more to drop.
        """
        with self._store.transaction():
            self._store.db.execute("DELETE FROM things WHERE latest < ? AND (over<>'' OR NOT lasting)", (since,))
            self._store.db.execute("DELETE FROM things WHERE id IN (SELECT id FROM things ORDER BY latest DESC LIMIT -1 OFFSET ?)", (MOST,))
            self._store.db.execute("DELETE FROM about WHERE key >= ? AND key < ?", (TALLY, f"{TALLY}{int(now - TALLIES) // HOUR:08d}"))
            return failures.forget(self._store.db, now)

    # -- what waits for a way out

    def parcels(self) -> list[Parcel]:
        """Messages that wait, the oldest first."""
        with self._store.errors():
            rows = self._store.db.execute(
                "SELECT id, route, message, made, due, tries, error FROM outbox ORDER BY made, id, route"
            ).fetchall()
        return [Parcel(*row) for row in rows]

    def took(self, parcel: Parcel) -> None:
        """This one has arrived, or will never."""
        with self._store.transaction():
            self._store.db.execute("DELETE FROM outbox WHERE id=? AND route=?", (parcel.id, parcel.route))

    # -- what was there before a login

    def guessed(self, source: Prefix, since: float) -> Guessed:
        """The failures of a source since (the day of) wall second `since`."""
        with self._store.errors():
            return failures.of(self._store.db, source, since)

    def has_logged_in(self, within: Prefix | None, user: str | None, before: float) -> bool:
        """True if somebody (or this user) has logged in before wall second `before` from this prefix (None: from anywhere)."""
        where, rows = ["earliest < ?"], list[object]([before])
        if user is not None:
            where.append("user=?")
            rows.append(user)
        if within is not None:
            where.append("version=? AND address BETWEEN ? AND ?")
            rows += [within.version, packed(within), within.last.to_bytes(BITS[within.version] // 8, "big")]
        with self._store.errors():
            return self._store.db.execute(f"SELECT 1 FROM logins WHERE {' AND '.join(where)} LIMIT 1", rows).fetchone() is not None

    def _noted(self, where: str, values: tuple[object, ...]) -> list[Noted]:
        with self._store.errors():
            rows = self._store.db.execute(f"SELECT id, {_COLUMNS} FROM things {where}", values).fetchall()
        return [Noted(*[*r[:5], tuple(json.loads(r[5])), *r[6:8], bool(r[8]), *r[9:16], bool(r[16]), bool(r[17])]) for r in rows]
