"""What can be read of a damaged database goes into a new one; the damaged file stays beside it.

SQLite reads a table from either end until it comes to a page that is not whole, so both ends are read, a row at a time: a
database may be larger than the memory there is. A row that does not fit the new database's types is left out. Nobody else may
write meanwhile: the caller holds the lock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quietgate.errors import StateError
from quietgate.host.files import EXCHANGE, remove, rename
from quietgate.net import BITS, Prefix
from quietgate.state.database import Store
from quietgate.state.database_file import FILES, unusable
from quietgate.state.schema import TABLES
from quietgate.values import Scope

# What identifies a row, for reading from the end. Attempts have a rowid.
_KEYS = {"bans": "version DESC, first DESC, length DESC, scope DESC", "names": "name DESC", "logins": "user DESC, version DESC, address DESC", "remembered": "user DESC, version DESC, address DESC",
         "floor": "version DESC, address DESC, uid DESC", "observed": "version DESC, source DESC, length DESC, at DESC",
         "offenders": "version DESC, source DESC, length DESC", "about": "key DESC", "guessers": "version DESC, source DESC, day DESC",
         "grants": "kind DESC, version DESC, first DESC, length DESC", "things": "id DESC", "history": "id DESC", "outbox": "id DESC, route DESC"}  # fmt: skip
# Where a table has its prefixes: the columns of IP version, packed address and length (None: one address).
_PREFIXES: dict[str, tuple[tuple[int, int, int | None], ...]] = {
    "bans": ((0, 1, 2),), "logins": ((1, 2, None),), "remembered": ((1, 2, None),), "floor": ((0, 1, None),),
    "attempts": ((1, 2, None), (1, 3, None)), "observed": ((0, 1, 2),), "offenders": ((0, 1, 2),), "guessers": ((0, 1, None),),
    "grants": ((1, 2, 3),),
}  # fmt: skip


def salvage(path: Path) -> tuple[int, Path]:
    """Replace the database by what can be read of it; how many rows, and where the damaged file is now (an earlier one that lay
    there is replaced). Raises StateError, and has then changed nothing.
    """
    fresh, kept = path.with_name(f"{path.name}.mended"), path.with_name(f"{path.name}.damaged")
    try:
        for suffix in ("", "-wal", "-shm"):
            remove(fresh.with_name(fresh.name + suffix))
        with Store(fresh):
            pass
        for suffix in FILES[1:]:
            if unusable(path, suffix):  # what is not one says nothing of the rest
                remove(kept.with_name(kept.name + suffix))
                path.with_name(path.name + suffix).replace(kept.with_name(kept.name + suffix))
        rows = 0 if unusable(path) else _copied(path, fresh)
        remove(kept)
        # Before the database itself: SQLite would apply the old one's log to the new one.
        for suffix in FILES[1:]:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).replace(kept.with_name(kept.name + suffix))
        if os.path.lexists(path):
            rename(path, fresh, EXCHANGE)  # there is a database at every moment
            fresh.replace(kept)
        else:
            fresh.replace(path)
        _settle(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"{path} is damaged, and cannot be mended: {error}", "see that there is room on the disk") from None
    return rows, kept


def _copied(old: Path, new: Path) -> int:
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=DELETE")  # no log stays behind that would have to move with it
        db.execute("BEGIN")
        for table in TABLES:
            for row in _rows(old, table):
                if _fits(table, row):
                    with contextlib.suppress(sqlite3.IntegrityError):  # twice, or not of the types; a full disk is neither
                        db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        _count_on(old, db)
        db.execute("COMMIT")
        return int(sum(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES))
    finally:
        db.close()


def _count_on(old: Path, db: sqlite3.Connection) -> None:
    """The numbers of the history grow on from the highest ever used, if that can be read."""
    with contextlib.suppress(sqlite3.Error):
        for _, last in _read(old, "SELECT name, seq FROM sqlite_sequence WHERE name='history'"):
            if isinstance(last, int) and last > db.execute("SELECT ifnull(max(id), 0) FROM history").fetchone()[0]:
                db.execute("DELETE FROM sqlite_sequence WHERE name='history'")
                db.execute("INSERT INTO sqlite_sequence VALUES ('history', ?)", (last,))


def _rows(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    """From the beginning; and if that comes to a bad end, from the other side. What has a key may come twice."""
    if table == "attempts":
        yield from _attempts(path)
        return
    try:
        yield from _read(path, f"SELECT * FROM {table}")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            yield from _read(path, f"SELECT * FROM {table} ORDER BY {_KEYS[table]}")


def _attempts(path: Path) -> Iterator[tuple[Any, ...]]:
    """Each once, though no key would refuse a second copy."""
    last = -1
    try:
        for rowid, *row in _read(path, "SELECT rowid, * FROM attempts ORDER BY rowid"):
            last = rowid
            yield tuple(row)
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            for _, *row in _read(path, f"SELECT rowid, * FROM attempts WHERE rowid > {last} ORDER BY rowid DESC"):
                yield tuple(row)


def _read(path: Path, query: str) -> Iterator[tuple[Any, ...]]:
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        yield from db.execute(query)
    finally:
        db.close()


def _fits(table: str, row: tuple[Any, ...]) -> bool:
    """True if a row's addresses (and a ban's scope) are ones: what is not would stop every reader of the new database."""
    try:
        for version, address, length in _PREFIXES.get(table, ()):
            bits = BITS[row[version]]
            Prefix(row[version], int.from_bytes(row[address], "big"), bits if length is None else row[length])
            if len(row[address]) != bits // 8:
                return False
        if table == "bans":
            Scope(row[3])
    except (ValueError, TypeError, IndexError, KeyError):
        return False
    return True


def _settle(directory: Path) -> None:
    """The renames are on the disk, not only in memory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
