"""Who comes like a clock and never asks is a check of somebody's; who ever gave a name is none."""

from __future__ import annotations

from quietgate.sshlog.lines import Event
from quietgate.sshlog.visitors import visitors
from tests.guard.script import A, B, event


def visit(at: float, address: str = A, pid: int = 1) -> list[Event]:
    lines = (f"Connection from {address} port 40000 on 198.51.100.1 port 22", f"Connection closed by {address} port 40000")
    return [event(line, f"{at}s", pid) for line in lines]


def found(*visits: list[Event]) -> list[tuple[str, int, float]]:
    return [(str(v.address), v.visits, v.every) for v in visitors(e for one in visits for e in one)]


def test_a_health_check_is_seen_after_a_few_visits_and_a_person_is_not() -> None:
    assert found(*(visit(n * 2) for n in range(5))) == [(A, 5, 2.0)]
    assert found(*(visit(n * 2) for n in range(4))) == []
    assert found(*(visit(at) for at in (0, 1, 2, 100, 101))) == [], "not like a clock"
    assert found(*(visit(n * 1000) for n in range(20))) == [], "no limit is in its way"


def test_who_ever_gave_a_name_or_sent_garbage_is_no_visitor() -> None:
    guess = [event(f"Failed password for root from {A} port 40000 ssh2", "5s")]
    noise = [event(f"banner exchange: Connection from {A} port 40000: invalid format", "5s")]
    for more in (guess, noise):
        assert found(*(visit(n * 2) for n in range(20)), more) == []
    assert found(*(visit(n * 2) for n in range(20)), *(visit(n, B) for n in range(30))) == [(B, 30, 1.0), (A, 20, 2.0)]
