"""The record and the queue: whatever happens at once or goes wrong, nothing is lost, and few messages go out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quietgate.alerts import notifier, outbox
from quietgate.alerts.notifier import Alerting
from quietgate.clock import Instant
from quietgate.errors import StateError
from quietgate.guard.alerts import Alerts, Clear, Raise, Topic
from quietgate.host import deliver
from quietgate.policy.load import load
from quietgate.state.alerts import Book
from quietgate.state.database import Store
from quietgate.values import File, Parcel
from tests.daemon.at_once import AtOnce

ROUTE = b'[[alerts.route]]\nto = "webhook"\nurl = "http://127.0.0.1:1/"\nseverity = "all"\n'


class Host:
    """What the alerts of a guard work with: a real store, and a way out that writes down what it carried."""

    def __init__(self, place: Path, policy: bytes) -> None:
        self.store = Store(place / "quietgate.db")
        self.said: list[str] = []
        self.troubles: dict[str, str] = {}
        self.carried: list[dict[str, Any]] = []
        self.answer = ""
        self.tasks: set[asyncio.Task[None]] = set()
        found = load([File("p", policy)])
        assert found.problems == ()
        self.shared: Any = SimpleNamespace(
            policy=found.policy, store=self.store, disk=AtOnce(self.store), engine=SimpleNamespace(alerts=Alerts()), log=self.said.append, publish=lambda *_, **__: None,
            trouble=self.troubles.__setitem__, spawn=self.spawn, parts=SimpleNamespace(paths=SimpleNamespace(root=place, deliverer=place / "no")),
        )  # fmt: skip

    def spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def carry(self, job: Any, _unit: Path) -> str:
        self.carried.append(job.message)
        return self.answer


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path, ROUTE)
    monkeypatch.setattr(deliver, "hand_over", made.carry)
    monkeypatch.setattr(outbox, "FIRST", 0.05)
    monkeypatch.setattr(notifier, "AGAIN", 0.05)
    yield made
    made.store.close()


def raised(number: int, topic: Topic = Topic.BREAK_IN) -> Raise:
    return Raise(topic, f"{number}", time.time(), f"number {number}", ("seen",), "nothing", "quietgate alerts")


def run(host: Host, script: Callable[[Alerting], Any], within: float = 1.0) -> None:
    """What happens to a guard's alerts for a while."""

    async def a_while() -> None:
        made = Alerting(host.shared)
        made.restore(Instant(time.time(), time.monotonic()))
        script(made)
        await asyncio.sleep(within)
        for task in list(host.tasks):
            task.cancel()

    asyncio.run(a_while())


def test_ten_thousand_things_are_recorded_and_at_most_three_messages_go_out(host: Host) -> None:
    topics = list(Topic)

    def script(alerts: Alerting) -> None:
        for n in range(10_000):
            alerts.take([raised(n, topics[n % len(topics)])])

    run(host, script, 2.5)
    book = Book(host.store)
    assert len(book.noted(0.0)) == 10_000
    assert sum(book.open_things().values()) == 10_000
    assert 1 <= len(host.carried) <= 3


def test_a_message_arrives_once_and_waits_no_more(host: Host) -> None:
    run(host, lambda alerts: alerts.take([raised(1)]))
    assert [m["alerts"][0]["subject"] for m in host.carried] == ["1"]
    assert Book(host.store).parcels() == []
    run(host, lambda _alerts: None)
    assert len(host.carried) == 1


def test_what_arrived_while_the_disk_was_full_is_not_sent_again_by_the_next_guard(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = Book.took, [True]

    def took(self: Book, parcel: Parcel) -> None:
        if full[0]:
            raise StateError("the disk is full")
        real(self, parcel)

    monkeypatch.setattr(Book, "took", took)

    def script(alerts: Alerting) -> None:
        alerts.take([raised(1)])
        asyncio.get_running_loop().call_later(0.5, full.__setitem__, 0, False)
        asyncio.get_running_loop().call_later(0.7, alerts.tick, Instant(time.time(), time.monotonic()))

    run(host, script)
    assert len(host.carried) == 1
    assert Book(host.store).parcels() == []


def test_what_does_not_arrive_is_tried_again_with_the_same_name(host: Host) -> None:
    host.answer = "the receiver answers 500"
    run(host, lambda alerts: alerts.take([raised(1)]), 1.0)
    assert len(host.carried) > 1
    assert len({m["id"] for m in host.carried}) == 1
    (parcel,) = Book(host.store).parcels()
    assert (parcel.error, parcel.tries > 0) == ("the receiver answers 500", True)
    host.answer = ""
    before = len(host.carried)
    run(host, lambda _alerts: None)
    assert len(host.carried) == before + 1
    assert Book(host.store).parcels() == []


def test_what_is_not_news_any_more_is_given_up_and_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answer = "no route to host"
    monkeypatch.setattr(outbox, "GIVEN_UP", 0.0)
    run(host, lambda alerts: alerts.take([raised(1)]), 0.5)
    assert Book(host.store).parcels() == []
    assert "a message was given up: no route to host" in host.said
    assert len(Book(host.store).noted(0.0)) == 1, "the record has it"


def test_a_full_disk_holds_no_message_back_and_the_record_follows(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = Book.write, [True]

    def write(self: Book, *args: Any) -> list[int]:
        if full[0]:
            raise StateError("the disk is full")
        return real(self, *args)

    monkeypatch.setattr(Book, "write", write)

    def script(alerts: Alerting) -> None:
        alerts.take([raised(1)])
        asyncio.get_running_loop().call_later(0.5, full.clear)
        asyncio.get_running_loop().call_later(0.5, full.append, False)

    run(host, script, 2.0)
    assert len(host.carried) == 1
    assert [n.subject for n in Book(host.store).noted(0.0)] == ["1"]
    assert Book(host.store).parcels() == []
    assert host.troubles["record"] == ""


def test_a_route_that_is_gone_has_no_messages_and_the_others_keep_theirs(host: Host) -> None:
    host.answer = "down"

    def script(alerts: Alerting) -> None:
        alerts.take([raised(1)])

        def other() -> None:
            host.shared.policy = load([File("p", ROUTE.replace(b":1/", b":2/"))]).policy
            alerts.change()

        asyncio.get_running_loop().call_later(0.3, other)

    run(host, script, 1.0)
    assert Book(host.store).parcels() == []
    assert "a message was given up: the policy has this route no more" in host.said


def test_over_a_restart_nothing_is_told_twice_and_what_is_over_is(host: Host) -> None:
    lasting = Raise(Topic.BLIND, "journal", time.time(), "silent", (), "", "", lasting=True)
    run(host, lambda alerts: alerts.take([lasting]), 0.5)
    assert len(host.carried) == 1
    run(host, lambda alerts: alerts.take([lasting]), 0.5)
    assert len(host.carried) == 1
    (n,) = Book(host.store).noted(0.0)
    assert n.count == 2
    run(host, lambda alerts: alerts.take([Clear(Topic.BLIND, "journal", time.time(), "it speaks again")]), 0.5)
    (n,) = Book(host.store).noted(0.0)
    assert n.over == "it speaks again"


def test_severities_and_routes(host: Host) -> None:
    host.shared.policy = load([File("p", ROUTE.replace(b'"all"', b'"page"'))]).policy
    run(host, lambda alerts: alerts.take([raised(1, Topic.STRAIN), raised(2, Topic.BREAK_IN)]), 0.5)
    assert [[a["subject"] for a in m["alerts"]] for m in host.carried] == [["2"]]
    assert json.dumps(host.carried[0]).isascii()
