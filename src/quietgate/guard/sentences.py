"""How long a ban lasts: each repeat one step further, good behaviour a step back, and a little chance.

Jitter keeps a botnet whose members were banned together from coming back together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered of a source: how many steps it had gone, and when its last ban ended (wall seconds)."""

    steps: int = 0
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Sentences:
    """Lengths in seconds, one for each repeat (the last for all further ones); `forget` seconds take one step back;
    `jitter` in per cent.
    """

    steps: tuple[float, ...] = (600, 3600, 86400, 604800, 2592000)
    forget: float = 2592000
    jitter: int = 10

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) <= 0 or self.forget <= 0 or not 0 <= self.jitter <= 50:
            raise ValueError("a ban needs at least one positive length, a positive time to forget, and a jitter of 0 to 50 per cent")

    def next(self, past: Past, now: float, dice: random.Random) -> tuple[float, int]:
        """Length of the ban that begins at wall second `now`, and the steps gone then."""
        good = max(0, int((now - past.ended) // self.forget)) if past.steps else 0
        step = max(0, past.steps - good)
        length = self.steps[min(step, len(self.steps) - 1)]
        swing = length * self.jitter / 100 if length != float("inf") else 0.0
        return length + dice.uniform(-swing, swing), step + 1
