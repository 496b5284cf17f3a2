"""Bans move with a clock that is set, once, whoever looks; what a boot before wrote stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.bans import clock
from quietgate.bans.clock import CLOCK, follow
from quietgate.net import parse_address
from quietgate.state.database import Store
from quietgate.values import Ban, Scope

HERE = parse_address("198.51.100.7")
HOUR = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as found:
        follow(found)
        yield found


def ban(store: Store) -> None:
    now = time.time()
    store.put_bans([Ban(HERE, Scope.SSH, now, now + HOUR, "by hand", "root")], lambda: None)


def left(store: Store) -> float:
    """Seconds that it lasts, by the clock of now."""
    until = store.find(HERE)[0].until
    assert until is not None
    return until - time.time()


def set_clock(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + by)


@pytest.mark.parametrize("by", [10 * HOUR, -10 * HOUR, 87_600 * HOUR, -87_600 * HOUR])
def test_a_ban_lasts_as_long_by_the_new_clock(store: Store, monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    ban(store)
    set_clock(monkeypatch, by)
    follow(store)
    assert left(store) == pytest.approx(HOUR, abs=5)
    follow(store)
    assert left(store) == pytest.approx(HOUR, abs=5), "once"
    set_clock(monkeypatch, -by)
    follow(store)
    assert left(store) == pytest.approx(HOUR, abs=5), "and back"


def test_a_slow_clock_that_is_corrected_moves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ban(store)
    set_clock(monkeypatch, 30.0)
    follow(store)
    assert left(store) == pytest.approx(HOUR - 30, abs=5)


def test_bans_of_before_the_first_look_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_bans([Ban(HERE, Scope.SSH, time.time() - HOUR, time.time() + HOUR, "by hand", "root")], lambda: None)
    set_clock(monkeypatch, 10 * HOUR)
    follow(store)
    assert left(store) == pytest.approx(-9 * HOUR, abs=5)


def test_another_boot_is_no_jump(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ban(store)
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(clock, "BOOT", other)
    set_clock(monkeypatch, 10 * HOUR)
    follow(store)
    assert left(store) == pytest.approx(-9 * HOUR, abs=5)


def test_who_cannot_tell_the_boot_leaves_it_to_others(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ban(store)
    kept = store.about(CLOCK)
    with monkeypatch.context() as blind:
        blind.setattr(clock, "BOOT", tmp_path / "not there")
        set_clock(blind, 10 * HOUR)
        follow(store)
    assert store.about(CLOCK) == kept
    assert left(store) == pytest.approx(HOUR, abs=5)


def test_what_somebody_else_followed_is_followed_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that slept through it has seen no jump: it finds in the store that there was one."""
    real = time.time
    ban(store)
    assert not follow(store)
    monkeypatch.setattr(time, "time", lambda: real() - 10 * 365 * 24 * HOUR)
    assert follow(store), "a command, under the wrong clock"
    monkeypatch.setattr(time, "time", real)
    assert list(store.bans(real())) == []
    assert follow(store)
    assert [b.prefix for b in store.bans(real())] == [HERE]
