"""Bans that are over: how each ended, told from the history and from what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.hindsight.past_bans import past_bans
from quietgate.net import parse_address
from quietgate.state.database import Store
from quietgate.state.history import add
from quietgate.values import Ban, Deed, Scope, What

NOW = 10_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as found:
        yield found


def told(store: Store, *deeds: Deed) -> None:
    with store.transaction():
        add(store.db, deeds)


def ban(at: float, until: float | None, subject: str = "192.0.2.1", scope: str = "ssh") -> Deed:
    return Deed(at, What.BAN, subject, scope, until, "guard", "root: 3 in 10m")


def unban(at: float, subject: str = "192.0.2.1", scope: str = "ssh") -> Deed:
    return Deed(at, What.UNBAN, subject, scope, None, "alice", "a mistake")


def seen(store: Store, since: float = 0.0) -> list[tuple[str, float, str, float | None, str]]:
    return [(str(p.ban.prefix), p.ban.since, p.how, p.ended, p.ended_by) for p in past_bans(store, NOW, since)]


def in_force(store: Store, since: float, until: float | None, address: str = "192.0.2.1") -> None:
    store.put_bans([Ban(parse_address(address), Scope.SSH, since, until, "root: 3 in 10m", "guard")], lambda: None)


def test_each_end(store: Store) -> None:
    told(store, ban(100, 200), ban(300, 900), unban(400), ban(500, 5000), ban(600, 20_000), Deed(650, What.DOWN, "3"))
    in_force(store, 600, 20_000)
    assert seen(store) == [
        ("192.0.2.1", 100, "ended", 200, ""),
        ("192.0.2.1", 300, "lifted", 400, "alice"),
        ("192.0.2.1", 500, "replaced", 600, "guard"),
        ("192.0.2.1", 600, "in force", None, ""),
    ]
    assert past_bans(store, NOW)[1].ended_why == "a mistake"


def test_scopes_are_bans_of_their_own(store: Store) -> None:
    told(store, ban(100, None), ban(110, 9000, scope="host"), unban(200))
    assert seen(store) == [("192.0.2.1", 100, "lifted", 200, "alice"), ("192.0.2.1", 110, "ended", 9000, "")]


def test_those_of_before_the_history_are_told_while_they_are_in_force(store: Store) -> None:
    in_force(store, 50, None)
    told(store, unban(100, "192.0.2.9"))
    assert seen(store) == [("192.0.2.1", 50, "in force", None, "")]


def test_since_tells_what_was_made_or_ended_then(store: Store) -> None:
    told(store, ban(100, 200), ban(300, 9000, "192.0.2.2"), ban(8000, None, "192.0.2.3"), ban(90, None, "192.0.2.4"))
    in_force(store, 8000, None, "192.0.2.3")
    in_force(store, 90, None, "192.0.2.4")
    assert [row[0] for row in seen(store, 5000)] == ["192.0.2.2", "192.0.2.3"]


def test_one_that_should_be_in_force_and_is_not_is_lost(store: Store) -> None:
    told(store, ban(100, None))
    assert seen(store)[0][2] == "lost"


def test_rows_that_make_no_sense_are_passed_over(store: Store) -> None:
    told(store, ban(100, 200, "nonsense"), ban(100, 200, "192.0.2.1", "moon"), ban(100, 200, "192.0.2.7"))
    store.db.execute("UPDATE history SET deed='from tomorrow' WHERE id=1")
    assert [row[0] for row in seen(store)] == ["192.0.2.7"]
