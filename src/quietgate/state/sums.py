"""Sums over what is recorded, for reports. All read only; each is one statement. Raises StateError, Damaged."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from quietgate.net import Prefix
from quietgate.state.database import Store

HOUR = 3600
MOST = 5000  # names that are asked for; each is looked up among the users of this host
# A right password that its account refused was told as a failure, and is taken back here as well.
TIMES = "sum(CASE outcome WHEN 'excused' THEN -times ELSE times END)"
CLEAR = "user<>'' AND user NOT LIKE '#%'"  # a hash (people/usernames) is of a name that did not exist when it was tried
TALLY = "tally:"  # of each hour (of UTC, since 1970), in the store's facts: bans by detector


@dataclass(frozen=True, slots=True)
class Busiest:
    """One source: attempts, their first and last wall second, the names in clear that it tried most with how often, and how many
    different names (or hashes) it tried.
    """

    source: Prefix
    attempts: int
    first: float
    last: float
    names: tuple[tuple[str, int], ...]
    tried: int


class Sums:
    """Over one store."""

    def __init__(self, store: Store, lengths: dict[int, int]) -> None:
        """`lengths`: how many bits of an address make one source, by IP version."""
        self._store, self._lengths = store, lengths

    def hold(self) -> None:
        """Until the store is closed, everything that is read is of one moment: the guard writes meanwhile."""
        with self._store.errors():
            self._store.db.execute("BEGIN")

    def attempts(self, since: float, until: float) -> tuple[int, int]:
        """How many attempts between two wall seconds, from how many sources."""
        with self._store.errors():
            row = self._store.db.execute(
                f"SELECT ifnull(sum(n), 0), count(*) FROM (SELECT {TIMES} AS n FROM attempts WHERE at >= ? AND at < ? GROUP BY version, source)",
                (since, until),
            ).fetchone()
        return int(row[0]), int(row[1])

    def by_time(self, since: float, until: float, parts: int) -> list[int]:
        """Attempts in equal parts of the time."""
        length = (until - since) / parts
        found = [0] * parts
        with self._store.errors():
            rows = self._store.db.execute(
                f"SELECT CAST((at - ?) / ? AS INTEGER) AS part, {TIMES} FROM attempts WHERE at >= ? AND at < ? GROUP BY part",
                (since, length, since, until),
            )
            for part, count in rows:
                found[min(int(part), parts - 1)] += int(count)
        return found

    def busiest(self, since: float, until: float, limit: int) -> list[Busiest]:
        """The sources with most attempts."""
        with self._store.errors():
            rows = self._store.db.execute(
                f"SELECT version, source, {TIMES} AS n, min(at), max(at) FROM attempts WHERE at >= ? AND at < ? GROUP BY version, source "
                "ORDER BY n DESC, source LIMIT ?", (since, until, limit)
            ).fetchall()  # fmt: skip
            names = [self._store.db.execute(
                f"SELECT user, {TIMES} AS n FROM attempts WHERE version=? AND source=? AND at >= ? AND at < ? AND {CLEAR} GROUP BY user "
                "ORDER BY n DESC, user LIMIT ?", (version, source, since, until, MOST)
            ).fetchall() for version, source, *_ in rows]  # fmt: skip
            tried = [self._store.db.execute(
                "SELECT count(DISTINCT user) FROM attempts WHERE version=? AND source=? AND at >= ? AND at < ? AND user<>''",
                (version, source, since, until)
            ).fetchone()[0] for version, source, *_ in rows]  # fmt: skip
        return [Busiest(Prefix(v, int.from_bytes(s, "big"), self._lengths[v]), n, first, last, tuple((str(u), int(c)) for u, c in clear), int(many))
                for (v, s, n, first, last), clear, many in zip(rows, names, tried, strict=True)]  # fmt: skip

    def names(self, since: float, until: float) -> list[tuple[str, int]]:
        """The names in clear that were tried most, with how often."""
        with self._store.errors():
            return [(str(u), int(n)) for u, n in self._store.db.execute(
                f"SELECT user, {TIMES} AS n FROM attempts WHERE at >= ? AND at < ? AND {CLEAR} GROUP BY user ORDER BY n DESC, user LIMIT ?",
                (since, until, MOST)
            )]  # fmt: skip

    def named(self, since: float, until: float) -> int:
        """How many attempts named anybody."""
        with self._store.errors():
            row = self._store.db.execute(
                f"SELECT ifnull({TIMES}, 0) FROM attempts WHERE at >= ? AND at < ? AND user<>''", (since, until)
            ).fetchone()
        return int(row[0])

    def bans(self, since: float, until: float) -> Counter[str]:
        """Bans that the guard made in the hours of this time, by detector."""
        found: Counter[str] = Counter()
        first, last = (f"{TALLY}{int(at) // HOUR:08d}" for at in (since, until))
        with self._store.errors():
            for (text,) in self._store.db.execute("SELECT value FROM about WHERE key >= ? AND key <= ?", (first, last)):
                found.update(json.loads(text))
        return found
