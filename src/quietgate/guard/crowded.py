"""IPv6 /48s in which many /64s fail: one customer who has them all, or a provider's worst. Only there the limit of a /48 counts.

Many providers give each customer a /64 of one /48: a limit over all of it would let one of them shut the others out. Memory: at most
MOST /48s, the oldest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from quietgate.net import SINGLY, Prefix

LENGTH = 48
SOURCES = 8  # different /64s that failed
WITHIN = 3600.0  # seconds in which they did
HOLDS = 86400.0  # seconds for which a /48 is crowded after that
MOST = 4096


@dataclass(slots=True)
class Crowded:
    """Who failed where. Times are monotonic seconds."""

    _seen: OrderedDict[Prefix, dict[Prefix, float]] = field(default_factory=OrderedDict)

    def failed(self, source: Prefix, now: float) -> Prefix | None:
        """A failed attempt of one source; its /48 when enough of it have failed, else None."""
        if source.version != 6 or source.length <= LENGTH or any(p.covers(source) for p in SINGLY):
            return None
        network = Prefix.of(6, source.value, LENGTH)
        here = self._seen.setdefault(network, {})
        self._seen.move_to_end(network)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
        here[source] = now
        if len(here) < SOURCES:
            return None
        for old in [s for s, at in here.items() if now - at > WITHIN]:
            del here[old]
        if len(here) < SOURCES:
            return None
        while len(here) > SOURCES:  # the oldest first: as many as it takes are remembered
            del here[min(here, key=lambda s: here[s])]
        return network
