"""What the store forgets: what is old, and the oldest where there is no room; never a ban."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.net import parse_address
from quietgate.state import database as module
from quietgate.state.database import Store
from quietgate.values import Ban, Guess, Login, Scope

FOR_EVER = 1e18
HERE = parse_address("198.51.100.7")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as found:
        yield found


def guesses(store: Store, count: int) -> None:
    """`count` attempts, one each second from 1 on; and a ban."""
    made = [Guess(float(n), HERE, HERE, "failed", "root", "password", "x" * 200, 1) for n in range(1, count + 1)]
    store.put_guard([Ban(HERE, Scope.SSH, 0.0, None, "by hand", "root")], made, [], [], lambda: None)


def left(store: Store) -> list[float]:
    return sorted(guess.at for guess in store.recent(0.0, 0.5, 1_000_000))


def forget(store: Store, attempts: float = 0.0, logins: float = 0.0, size: float = FOR_EVER) -> int:
    """Until there is no more; how many slices it took."""
    slices = 1
    while store.forget_old(attempts, logins, int(size)):
        slices += 1
        assert slices < 1000
    return slices


def test_attempts_and_logins_before_their_time_go(store: Store) -> None:
    store.delete_bans([(HERE, Scope.SSH)], lambda: None)
    guesses(store, 10)
    store.put_logins([Login("root", HERE, 3.0, "journal"), Login("git", HERE, 8.0, "journal")])
    forget(store, attempts=6.0, logins=5.0)
    store.delete_bans([(HERE, Scope.SSH)], lambda: None)  # attempts of who is banned are not told
    assert left(store) == [6.0, 7.0, 8.0, 9.0, 10.0]
    assert [login.user for login in store.logins(0.0)] == ["git"]


def test_where_there_is_no_room_the_oldest_go_and_bans_stay(store: Store) -> None:
    guesses(store, 20_000)
    forget(store, size=FOR_EVER)
    assert store.count(1.0) == 1
    slices = forget(store, size=4_000_000)
    assert slices > 1, "in slices: nobody waits for all of it"
    assert store.count(1.0) == 1, "the ban"
    store.delete_bans([(HERE, Scope.SSH)], lambda: None)
    rest = left(store)
    assert 2_000 < len(rest) < 18_000
    assert rest[-1] == 20_000.0
    assert rest == [float(n) for n in range(int(rest[0]), 20_001)], "the oldest went"


def test_a_size_that_bans_alone_exceed_does_not_turn_for_ever(store: Store) -> None:
    guesses(store, 10)
    forget(store, size=1)
    store.delete_bans([(HERE, Scope.SSH)], lambda: None)
    assert left(store) == []


def test_one_slice_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 4)
    guesses(store, 10)
    assert store.forget_old(9.0, 0.0, 10**18)
    store.delete_bans([(HERE, Scope.SSH)], lambda: None)
    assert len(left(store)) == 6
