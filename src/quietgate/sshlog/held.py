"""What PAM's modules say, until sshd's own words decide of it. Pure.

A module's line comes before it is known whether the next module accepts, and in a conversation under the number of a child. So it is
held: what sshd says of the conversation takes one of the lines of the same host, address and name, in whichever order the two come. What
nobody has taken after HOLD seconds was a guess of which sshd says nothing (LogLevel ERROR).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, TypeAlias

from quietgate.net import Prefix
from quietgate.sshlog.lines import Event

HOLD = 15.0  # seconds in which sshd says of a module's line what became of it (pam_unix waits 2 s, pam_faildelay some more)
CROSSED = 2.0  # seconds by which the lines of two processes may come in the wrong order
MOST = 20_000  # of either kind; of more, the oldest are decided at once


class Speaker(Protocol):
    """A connection, or its child, of which modules have spoken. `claimed`: how many of their lines are accounted for elsewhere."""

    pam: int
    other: int
    claimed: int
    emitted: int
    modules_only: bool
    user: str


Place: TypeAlias = tuple[str, Prefix]  # host and address


@dataclass(slots=True)
class Held:
    """Module lines that wait, and conversations whose child has said nothing yet. Times are wall seconds as logged."""

    _waiting: deque[tuple[float, Place, Speaker, Event]] = field(default_factory=deque)
    _at: dict[Place, deque[Speaker]] = field(default_factory=dict)
    _early: deque[tuple[float, Place, str]] = field(default_factory=deque)

    @property
    def next_due(self) -> float:
        """When something will have waited long enough; now, where too much waits."""
        if not self._waiting:
            return inf
        return -inf if len(self._waiting) > MOST else self._waiting[0][0]

    def add(self, speaker: Speaker, place: Place, event: Event) -> None:
        """A module has spoken in a process of which sshd has said nothing. Once for each until it is let go."""
        self._forget_early(event.at)
        for early in self._early:
            if early[1] == place and (early[2] == speaker.user or not speaker.user):
                self._early.remove(early)
                speaker.claimed += 1
                break
        self._waiting.append((event.at + HOLD, place, speaker, event))
        others = self._at.get(place)
        if others is None:
            others = self._at[place] = deque()
        others.append(speaker)

    def asked(self, place: Place, user: str, at: float, claimant: Speaker, times: int) -> None:
        """sshd has told of so many guesses in a conversation: each accounts for a line of its child's, said already or to be said."""
        for _ in range(times):
            if not self.claim(place, user, claimant):
                self._forget_early(at)
                if len(self._early) < MOST:
                    self._early.append((at, place, user))

    def claim(self, place: Place, user: str, claimant: Speaker) -> bool:
        """Take one line of another process; False if none is there."""
        for child in self._at.get(place, ()):
            if (child is not claimant and child.modules_only and child.user in (user, "")
                    and max(child.pam, child.other) > child.claimed + child.emitted):  # fmt: skip
                child.claimed += 1
                return True
        return False

    def due(self, at: float) -> list[tuple[Speaker, Event]]:
        """Who has waited long enough at `at`, and what was the first word."""
        found = []
        while self._waiting and (self._waiting[0][0] <= at or len(self._waiting) > MOST):
            _, place, speaker, event = self._waiting.popleft()
            others = self._at[place]
            others.popleft()  # it came first there as well
            if not others:
                del self._at[place]
            found.append((speaker, event))
        return found

    def _forget_early(self, at: float) -> None:
        while self._early and at - self._early[0][0] > CROSSED:
            self._early.popleft()
