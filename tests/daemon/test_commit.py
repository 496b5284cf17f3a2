"""What was decided and is not written yet: nothing of it is forgotten, counted twice, or put in another order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quietgate.bans.clock import Jump
from quietgate.daemon.commit import MOST, Pending
from quietgate.errors import Busy, QuietgateError
from quietgate.guard.sentences import Past
from quietgate.net import parse_address, parse_prefix
from quietgate.values import Ban, Guess, Scope

A, B = parse_address("192.0.2.1"), parse_address("192.0.2.2")


class Slow:
    """A disk that answers when it is told to."""

    def __init__(self) -> None:
        self.given: list[Callable[[Any, QuietgateError | None], object]] = []

    def do(self, _work: object, then: Callable[[Any, QuietgateError | None], object]) -> None:
        self.given.append(then)

    def answer(self, error: QuietgateError | None = None) -> None:
        then = self.given.pop(0)
        then((False, True, []) if error is None else None, error)

    def finish(self, _within: float) -> bool:
        while self.given:
            self.answer()
        return True


class Host:
    def __init__(self, place: Path) -> None:
        self.disk = Slow()
        self.published: list[dict[str, Any]] = []
        self.shared: Any = SimpleNamespace(
            disk=self.disk, store=SimpleNamespace(about=lambda _: None), engine=SimpleNamespace(unfinished=lambda _: []), counting=None,
            policy=SimpleNamespace(bans=SimpleNamespace(max=1000)), teller=SimpleNamespace(tell=lambda _: None), missed=False, log=lambda _: None,
            parts=SimpleNamespace(paths=SimpleNamespace(lock=place / "lock")), control=SimpleNamespace(publish=self.published.append),
            trouble=lambda *_: None, publish_deeds=lambda _: None,
        )  # fmt: skip
        self.pending = Pending(cast("Any", self.shared))

    def ban(self, prefix: Any, until: float = 9e9) -> None:
        self.pending.ban(Ban(prefix, Scope.SSH, 1.0, until, "burst: 5 in 10m", "guard"), 1)
        self.pending.soon(now=True)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def sources(bans: list[Ban]) -> list[str]:
    return [str(b.prefix) for b in bans]


def test_what_is_on_its_way_still_counts(host: Host) -> None:
    host.pending.guesses.append(Guess(1.0, A, A, "failed", "root", "password", "x", 1))
    host.ban(A)
    assert host.pending.bans == [], "it is on its way"
    assert host.pending.until(A) == 9e9
    assert next(host.pending.past(A)) == Past(1, 9e9)
    assert len(host.pending.unwritten) == 1
    host.ban(B)
    assert len(host.disk.given) == 1, "one commit at a time"
    host.disk.answer()
    assert len(host.disk.given) == 1, "what was decided meanwhile goes with the next"
    assert (host.pending.until(A), host.pending.until(B)) == (0.0, 9e9), "the store has it"
    host.disk.answer()
    assert host.pending.until(B) == 0.0
    assert host.pending.unwritten == []


def test_a_network_that_was_banned_counts_for_those_in_it(host: Host) -> None:
    host.ban(parse_prefix("192.0.2.0/24"))
    assert host.pending.until(A) == 9e9
    assert host.pending.until(parse_address("192.0.3.1")) == 0.0
    assert host.pending.until(parse_address("2001:db8::1")) == 0.0


def test_what_was_refused_stands_before_what_came_meanwhile_and_is_told_once(host: Host) -> None:
    async def script() -> None:
        host.ban(A)
        host.ban(B)
        host.pending.late()
        host.disk.answer(Busy("somebody is at work", ""))
        assert sources(host.pending.bans) == ["192.0.2.1", "192.0.2.2"]
        assert [e["source"] for e in host.published] == ["192.0.2.1", "192.0.2.2"], "each once, without a number"
        host.pending.flush()
        host.disk.answer()
        assert host.pending.bans == []

    asyncio.run(script())


def test_while_a_disk_hangs_bans_stay_and_the_oldest_attempts_go(host: Host) -> None:
    host.ban(A)
    for n in range(6 * MOST):
        host.pending.guesses.append(Guess(float(n), B, B, "failed", "root", "password", "x", 1))
        host.pending.soon(now=len(host.pending.guesses) >= MOST)
    host.ban(B)
    assert len(host.pending.guesses) == 4 * MOST
    assert host.pending.guesses[-1].at == 6 * MOST - 1
    assert sources(host.pending.bans) == ["192.0.2.2"]


def test_a_clock_that_was_set_moves_what_waits_behind_a_commit_before_it_is_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[float]] = []
    do = host.disk.do

    def watched(work: Any, then: Any) -> None:
        batch = host.pending._writing
        assert batch is not None
        written.append([b.since for b in batch.bans])
        do(work, then)

    monkeypatch.setattr(host.disk, "do", watched)
    host.ban(A)
    host.ban(B)
    jumps = iter([Jump(0.0, 2.0, 3600.0)])
    host.pending._jumps = SimpleNamespace(new=lambda: next(jumps, None))  # type: ignore[assignment]
    host.pending.look_at_the_clock()
    assert written == [[1.0], [3601.0]]
