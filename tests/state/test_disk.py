"""The thread that writes: in order, bounded, and no error is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quietgate.errors import QuietgateError, StateError
from quietgate.state import disk
from quietgate.state.database import Store
from quietgate.state.disk import Desk, Thread


class Place:
    def __init__(self, path: Path) -> None:
        self.opened = 0
        self.path = path
        self.told: list[str] = []
        self.thread = Thread(self.store, self.told.append)

    def store(self) -> Store:
        self.opened += 1
        return Store(self.path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(disk, "SetWriter", lambda: None)
    made = Place(tmp_path / "db")
    yield made
    made.thread.close()


def run(script: Callable[[], object]) -> None:
    async def loop() -> None:
        found = script()
        if asyncio.iscoroutine(found):
            await found

    asyncio.run(loop())


def test_work_is_done_in_order_in_another_thread_and_told_in_the_loop(place: Place) -> None:
    done: list[tuple[object, bool]] = []
    here = threading.get_ident()

    async def script() -> None:
        def give(n: int) -> None:
            def work(_: Desk) -> tuple[int, bool]:
                return n, threading.get_ident() != here

            place.thread.do(work, lambda found, _: done.append((found, threading.get_ident() == here)))

        for n in range(20):
            give(n)
        while len(done) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    run(script)
    assert done == [((n, True), True) for n in range(20)]


def test_errors_are_told_to_who_gave_the_work_and_a_bug_to_everybody(place: Place) -> None:
    errors: list[QuietgateError | None] = []

    def refused(_: Desk) -> None:
        raise StateError("the disk is full", "make room")

    def bug(_: Desk) -> None:
        raise KeyError("x")

    for work in (refused, bug):
        place.thread.do(work, lambda _, error: errors.append(error))
    place.thread.do(bug)  # nobody asks what became of it
    assert place.thread.finish(5)
    assert [str(e) for e in errors] == ["the disk is full", "KeyError: \"'x'\""]
    assert len(place.told) == 2


def test_a_hang_is_seen_and_what_waits_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MOST", 10)
    hang, errors = threading.Event(), list[QuietgateError | None]()
    place.thread.do(lambda _: hang.wait(20))
    until = time.monotonic() + 5
    while not place.thread.lasts():
        assert time.monotonic() < until
    for _ in range(30):
        place.thread.do(lambda _: None, lambda _, error: errors.append(error))
    assert not place.thread.finish(0.1)
    hang.set()
    assert place.thread.finish(5)
    assert len(errors) == 30
    assert sum(e is not None for e in errors) == 21
    assert place.thread.lasts() == 0


def test_after_a_mending_the_new_file_is_opened(place: Place) -> None:
    place.thread.do(lambda desk: desk.store.put_about("a", "1"))
    assert place.thread.finish(5)
    place.path = place.path.with_name("other")
    place.thread.reopen()
    found: list[str | None] = []
    place.thread.do(lambda desk: desk.store.about("a"), lambda text, _: found.append(text))
    assert place.thread.finish(5)
    assert (found, place.opened) == ([None], 2)
