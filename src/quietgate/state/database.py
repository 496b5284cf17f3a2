"""The store: bans and logins, in SQLite (WAL), the truth that the kernel's sets are rebuilt from.

Every method is one transaction, or says otherwise. Raises StateError when the disk is full or read-only, Damaged when the file
is not a database, or not whole (`salvage.py`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from quietgate.errors import Damaged, NotPermitted, StateError
from quietgate.net import BITS, Prefix
from quietgate.state import failures
from quietgate.state.database_file import FILES, as_its_directory, make_database, open_read_only, unusable
from quietgate.state.rows import mends, packed, prefix_of, row_of, scope_of
from quietgate.state.schema import LATER, SCHEMA, TABLES, VERSION
from quietgate.values import Ban, Guess, Login, Scope

GRACE = 86400.0  # seconds that a ban is kept after its end
SLICE = 5000  # attempts that are forgotten in one transaction


class Store:
    """The database at `path`; made when it is missing, unless `read_only`."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        """`path` None: in memory, empty."""
        self._path = path or Path("memory")
        if path is None:
            self.db = sqlite3.connect(":memory:", isolation_level=None)
            self._migrate()
            return
        with self.errors():
            _look_at(path)
            if read_only:
                self.db = open_read_only(path)
                self.db.execute("PRAGMA trusted_schema=OFF")
            else:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                fresh = not path.exists()
                if fresh:
                    make_database(path)
                self.db = sqlite3.connect(path, timeout=10, isolation_level=None)
                if fresh:
                    as_its_directory(path)
                self.db.execute("PRAGMA trusted_schema=OFF")
                self.db.execute("PRAGMA journal_mode=WAL")
                self.db.execute("PRAGMA synchronous=FULL")
                self._migrate()

    @classmethod
    def empty(cls) -> Self:
        """A store that holds nothing and keeps nothing: what is read where there is none."""
        return cls(None)

    def _migrate(self) -> None:
        found = self.db.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise StateError(f"{self._path} was written by a newer quietgate", "install that version again")
        steps = [SCHEMA] if found == 0 else []
        steps += [text for version, text in sorted(LATER.items()) if version > found]
        if steps:
            self.db.executescript(f"BEGIN IMMEDIATE; {' '.join(steps)} PRAGMA user_version={VERSION}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let it go."""
        self.db.close()

    def put_bans(self, bans: Iterable[Ban], before_commit: Callable[[], object]) -> None:
        """Write bans, replacing those of the same prefix and scope. `before_commit` runs when all is written but the
        commit; when it raises, nothing is kept.
        """
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (row_of(b) for b in bans))
            before_commit()

    def delete_bans(self, keys: Iterable[tuple[Prefix, Scope]], before_commit: Callable[[], object]) -> None:
        """Remove bans; those that are not there are passed over."""
        rows = ((p.version, packed(p), p.length, s.value) for p, s in keys)
        with self.transaction():
            self.db.executemany("DELETE FROM bans WHERE version=? AND first=? AND length=? AND scope=?", rows)
            before_commit()

    def forget_ended(self, now: float) -> None:
        """Remove bans that ended more than GRACE before wall time `now`: a clock that is ahead for some hours loses none."""
        with self.transaction():
            self.db.execute("DELETE FROM bans WHERE until IS NOT NULL AND until <= ?", (now - GRACE,))

    def bans(self, now: float) -> Iterator[Ban]:
        """Bans in force at wall time `now`, by address."""
        with self.errors():
            rows = self.db.execute(
                "SELECT version, first, length, scope, since, until, reason, author FROM bans "
                "WHERE until IS NULL OR until > ? ORDER BY version, first, length, scope", (now,)
            )  # fmt: skip
            for version, first, length, scope, since, until, reason, by in rows:
                yield Ban(prefix_of(version, int.from_bytes(first, "big"), length), scope_of(scope), since, until, reason, by)

    def made_by(self, by: str, since: float, limit: int) -> list[tuple[int, bytes, int, float]]:
        """IP version, packed first address, length and wall second of the last `limit` bans that somebody made for cause after
        wall second `since`, the oldest first, ended or not.
        """
        with self.errors():
            rows = self.db.execute(
                "SELECT version, first, length, since FROM bans WHERE author=? AND since > ? AND reason NOT LIKE 'widen%' ORDER BY since DESC LIMIT ?",
                (by, since, limit),
            ).fetchall()
        return rows[::-1]

    def find(self, prefix: Prefix) -> list[Ban]:
        """Bans of exactly this prefix, ended or not."""
        with self.errors():
            rows = self.db.execute(
                "SELECT scope, since, until, reason, author FROM bans WHERE version=? AND first=? AND length=?",
                (prefix.version, packed(prefix), prefix.length),
            ).fetchall()
        return [Ban(prefix, scope_of(scope), since, until, reason, by) for scope, since, until, reason, by in rows]

    def covering(self, address: Prefix, now: float) -> list[Ban]:
        """Bans in force whose prefix covers this one, the widest first. One statement: the guard asks before each of its bans."""
        version, value = address.version, address.value
        size, shift = BITS[version] // 8, BITS[version]
        rows = [(value >> (shift - n) << (shift - n)).to_bytes(size, "big") for n in range(address.length + 1)]
        wider = ", ".join(f"(?, {n})" for n in range(address.length + 1))
        with self.errors():
            found = self.db.execute(  # CROSS JOIN: SQLite keeps this order, a seek for each length
                f"WITH wider (at, n) AS (VALUES {wider}) SELECT first, length, scope, since, until, reason, author FROM wider CROSS JOIN bans "
                "ON version=? AND first=at AND length=n WHERE until IS NULL OR until > ?", (*rows, version, now)
            ).fetchall()  # fmt: skip
        return [Ban(prefix_of(version, int.from_bytes(first, "big"), length), scope_of(scope), since, until, reason, by)
                for first, length, scope, since, until, reason, by in found]  # fmt: skip

    def within(self, prefix: Prefix, now: float) -> list[Ban]:
        """Bans of this prefix and of everything in it; of exactly this prefix ended ones too, since the kernel may still have them."""
        size = BITS[prefix.version] // 8
        with self.errors():
            rows = self.db.execute(
                "SELECT first, length, scope, since, until, reason, author FROM bans WHERE version=? AND first BETWEEN ? AND ? AND length>=? "
                "AND (length=? OR until IS NULL OR until > ?) ORDER BY first, length",
                (prefix.version, packed(prefix), prefix.last.to_bytes(size, "big"), prefix.length, prefix.length, now),
            ).fetchall()
        return [Ban(prefix_of(prefix.version, int.from_bytes(first, "big"), length), scope_of(scope), since, until, reason, by)
                for first, length, scope, since, until, reason, by in rows]  # fmt: skip

    def of_other_length(self, version: int, scope: Scope, length: int, now: float) -> list[Ban]:
        """Bans in force of one IP version and scope whose prefix has another length, by address."""
        with self.errors():
            rows = self.db.execute(
                "SELECT first, length, since, until, reason, author FROM bans WHERE version=? AND scope=? AND length<>? "
                "AND (until IS NULL OR until > ?) ORDER BY first, length", (version, scope.value, length, now)
            ).fetchall()  # fmt: skip
        return [Ban(prefix_of(version, int.from_bytes(f, "big"), n), scope, since, until, reason, by)
                for f, n, since, until, reason, by in rows]  # fmt: skip

    def soonest(self, count: int, now: float) -> list[Ban]:
        """The bans in force that end first, those for ever last and the oldest of them first."""
        with self.errors():
            rows = self.db.execute(
                "SELECT version, first, length, scope, since, until, reason, author FROM bans "
                "WHERE until IS NULL OR until > ? ORDER BY until IS NULL, until, since LIMIT ?", (now, count)
            ).fetchall()  # fmt: skip
        return [Ban(prefix_of(v, int.from_bytes(f, "big"), n), scope_of(scope), since, until, reason, by)
                for v, f, n, scope, since, until, reason, by in rows]  # fmt: skip

    def count(self, now: float) -> int:
        """Bans in force at wall time `now`."""
        with self.errors():
            return int(self.db.execute("SELECT count(*) FROM bans WHERE until IS NULL OR until > ?", (now,)).fetchone()[0])

    def count_since(self, now: float, since: float) -> int:
        """Bans in force at wall time `now` that were made after wall time `since`."""
        with self.errors():
            row = self.db.execute("SELECT count(*) FROM bans WHERE (until IS NULL OR until > ?) AND since > ?", (now, since))
            return int(row.fetchone()[0])

    def names(self) -> dict[str, tuple[str, ...]]:
        """The last addresses of host names that resolved once."""
        with self.errors():
            return {name: tuple(text.split()) for name, text in self.db.execute("SELECT name, addresses FROM names")}

    def put_names(self, found: dict[str, tuple[str, ...]]) -> None:
        """Remember the addresses of host names."""
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO names VALUES (?, ?)", ((n, " ".join(a)) for n, a in found.items()))

    def put_logins(self, logins: Iterable[Login]) -> None:
        """Keep logins that the kernel has shown; of one user from one address the first and the last stay. Idempotent."""
        self._put_logins("logins", logins)

    def remember_logins(self, logins: Iterable[Login]) -> None:
        """Keep logins that a log alone tells of: they earn nobody anything. Idempotent."""
        self._put_logins("remembered", logins)

    def _put_logins(self, table: str, logins: Iterable[Login]) -> None:
        rows = ((x.user, x.address.version, packed(x.address), x.at, x.at, x.witness) for x in logins)
        with self.transaction():
            self.db.executemany(
                f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "earliest=min(earliest, excluded.earliest), latest=max(latest, excluded.latest)", rows
            )  # fmt: skip

    def logins(self, since: float) -> list[Login]:
        """Return the last login of each user from each address that the kernel has shown, if after wall time `since`; the latest first."""
        return self._logins("logins", since)

    def remembered(self, since: float) -> list[Login]:
        """Return the same of logins that a log alone tells of: whoever can write that log may have made them up."""
        return self._logins("remembered", since)

    def _logins(self, table: str, since: float) -> list[Login]:
        with self.errors():
            rows = self.db.execute(
                f"SELECT user, version, address, latest, witness FROM {table} WHERE latest > ? ORDER BY latest DESC, user", (since,)
            ).fetchall()
        return [Login(user, prefix_of(v, int.from_bytes(a, "big"), BITS[v]), at, witness) for user, v, a, at, witness in rows]

    def put_floor(self, rows: Iterable[tuple[Prefix, int]], until: float) -> None:
        """Keep these addresses of administrators (with their user numbers) open until wall time `until`, or longer if they were."""
        addresses = ((a.version, packed(a), uid, until) for a, uid in rows)
        with self.transaction():
            self.db.executemany(
                "INSERT INTO floor VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET until=max(until, excluded.until)", addresses
            )

    def floor(self, now: float) -> list[tuple[Prefix, int, float]]:
        """Address, user number and end (wall seconds) of each administrator's address that is still kept open."""
        with self.errors():
            rows = self.db.execute(
                "SELECT version, address, uid, until FROM floor WHERE until > ? ORDER BY version, address", (now,)
            ).fetchall()
        return [(prefix_of(v, int.from_bytes(a, "big"), BITS[v]), uid, until) for v, a, uid, until in rows]

    def drop_floor(self, prefix: Prefix) -> None:
        """Take every address in this prefix off the floor."""
        size = BITS[prefix.version] // 8
        with self.transaction():
            self.db.execute("DELETE FROM floor WHERE version=? AND address BETWEEN ? AND ?",
                             (prefix.version, packed(prefix), prefix.last.to_bytes(size, "big")))  # fmt: skip

    def put_guard(self, bans: Iterable[Ban], attempts: Sequence[Guess], offenders: Iterable[tuple[Prefix, int, float]],
                  about: Iterable[tuple[str, str]], before_commit: Callable[[], object]) -> None:  # fmt: skip
        """Everything one look at the log came to, in one commit: bans, evidence, the offenders' steps (with the wall second
        when their ban ends), how far was read.
        """
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (row_of(b) for b in bans))
            self.db.executemany(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (g.at, g.source.version, packed(g.source), packed(g.address), g.outcome, g.user, g.method, g.line, g.times)
                    for g in attempts
                ),
            )
            failures.add(self.db, attempts)
            self.db.executemany(
                "INSERT OR REPLACE INTO offenders VALUES (?, ?, ?, ?, ?)",
                ((p.version, packed(p), p.length, steps, ended) for p, steps, ended in offenders),
            )
            self.db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about)
            before_commit()

    def put_observed(self, bans: Iterable[Ban]) -> None:
        """Bans that would have been made. Idempotent."""
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO observed VALUES (?, ?, ?, ?, ?, ?)",
                                 ((b.prefix.version, packed(b.prefix), b.prefix.length, b.since, b.until, b.reason) for b in bans))  # fmt: skip

    def observed(self, since: float) -> list[Ban]:
        """Bans that would have been made after wall second `since`, the oldest first."""
        with self.errors():
            rows = self.db.execute(
                "SELECT version, source, length, at, until, reason FROM observed WHERE at > ? ORDER BY at", (since,)
            ).fetchall()
        return [
            Ban(prefix_of(v, int.from_bytes(s, "big"), n), Scope.SSH, at, until, reason, "observed") for v, s, n, at, until, reason in rows
        ]

    def past(self, source: Prefix) -> tuple[int, float]:
        """Steps that a source had gone, and the wall second when its last ban ended or ends; zeros for none."""
        with self.errors():
            row = self.db.execute("SELECT steps, ended FROM offenders WHERE version=? AND source=? AND length=?",
                                   (source.version, packed(source), source.length)).fetchone()  # fmt: skip
        return (0, 0.0) if row is None else (row[0], row[1])

    def banned_before(self, since: float, limit: int) -> list[tuple[Prefix, float]]:
        """Sources of which the guard's last ban ended, or ends, after wall second `since`, and the second of their last attempt before that
        end: what is left once the ban itself is forgotten. The latest `limit`.
        """
        with self.errors():
            rows = self.db.execute(
                "SELECT o.version, o.source, o.length, (SELECT max(at) FROM attempts a WHERE a.version=o.version AND a.source=o.source "
                "AND at < o.ended) AS at FROM offenders o WHERE o.ended > ? AND at > ? ORDER BY o.ended DESC LIMIT ?", (since, since, limit)
            ).fetchall()  # fmt: skip
        return [(Prefix(version, int.from_bytes(source, "big"), length), at) for version, source, length, at in rows]

    def attempts(self, source: Prefix, limit: int) -> list[Guess]:
        """The last attempts of a source, the latest first."""
        with self.errors():
            rows = self.db.execute(
                "SELECT at, address, outcome, user, method, line, times FROM attempts WHERE version=? AND source=? ORDER BY at DESC LIMIT ?",
                (source.version, packed(source), limit),
            ).fetchall()
        bits = BITS[source.version]
        return [Guess(at, source, Prefix(source.version, int.from_bytes(a, "big"), bits), outcome, user, method, line, times)
                for at, a, outcome, user, method, line, times in rows]  # fmt: skip

    def recent(self, since: float, now: float, limit: int) -> Iterator[Guess]:
        """Of the last `limit` attempts after wall second `since` those of sources that are not banned now, the oldest first,
        without their lines.
        """
        with self.errors():
            rows = self.db.execute(
                "SELECT at, version, source, address, outcome, user, method, times FROM (SELECT * FROM attempts WHERE at > ? ORDER BY at DESC LIMIT ?) "
                "AS a WHERE NOT EXISTS (SELECT 1 FROM bans WHERE bans.version=a.version AND first=source AND (until IS NULL OR until > ?)) ORDER BY at",
                (since, limit, now),
            )
            for at, version, source, address, outcome, user, method, times in rows:
                bits = BITS[version]
                first, one = (prefix_of(version, int.from_bytes(b, "big"), bits) for b in (source, address))
                yield Guess(at, first, one, outcome, user, method, "", times)

    def forget_old(self, attempts: float, logins: float, size: int) -> bool:
        """Remove attempts and the history before one wall second and logins before another, and the oldest attempts (and when there
        are none, history) while the database has more than `size` bytes; bans stay. At most `SLICE` attempts at a time: True if there are more, so that others have their turn.
        """
        with self.transaction():
            self.db.execute("DELETE FROM observed WHERE at < ?", (attempts,))
            self.db.execute("DELETE FROM logins WHERE latest < ?", (logins,))
            self.db.execute("DELETE FROM remembered WHERE latest < ?", (logins,))
            pages, page, free = (self.db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "page_size", "freelist_count"))
            before = float("inf") if (pages - free) * page > size else attempts
            oldest = "SELECT rowid FROM attempts WHERE at < ? ORDER BY at LIMIT ?"
            gone = self.db.execute(f"DELETE FROM attempts WHERE rowid IN ({oldest})", (before, SLICE)).rowcount
            self.db.execute("DELETE FROM history WHERE at < ?", (attempts,))
            if gone == 0 and before > attempts:  # no attempt is left to make room
                gone = self.db.execute("DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?)", (SLICE,)).rowcount
        return gone == SLICE

    def hashed(self, version: int, scope: Scope, length: int, now: float) -> Iterator[tuple[bytes, float | None]]:
        """Packed first address and end of the bans in force of one prefix length, in no order: for restoring, which a hundred
        thousand objects would make slow.
        """
        with self.errors():
            yield from self.db.execute(
                "SELECT first, until FROM bans WHERE version=? AND scope=? AND length=? AND (until IS NULL OR until > ?)",
                (version, scope.value, length, now),
            )

    def witnesses(self, now: float) -> list[Ban]:
        """For each IP version, scope and prefix length the ban that lasts longest, and the one that was made first: of those in
        force at wall second `now`.
        """
        columns = "version, first, length, scope, since, until, reason, author"
        with self.errors():
            rows = [
                row
                for which in ("max(ifnull(until, 9e99))", "min(since)")  # SQLite takes the other columns from that row
                for row in self.db.execute(
                    f"SELECT {columns}, {which} FROM bans WHERE until IS NULL OR until > ? GROUP BY version, scope, length", (now,)
                )
            ]
        return [Ban(prefix_of(v, int.from_bytes(f, "big"), n), scope_of(scope), since, until, reason, by)
                for v, f, n, scope, since, until, reason, by, _ in rows]  # fmt: skip

    def shift(self, first: float, last: float, by: float, about: Iterable[tuple[str, str]]) -> None:
        """Move bans and history of between two wall seconds by so many seconds: the clock was set. Facts are written with it."""
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about)
            self.db.execute("UPDATE bans SET since=since+?, until=until+? WHERE since BETWEEN ? AND ?", (by, by, first, last))
            self.db.execute("UPDATE history SET at=at+?, until=until+? WHERE at BETWEEN ? AND ?", (by, by, first, last))

    def about(self, key: str) -> str | None:
        """A fact about this store, like the machine it belongs to."""
        with self.errors():
            row = self.db.execute("SELECT value FROM about WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put_about(self, key: str, value: str) -> None:
        """Remember a fact about this store."""
        with self.transaction():
            self.db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def forget_all(self) -> None:
        """Empty every table: what stands in it belongs to another machine."""
        with self.transaction():
            for table in TABLES:
                self.db.execute(f"DELETE FROM {table}")

    # -- for what else lies in this database (`book.py`)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction: all of it or nothing. Raises StateError, Damaged."""
        with self.errors():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """SQLite's errors as ours, for whoever only reads."""
        try:
            yield
        except sqlite3.Error as error:
            if damaged(error):
                raise Damaged(f"{self._path}: {error}", mends()) from None
            # SQLite says only that it could not open it; whose fault that is shows at the folder, which is root's alone.
            if isinstance(error, sqlite3.OperationalError) and not os.access(self._path.parent, os.X_OK):
                raise NotPermitted(f"{self._path} may not be used by this user", "run this as root, with sudo") from None
            raise StateError(f"{self._path}: {error}", "make room, or make it writable; nothing was changed") from None
        except PermissionError:
            raise NotPermitted(f"{self._path} may not be used by this user", "run this as root, with sudo") from None
        except OSError as error:
            raise StateError(f"{self._path}: {error.strerror}", "make room, or make it writable; nothing was changed") from None


def _look_at(path: Path) -> None:
    wrong = next(filter(None, (unusable(path, suffix) for suffix in FILES)), "")
    if wrong:
        raise Damaged(wrong, mends())


def damaged(error: sqlite3.Error) -> bool:
    """True if SQLite says that the file is not a database, or not whole."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
