"""The history: numbers grow, it is bounded, forgets what is old, and older databases get it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from quietgate.net import parse_address
from quietgate.state import history as module
from quietgate.state.database import Store
from quietgate.state.history import add, last_about, newest, read
from quietgate.state.salvage import salvage
from quietgate.state.schema import LATER, SCHEMA, VERSION
from quietgate.values import Ban, Deed, Scope, What

HERE = parse_address("198.51.100.7")


def bans(count: int, at: float = 0.0) -> list[Deed]:
    return [Deed(at + n, What.BAN, f"10.0.{n >> 8}.{n & 255}", "ssh", None, "guard", "burst: 5 in 10m") for n in range(count)]


def put(store: Store, deeds: list[Deed]) -> list[Deed]:
    with store.transaction():
        return add(store.db, deeds)


def test_what_is_added_is_read_back_in_order_with_its_number(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        first = put(store, bans(3))
        second = put(store, [Deed(9.0, What.DOWN, "4", by="alice")])
        assert [d.id for d in first + second] == [1, 2, 3, 4]
        assert list(read(store)) == first + second
        assert list(read(store, after=2)) == [first[2], *second]
        assert list(read(store, since=2.0)) == [first[2], *second]
        assert last_about(store, "4") == second[0]
        assert put(store, []) == []


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """Also when all was forgotten, or a damaged database was mended."""
    path = tmp_path / "db"
    with Store(path) as store:
        put(store, bans(5))
        store.forget_old(1e9, 0.0, 10**18)
        assert list(read(store)) == []
        assert put(store, bans(1))[0].id == 6
        store.forget_old(1e9, 0.0, 10**18)
    salvage(path)
    with Store(path) as store:
        assert put(store, bans(1))[0].id == 7


def test_a_mended_database_has_its_history(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Store(path) as store:
        told = put(store, bans(3000))
    salvage(path)
    with Store(path) as store:
        assert list(read(store)) == told


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    with Store(tmp_path / "db") as store:
        put(store, bans(8))
        put(store, bans(5))
        assert [d.id for d in read(store)] == list(range(4, 14))
        put(store, bans(40))
        assert newest(store) == 53
        assert len(list(read(store))) == 10


def test_what_is_old_goes_and_where_there_is_no_room_attempts_go_first(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        put(store, bans(20))
        store.forget_old(15.0, 0.0, 10**18)
        assert [d.at for d in read(store)] == [15.0, 16.0, 17.0, 18.0, 19.0]
        rows = [(float(n), 4, b"\x0a\0\0\1", b"\x0a\0\0\1", "failed", "root", "password", "x", 1) for n in range(100)]
        with store.transaction():
            store.db.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        store.forget_old(0.0, 0.0, 1)
        assert len(list(read(store))) == 5, "the attempts went"
        store.forget_old(0.0, 0.0, 1)
        assert list(read(store)) == [], "there was nothing else left to go"


def test_an_older_database_gets_it_and_a_reader_bears_one_that_has_not(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA + LATER[2] + LATER[3] + "PRAGMA user_version=3;")
    db.close()
    with Store(path, read_only=True) as store:
        assert list(read(store)) == []
    with Store(path) as store:
        assert put(store, bans(1))[0].id == 1
        assert store.db.execute("PRAGMA user_version").fetchone()[0] == VERSION


def test_a_clock_that_is_set_moves_it_with_the_bans(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        store.put_bans([Ban(HERE, Scope.SSH, 100.0, 200.0, "", "guard")], lambda: None)
        put(store, [Deed(100.0, What.BAN, str(HERE), "ssh", 200.0), Deed(5.0, What.BAN, "192.0.2.1", "ssh", 6.0)])
        store.shift(50.0, 150.0, 1000.0, [])
        assert [(d.at, d.until) for d in read(store)] == [(1100.0, 1200.0), (5.0, 6.0)]


def test_another_machines_is_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        put(store, bans(3))
        store.forget_all()
        assert list(read(store)) == []
