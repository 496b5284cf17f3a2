"""The record: things, messages, and who guessed how often, which outlives the attempts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quietgate.net import Prefix, parse_address, parse_prefix
from quietgate.state import failures
from quietgate.state.alerts import Book
from quietgate.state.database import Store
from quietgate.state.schema import LATER, SCHEMA
from quietgate.state.sums import Sums
from quietgate.values import Guess, Login, Noted, Parcel

A, B = parse_address("203.0.113.9"), parse_prefix("2001:db8:7::/64")
DAY = 86400.0
NOW = 20_000 * DAY + 100.0
N = Noted(0, "break_in", "203.0.113.9", "page", "what", ("one", "two"), "done", "next", False, 1.0, 2.0, 3, 1, 1, 1.5, "", False, False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as found:
        yield found


def guess(source: Prefix, at: float, user: str = "root", outcome: str = "failed", times: int = 1) -> Guess:
    return Guess(at, source, source.host, outcome, user, "password", "line", times)


def put(store: Store, *guesses: Guess) -> None:
    store.put_guard([], guesses, [], [], lambda: None)


def test_things_come_back_as_they_went_in(store: Store) -> None:
    book = Book(store)
    (number,) = book.write([N], [], [])
    assert book.noted(0.0) == [replace(N, id=number)]
    assert book.write([replace(N, id=number, count=9, last=7.0)], [], []) == [number]
    assert [n.count for n in book.noted(6.0)] == [9]
    assert book.noted(7.0) == []
    assert book.open_things() == {"break_in": 1}
    book.see([number])
    assert book.open_things() == {}
    assert book.with_ids([number, 99])[0].seen


def test_what_is_over_long_ago_is_forgotten_and_what_lasts_is_not(store: Store) -> None:
    book = Book(store)
    book.write([N, replace(N, lasting=True), replace(N, lasting=True, over="well")], [], [])
    assert not book.forget(100.0, NOW)
    assert [(n.lasting, n.over) for n in book.noted(0.0)] == [(True, "")]


def test_messages_wait_in_order_until_they_are_taken(store: Store) -> None:
    book = Book(store)
    parcels = [Parcel("b", "r1", "{}", 2.0, 2.0), Parcel("a", "r1", "{}", 1.0, 1.0), Parcel("a", "r2", "{}", 1.0, 1.0, 3, "no")]
    book.write([], parcels, [])
    assert book.parcels() == [parcels[1], parcels[2], parcels[0]]
    book.took(parcels[1])
    assert book.parcels() == [parcels[2], parcels[0]]


def test_who_guessed_outlives_the_attempts(store: Store) -> None:
    put(store, *(guess(A, NOW - n * DAY, f"name{n % 3}") for n in range(10)))
    put(store, guess(B, NOW, "root", times=4), guess(A, NOW, "", "noise"))
    while store.forget_old(NOW + 1, 0.0, 0):
        pass
    assert store.attempts(A, 10) == []
    found = Book(store).guessed(A, NOW - 30 * DAY)
    assert (found.failures, found.first, found.last) == (10, NOW - 9 * DAY, NOW)
    assert found.names == {"name0", "name1", "name2"}
    assert Book(store).guessed(A, NOW - 3.5 * DAY).failures == 4
    assert Book(store).guessed(B, NOW - DAY).failures == 4
    assert Book(store).guessed(B.host, NOW - DAY).failures == 4, "the source is known by its first address"


def test_who_guessed_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, *(guess(parse_address(f"198.51.100.{n}"), NOW - n * DAY) for n in range(50)))
    while Book(store).forget(0.0, NOW):
        pass
    rows = store.db.execute("SELECT min(day), count(*) FROM guessers").fetchone()
    assert rows[1] == failures.KEPT + 1
    monkeypatch.setattr(failures, "MOST", 10)
    while Book(store).forget(0.0, NOW):
        pass
    assert store.db.execute("SELECT count(*), max(day) FROM guessers").fetchone() == (10, int(NOW // DAY))
    put(store, *(guess(A, NOW, f"n{n}") for n in range(100)))
    assert len(Book(store).guessed(A, NOW - DAY).names) == failures.MOST_NAMES


def test_a_database_of_before_is_brought_up_and_remembers_who_guessed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA + LATER[2] + "PRAGMA user_version=2;")
    row = (4, bytes([203, 0, 113, 9]), bytes([203, 0, 113, 9]))
    db.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, 'password', '', ?)",
                   [(NOW, *row, "failed", "root", 3), (NOW + 1, *row, "failed", "bob", 1), (NOW, *row, "noise", "", 1)])  # fmt: skip
    db.commit()
    db.close()
    with Store(path) as store:
        found = Book(store).guessed(A, NOW - DAY)
        assert (found.failures, found.names) == (4, frozenset({"root", "bob"}))


def test_who_has_logged_in_before(store: Store) -> None:
    store.put_logins([Login("anna", A, 100.0, "journal")])
    book = Book(store)
    assert book.has_logged_in(A, None, 101.0)
    assert not book.has_logged_in(A, None, 100.0), "that very login"
    assert book.has_logged_in(parse_prefix("203.0.113.0/24"), "anna", 101.0)
    assert not book.has_logged_in(A, "bob", 101.0)
    assert book.has_logged_in(None, "anna", 101.0)
    assert not book.has_logged_in(B, None, 101.0)


def test_sums(store: Store) -> None:
    put(store, guess(A, NOW, "root", times=3), guess(A, NOW + 3600, "bob"), guess(B, NOW + 7100, "root"), guess(A, NOW - 1))
    store.put_about(f"tally:{int(NOW) // 3600:08d}", '{"burst": 2}')
    store.put_about(f"tally:{int(NOW) // 3600 + 1:08d}", '{"burst": 1, "root": 1}')
    sums = Sums(store, {4: 32, 6: 64})
    assert sums.attempts(NOW, NOW + 7200) == (5, 2)
    assert sums.by_time(NOW, NOW + 7200, 2) == [3, 2]
    assert [(b.source, b.attempts, b.names, b.tried) for b in sums.busiest(NOW, NOW + 7200, 5)] == [
        (A, 4, (("root", 3), ("bob", 1)), 2),
        (B, 1, (("root", 1),), 1),
    ]
    assert sums.names(NOW, NOW + 7200) == [("root", 4), ("bob", 1)]
    assert sums.named(NOW, NOW + 7200) == 5
    assert sums.bans(NOW, NOW + 3600) == {"burst": 3, "root": 1}
