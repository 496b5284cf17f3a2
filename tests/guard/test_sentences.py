"""How long a ban lasts: longer each time, shorter after good behaviour, never quite the same."""

from __future__ import annotations

import random

import pytest

from quietgate.guard.sentences import Past, Sentences

DAY = 86400.0
STEPS = (600.0, 3600.0, DAY, 7 * DAY, 30 * DAY)
EXACT = Sentences(STEPS, 30 * DAY, 0)
DICE = random.Random(1)


def test_each_repeat_is_one_step_further_and_the_last_stays() -> None:
    past, lengths = Past(), []
    for _ in range(7):
        length, steps = EXACT.next(past, past.ended, DICE)
        lengths.append(length)
        past = Past(steps, past.ended + length)
    assert lengths == [*STEPS, STEPS[-1], STEPS[-1]]


@pytest.mark.parametrize(
    ("good", "length", "steps"),
    [
        (0, 7 * DAY, 4),
        (30 * DAY - 1, 7 * DAY, 4),
        (30 * DAY, DAY, 3),
        (60 * DAY, 3600.0, 2),
        (90 * DAY, 600.0, 1),
        (900 * DAY, 600.0, 1),
        (-DAY, 7 * DAY, 4),
    ],
)
def test_good_behaviour_takes_steps_back(good: float, length: float, steps: int) -> None:
    """Counted from the end of the last ban; a clock that went back takes nothing off."""
    assert EXACT.next(Past(3, 1e9), 1e9 + good, DICE) == (length, steps)


def test_without_a_past_the_clock_does_not_matter() -> None:
    assert EXACT.next(Past(), 1e9, DICE) == (600.0, 1)


def test_chance_stays_within_its_per_cent_and_is_used() -> None:
    lengths = [Sentences(STEPS, 30 * DAY, 10).next(Past(), 0.0, DICE)[0] for _ in range(2000)]
    assert all(540 <= x <= 660 for x in lengths)
    assert max(lengths) > 650
    assert min(lengths) < 550


def test_for_ever_is_for_ever() -> None:
    assert Sentences((float("inf"),), DAY, 10).next(Past(), 0.0, DICE)[0] == float("inf")


@pytest.mark.parametrize(
    ("steps", "forget", "jitter"),
    [((), 1.0, 0), ((0.0,), 1.0, 0), ((-1.0, 5.0), 1.0, 0), ((5.0,), 0.0, 0), ((5.0,), 1.0, 51), ((5.0,), 1.0, -1)],
)
def test_what_makes_no_sense_cannot_be_built(steps: tuple[float, ...], forget: float, jitter: int) -> None:
    with pytest.raises(ValueError, match="a ban needs"):
        Sentences(steps, forget, jitter)
