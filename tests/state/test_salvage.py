"""A damaged database: what can be read goes on, the damaged file is kept, and nothing is there twice."""

from __future__ import annotations

import random
import resource
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from quietgate.errors import Damaged, StateError
from quietgate.net import Prefix
from quietgate.state.database import Store
from quietgate.state.salvage import salvage
from quietgate.values import Ban, Guess, Login, Scope

COUNT = 3000
PAGE = 4096


def source(n: int) -> Prefix:
    return Prefix(4, 0x0A000000 + n, 32)


def filled(path: Path) -> Path:
    with Store(path) as store:
        bans = [Ban(source(n), Scope.SSH, 1.0, None, "by hand", "root") for n in range(COUNT)]
        guesses = [Guess(float(n), source(n), source(n), "failed", "root", "password", "x" * 100, 1) for n in range(COUNT)]
        store.put_guard(bans, guesses, [], [("place:/var/log/auth.log", "7")], lambda: None)
        store.put_logins([Login("root", source(1), 3.0, "journal")])
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def count(path: Path, table: str) -> int:
    return int(sqlite3.connect(path).execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_whole_one_comes_through_whole(tmp_path: Path) -> None:
    path = filled(tmp_path / "db")
    rows, kept = salvage(path)
    assert rows == 3 * COUNT + 2, "bans, attempts, who guessed how often"
    assert kept.exists()
    with Store(path) as store:
        assert store.count(0.0) == COUNT
        assert store.about("place:/var/log/auth.log") == "7"
        assert [x.user for x in store.logins(0.0)] == ["root"]


def test_what_is_no_database_gives_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(Damaged, match="not a database"):
        Store(path)
    rows, kept = salvage(path)
    assert rows == 0
    assert kept.read_bytes().startswith(b"this is no database")
    with Store(path) as store:
        assert store.count(0.0) == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_page_in_the_middle_costs_its_own_rows(tmp_path: Path, seed: int) -> None:
    path = filled(tmp_path / "db")
    raw = bytearray(path.read_bytes())
    at = random.Random(seed).randrange(len(raw) // PAGE // 4, len(raw) // PAGE) * PAGE
    raw[at : at + PAGE] = random.Random(seed).randbytes(PAGE)
    path.write_bytes(raw)
    salvage(path)
    with Store(path) as store:
        assert store.count(0.0) + count(path, "attempts") > 1.2 * COUNT
    assert len(sqlite3.connect(path).execute("SELECT DISTINCT at FROM attempts").fetchall()) == count(path, "attempts"), "none twice"
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_its_log_goes_with_it(tmp_path: Path) -> None:
    """SQLite would write the old log's pages into the new database."""
    path = filled(tmp_path / "db")
    held = Store(path)
    held.put_about("later", "in the log")
    log = tmp_path / "db-wal"
    assert log.stat().st_size > 0
    salvage(path)
    assert not log.exists()
    assert (tmp_path / "db.damaged-wal").exists()
    with Store(path) as store:
        assert store.about("later") == "in the log"
    held.close()


def test_where_there_is_no_room_nothing_changes(tmp_path: Path) -> None:
    path = filled(tmp_path / "db")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # Python ignores SIGXFSZ: writes fail
    try:
        with pytest.raises(StateError, match=r"db\.mended"):
            salvage(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_disk_that_fills_meanwhile_costs_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that find no room are not left out without a word."""
    path = filled(tmp_path / "db")
    before = path.read_bytes()
    real = sqlite3.connect

    def small(place: Path, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = real(place, **options)
        if place.name.endswith(".mended"):
            db.execute("PRAGMA max_page_count=40")  # SQLITE_FULL, as on a full disk
        return db

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StateError, match="full"):
        salvage(path)
    assert path.read_bytes() == before
