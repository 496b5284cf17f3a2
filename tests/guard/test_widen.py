"""A whole neighbourhood is banned when enough of it was, one by one; and never over somebody who belongs here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Ban, Command, Engine, Settings, Spared
from quietgate.guard.never import Never, Reason
from quietgate.guard.widen import Neighbourhoods, Widen
from quietgate.net import Prefix, PrefixSet, parse_address, parse_prefix
from quietgate.sshlog.lines import Event, Trust
from quietgate.sshlog.sshd import understand

DAY = 86400.0


def seen(addresses: list[str], times: list[float] | None = None) -> list[str | None]:
    here = Neighbourhoods(Widen())
    found = [here.saw(parse_prefix(a), (times or [0.0] * 99)[n]) for n, a in enumerate(addresses)]
    return [None if f is None else str(f[0]) for f in found]


def test_the_fourth_neighbour_bans_the_24() -> None:
    assert seen([f"203.0.113.{n}" for n in range(1, 6)]) == [None, None, None, "203.0.113.0/24", None]


def test_the_fourth_64_bans_the_56() -> None:
    assert seen([f"2001:db8:7:{n:x}::/64" for n in range(1, 5)])[-1] == "2001:db8:7::/56"


def test_the_same_one_again_counts_once() -> None:
    assert seen(["203.0.113.1"] * 9) == [None] * 9


def test_those_of_another_day_do_not_count() -> None:
    assert seen([f"203.0.113.{n}" for n in range(1, 5)], [0, DAY, DAY, DAY])[-1] == "203.0.113.0/24", "the edge does"
    assert seen([f"203.0.113.{n}" for n in range(1, 5)], [0, DAY + 1, DAY + 1, DAY + 1])[-1] is None


@pytest.mark.parametrize("net", ["fe80::", "64:ff9b::", "2001:0:1:"])
def test_addresses_that_share_a_prefix_and_nothing_else_are_no_neighbours(net: str) -> None:
    assert seen([f"{net}{':' if net.endswith(':1:') else ''}{n:x}" for n in range(1, 9)]) == [None] * 8


@given(st.lists(st.integers(0, 1 << 20), max_size=300))
def test_nobody_is_in_it_who_was_not_seen(values: list[int]) -> None:
    here = Neighbourhoods(Widen())
    for n, value in enumerate(values):
        grown = here.saw(Prefix(4, (10 << 24) + value, 32), float(n))
        if grown is not None:
            prefix, members = grown
            assert len(set(members)) >= 4
            assert all(prefix.covers(m) for m in members)


# -- as the engine decides it


def guess(engine: Engine, address: str, second: float) -> list[Command]:
    said = understand(f"Failed password for root from {address} port 5 ssh2")
    assert said is not None
    found: list[Command] = []
    for n in range(5):
        pid = int(second * 10) + n
        found += engine.read("j", Trust.JOURNAL, Event(second, pid, said, ""), Instant(second, second))
    return found


def engine(spared: str = "", known: str = "", floor: str = "") -> Engine:
    settings = Settings({"burst": Threshold(5, 600)}, never=Never.of([Reason("safe", PrefixSet([parse_prefix(spared)]))] if spared else []))
    made = Engine(settings)
    made.know({parse_address(known): 9e9} if known else {}, frozenset({parse_address(floor)} if floor else ()))
    return made


def attacked(made: Engine) -> list[Command]:
    return [c for n in range(4) for c in guess(made, f"203.0.113.{n + 1}", 1000.0 * (n + 1)) if isinstance(c, Ban | Spared)]


def test_a_neighbourhood_is_banned_as_long_as_the_last_of_it_and_says_who_earned_it() -> None:
    *single, whole = attacked(engine())
    assert len(single) == 4
    assert isinstance(whole, Ban)
    assert str(whole.source) == "203.0.113.0/24"
    assert whole.finding.evidence == "banned there: 203.0.113.1, 203.0.113.2, 203.0.113.3, 203.0.113.4"
    assert isinstance(single[-1], Ban)
    assert whole.seconds == single[-1].seconds


@pytest.mark.parametrize("who", ["spared", "known", "floor"])
def test_never_over_somebody_who_belongs_here(who: str) -> None:
    last = attacked(engine(**{who: "203.0.113.200"}))[-1]
    assert isinstance(last, Spared)
    assert str(last.source) == "203.0.113.0/24"
