"""Whom the guard ends when places in sshd are short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quietgate.guard.startups import SILENT, TALKING, Waiting, to_end
from quietgate.net import Prefix, parse_address

NOW = 1000.0


def one(cookie: int, address: str, age: float, *, spoke: bool = False, exempt: bool = False) -> Waiting:
    network = parse_address(address)
    return Waiting(cookie, network if exempt else Prefix.of(4, network.value, 24), NOW - age, spoke, exempt)


def ended(waiting: list[Waiting], places: int = 6, own: int = 2) -> list[int]:
    return [w.cookie for w in to_end(waiting, places, own, NOW)]


def test_while_a_third_is_free_nobody_is_ended() -> None:
    assert ended([one(n, f"198.51.{n}.1", 100) for n in range(4)]) == []


def test_the_largest_network_loses_first_and_there_the_oldest() -> None:
    waiting = [
        one(1, "192.0.2.1", 90),
        one(2, "198.51.100.1", 10),
        one(3, "198.51.100.2", 20),
        one(4, "198.51.100.3", 15),
        one(5, "203.0.113.1", 50),
    ]
    assert ended(waiting) == [3]


def test_who_is_silent_loses_before_who_is_logging_in() -> None:
    waiting = [one(n, f"198.51.{n}.1", 60, spoke=n != 3) for n in range(5)]
    assert ended(waiting) == [3]


def test_nobody_is_ended_before_his_time() -> None:
    young = [one(n, f"198.51.{n}.1", SILENT - 0.1) for n in range(3)]
    typing = [one(n, f"198.51.{n}.1", TALKING - 0.1, spoke=True) for n in range(3, 6)]
    assert ended(young + typing) == []


def test_an_exempt_source_loses_its_own_and_no_stranger_for_it() -> None:
    waiting = [one(n, "192.0.2.9", 5 + n, exempt=True) for n in range(2)] + [one(9, "198.51.100.1", 90)]
    assert ended(waiting) == [1]
    assert ended([one(1, "192.0.2.9", 50, exempt=True), one(2, "192.0.2.8", 50, exempt=True)]) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 200), st.booleans(), st.booleans()), max_size=30),
    st.integers(1, 20),
    st.integers(1, 8),
)
def test_no_more_are_ended_than_it_takes(drawn: list[tuple[int, float, bool, bool]], places: int, own: int) -> None:
    waiting = [one(n, f"198.51.{net}.1", age, spoke=spoke, exempt=exempt) for n, (net, age, spoke, exempt) in enumerate(drawn)]
    found = to_end(waiting, places, own, NOW)
    assert len({w.cookie for w in found}) == len(found)
    assert all(w.may_end(NOW) for w in found)
    strangers = [w for w in waiting if not w.exempt]
    assert sum(not w.exempt for w in found) <= max(0, len(strangers) - places + max(1, places // 3))
