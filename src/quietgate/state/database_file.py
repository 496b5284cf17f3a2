"""The files of the database before SQLite opens them: whether they can be one, and how a new one comes to be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
from pathlib import Path
from urllib.parse import quote

from quietgate.host.files import NO_REPLACE, is_regular, remove, rename
from quietgate.host.reading import opened

FILES = ("", "-wal", "-shm")
WAL_HEADER, WAL_MAGIC = 32, 0x377F0682  # bytes; the last bit of the first four tells the byte order (sqlite.org/fileformat2.html, 4.1)


def unusable(path: Path, suffix: str = "") -> str:
    """What is wrong with the database's file, or with its log (`-wal`) or index (`-shm`): where SQLite would wait (a FIFO), begin anew
    in silence (ours is never empty; a log that is none), or say only that it cannot open it. "" for nothing. Raises OSError.
    """
    file = path.with_name(path.name + suffix)
    found = is_regular(file)
    if not found:
        return f"{file} is no regular file" if found is False else ""
    size = file.stat().st_size
    if not suffix and not size:
        return f"{file} is empty"
    if suffix == "-wal" and size >= WAL_HEADER:
        with opened(file) as stream:
            magic = int.from_bytes(stream.read(4), "big")
        return "" if magic & ~1 == WAL_MAGIC else f"{file} is no log of a database"
    return ""


def make_database(path: Path) -> None:
    """An empty database at a place where there is nothing, whole from the first moment. Whoever makes one meanwhile is first."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    remove(fresh)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        db = sqlite3.connect(fresh, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")  # writes the first page
        db.close()
        with contextlib.suppress(FileExistsError):
            rename(fresh, path, NO_REPLACE)
    finally:
        remove(fresh)


def as_its_directory(path: Path) -> None:
    """Whoever made the file: it belongs to whom the directory does, and is as open as that. SQLite takes it for its other files."""
    about = path.parent.stat()
    path.chmod(0o660 if about.st_mode & stat.S_IWGRP else 0o600)
    if about.st_uid != os.geteuid():
        with contextlib.suppress(PermissionError):  # a root without CAP_CHOWN: it is the group's
            os.chown(path, about.st_uid, about.st_gid, follow_symlinks=False)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing. Raises sqlite3.Error."""

    def connect(how: str) -> sqlite3.Connection:
        db = sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, timeout=10, isolation_level=None)
        db.execute("PRAGMA schema_version")
        return db

    try:
        return connect("mode=ro")
    except sqlite3.OperationalError:
        # On a read-only disk SQLite cannot make its WAL index. Without a WAL there is nothing that it would need it for.
        log = path.with_name(path.name + "-wal")
        if not path.exists() or (log.exists() and log.stat().st_size):
            raise
        return connect("immutable=1")
