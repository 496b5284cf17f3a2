"""Which connections that have not logged in are ended when others need their place in sshd.

Only where places are short: among strangers, so that a part of them is always free; of an exempt source, so that one of its tokens
is. The largest network loses first; there, who has sent nothing but a greeting loses before who is logging in, and the oldest
before the newest. Nobody is ended before a client that works would have sent more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from quietgate.net import Prefix

SILENT = 3.0  # seconds after which a connection that sent no more than a greeting may be ended: clients send their keys at once
TALKING = 30.0  # the same for others: time to type a password


@dataclass(frozen=True, slots=True)
class Waiting:
    """One connection that has not logged in. `since` in monotonic seconds; `network` is what shares are counted by (the source itself
    where it is exempt); `spoke`: it sent more than a greeting.
    """

    cookie: int
    network: Prefix
    since: float
    spoke: bool
    exempt: bool

    def may_end(self, now: float) -> bool:
        """True if it had its time."""
        return now - self.since >= (TALKING if self.spoke else SILENT)


def to_end(waiting: Sequence[Waiting], places: int, own: int, now: float) -> list[Waiting]:
    """Whom to end, so that a third of the strangers' `places` and one of each exempt source's `own` tokens are free again, as far as
    those who had their time allow.
    """
    strangers = [w for w in waiting if not w.exempt]
    found = _end(strangers, len(strangers) - (places - max(1, places // 3)), now)
    for source in {w.network for w in waiting if w.exempt}:
        here = [w for w in waiting if w.exempt and w.network == source]
        found += _end(here, len(here) - max(0, own - 1), now)
    return found


def _end(waiting: list[Waiting], count: int, now: float) -> list[Waiting]:
    held = Counter(w.network for w in waiting)
    left = [w for w in waiting if w.may_end(now)]
    found: list[Waiting] = []
    while left and len(found) < count:
        one = min(left, key=lambda w: (-held[w.network], w.spoke, w.since, w.cookie))
        left.remove(one)
        held[one.network] -= 1
        found.append(one)
    return found
