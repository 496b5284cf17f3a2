"""Sums over what is recorded, for reports. All read only; each is one statement. Raises StateError, Damaged."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from quietgate.host.store import Store
from quietgate.net import Prefix

HOUR = 3600
TALLY = "tally:"  # of each hour (of UTC, since 1970), in the store's facts: bans by detector


@dataclass(frozen=True, slots=True)
class Busiest:
    """One source: attempts, their first and last wall second, and the names (or hashes) that it tried with how often."""

    source: Prefix
    attempts: int
    first: float
    last: float
    names: tuple[tuple[str, int], ...]


class Sums:
    """Over one store."""

    def __init__(self, store: Store, lengths: dict[int, int]) -> None:
        """`lengths`: how many bits of an address make one source, by IP version."""
        self._store, self._lengths = store, lengths

    def attempts(self, since: float, until: float) -> tuple[int, int]:
        """How many attempts between two wall seconds, from how many sources."""
        with self._store.errors():
            row = self._store.db.execute(
                "SELECT ifnull(sum(n), 0), count(*) FROM (SELECT sum(times) AS n FROM attempts WHERE at >= ? AND at < ? GROUP BY version, source)",
                (since, until),
            ).fetchone()
        return int(row[0]), int(row[1])

    def by_time(self, since: float, until: float, parts: int) -> list[int]:
        """Attempts in equal parts of the time."""
        length = (until - since) / parts
        found = [0] * parts
        with self._store.errors():
            rows = self._store.db.execute(
                "SELECT CAST((at - ?) / ? AS INTEGER) AS part, sum(times) FROM attempts WHERE at >= ? AND at < ? GROUP BY part",
                (since, length, since, until),
            )
            for part, count in rows:
                found[min(int(part), parts - 1)] += int(count)
        return found

    def busiest(self, since: float, until: float, limit: int) -> list[Busiest]:
        """The sources with most attempts."""
        with self._store.errors():
            rows = self._store.db.execute(
                "SELECT version, source, sum(times) AS n, min(at), max(at) FROM attempts WHERE at >= ? AND at < ? GROUP BY version, source "
                "ORDER BY n DESC, source LIMIT ?", (since, until, limit)
            ).fetchall()  # fmt: skip
            names = [self._store.db.execute(
                "SELECT user, sum(times) AS n FROM attempts WHERE version=? AND source=? AND at >= ? AND at < ? AND user<>'' GROUP BY user "
                "ORDER BY n DESC, user LIMIT 200", (version, source, since, until)
            ).fetchall() for version, source, *_ in rows]  # fmt: skip
        return [Busiest(Prefix(v, int.from_bytes(s, "big"), self._lengths[v]), n, first, last, tuple((str(u), int(c)) for u, c in tried))
                for (v, s, n, first, last), tried in zip(rows, names, strict=True)]  # fmt: skip

    def names(self, since: float, until: float, limit: int) -> list[tuple[str, int]]:
        """The names (or hashes) that were tried most, with how often."""
        with self._store.errors():
            return [(str(u), int(n)) for u, n in self._store.db.execute(
                "SELECT user, sum(times) AS n FROM attempts WHERE at >= ? AND at < ? AND user<>'' GROUP BY user ORDER BY n DESC, user LIMIT ?",
                (since, until, limit)
            )]  # fmt: skip

    def bans(self, since: float, until: float) -> Counter[str]:
        """Bans that the guard made in the hours of this time, by detector."""
        found: Counter[str] = Counter()
        first, last = (f"{TALLY}{int(at) // HOUR:08d}" for at in (since, until))
        with self._store.errors():
            for (text,) in self._store.db.execute("SELECT value FROM about WHERE key >= ? AND key <= ?", (first, last)):
                found.update(json.loads(text))
        return found
