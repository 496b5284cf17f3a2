"""Each repeat one step further, good behaviour a step back, a little chance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.guard.bans import Past, Sentences

DAY = 86400.0
EXACT = Sentences((600, 3600, DAY), 30 * DAY, 0)
DICE = random.Random(1)


def test_each_repeat_is_one_further_and_the_last_step_stays() -> None:
    past, lengths = Past(), []
    for n in range(5):
        length, steps = EXACT.next(past, n * DAY, DICE)
        lengths.append(length)
        past = Past(steps, n * DAY + length)
    assert lengths == [600, 3600, DAY, DAY, DAY]


def test_thirty_good_days_take_one_step_back() -> None:
    assert EXACT.next(Past(2, 0.0), 30 * DAY - 1, DICE)[0] == DAY
    assert EXACT.next(Past(2, 0.0), 30 * DAY, DICE)[0] == 3600
    assert EXACT.next(Past(2, 0.0), 60 * DAY, DICE)[0] == 600
    assert EXACT.next(Past(2, 0.0), 900 * DAY, DICE) == (600, 1)


def test_a_clock_that_went_back_forgives_nothing() -> None:
    assert EXACT.next(Past(2, 100 * DAY), 0.0, DICE)[0] == DAY


@given(st.integers(0, 50), st.integers(0, 9), st.integers(0, 1 << 30))
def test_chance_stays_within_its_share(jitter: int, steps: int, seed: int) -> None:
    length, _ = Sentences(jitter=jitter).next(Past(steps, 0.0), 1.0, random.Random(seed))
    exact = Sentences().steps[min(steps, 4)]
    assert abs(length - exact) <= exact * jitter / 100 + 1e-6


def test_for_ever_is_for_ever() -> None:
    assert Sentences((float("inf"),), DAY, 10).next(Past(), 0.0, DICE)[0] == float("inf")


@pytest.mark.parametrize("bad", [((), 1.0, 0), ((0,), 1.0, 0), ((1,), 0.0, 0), ((1,), 1.0, 51)])
def test_what_makes_no_sense_cannot_be_made(bad: tuple[tuple[float, ...], float, int]) -> None:
    with pytest.raises(ValueError, match="a ban needs"):
        Sentences(*bad)
