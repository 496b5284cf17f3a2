"""What can be read of a damaged database goes into a new one; the damaged file stays beside it.

SQLite reads a table from either end until it comes to a page that is not whole, so both ends are read, a row at a time: a
database may be larger than the memory there is. A row that does not fit the new database's types is left out. Nobody else may
write meanwhile: the caller holds the lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quietgate.errors import StateError
from quietgate.host.store import Store
from quietgate.host.tables import TABLES
from quietgate.net import Prefix
from quietgate.values import Scope

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # renameat2(2)
# What identifies a row, for reading from the end. Attempts have a rowid.
_KEYS = {"bans": "version DESC, first DESC, length DESC, scope DESC", "names": "name DESC", "logins": "user DESC, version DESC, address DESC", "remembered": "user DESC, version DESC, address DESC",
         "floor": "version DESC, address DESC, uid DESC", "observed": "version DESC, source DESC, length DESC, at DESC",
         "offenders": "version DESC, source DESC, length DESC", "about": "key DESC", "guessers": "version DESC, source DESC, day DESC",
         "things": "id DESC", "history": "id DESC", "outbox": "id DESC, route DESC"}  # fmt: skip


def salvage(path: Path) -> tuple[int, Path]:
    """Replace the database by what can be read of it; how many rows, and where the damaged file is now (an earlier one that lay
    there is replaced). Raises StateError, and has then changed nothing.
    """
    fresh, kept = path.with_name(f"{path.name}.mended"), path.with_name(f"{path.name}.damaged")
    try:
        for suffix in ("", "-wal", "-shm"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        with Store(fresh):
            pass
        rows = _copied(path, fresh)
        # Before the database itself: SQLite would apply the old one's log to the new one.
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).replace(kept.with_name(kept.name + suffix))
        _exchange(path, fresh)
        fresh.replace(kept)
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
                if table != "bans" or _is_ban(row):
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


def _is_ban(row: tuple[Any, ...]) -> bool:
    try:
        Prefix(row[0], int.from_bytes(row[1], "big"), row[2])
        Scope(row[3])
    except (ValueError, TypeError, IndexError):
        return False
    return True


def _exchange(one: Path, other: Path) -> None:
    """Each has the other's name at once: there is a database at every moment. The guard may make no links."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def _settle(directory: Path) -> None:
    """The renames are on the disk, not only in memory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
