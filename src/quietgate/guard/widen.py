"""Neighbourhoods: when several neighbours were banned within a time, their whole prefix is.

Botnets rent whole networks. Four different sources of one /24 (or of one IPv6 /56) that were each banned for what they did
themselves are no coincidence; who else is in there would be banned next. Never over somebody who must get in: the engine asks.

Only bans for cause count, none that was itself a widening. Memory: at most MOST prefixes, the oldest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from quietgate.net import SINGLY, Prefix

MOST = 65_536


@dataclass(frozen=True, slots=True)
class Widen:
    """`sources` banned neighbours within `within` seconds ban the prefix of `v4` or `v6` bits."""

    sources: int = 4
    within: float = 86400
    v4: int = 24
    v6: int = 56

    def __post_init__(self) -> None:
        if self.sources < 2 or self.within <= 0 or not 8 <= self.v4 < 32 or not 16 <= self.v6 < 64:
            raise ValueError("widening needs at least two sources, a positive time, and prefixes that hold more than one source")


@dataclass(slots=True)
class Neighbourhoods:
    """Who was banned where. Times are monotonic seconds."""

    rule: Widen
    _seen: OrderedDict[Prefix, dict[Prefix, float]] = field(default_factory=OrderedDict)

    def saw(self, source: Prefix, now: float) -> tuple[Prefix, tuple[Prefix, ...]] | None:
        """A ban of one source; the prefix to ban and those who earned it, when there are enough, else None."""
        length = self.rule.v4 if source.version == 4 else self.rule.v6
        # Link-local, NAT64 and Teredo addresses are strangers to each other, whatever prefix they share.
        if source.length <= length or (source.version == 6 and any(p.covers(source) for p in SINGLY)):
            return None
        prefix = Prefix.of(source.version, source.value, length)
        here = self._seen.setdefault(prefix, {})
        self._seen.move_to_end(prefix)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
        here[source] = now
        if len(here) >= self.rule.sources:
            for old in [s for s, at in here.items() if now - at > self.rule.within]:
                del here[old]
        if len(here) < self.rule.sources:
            return None
        del self._seen[prefix]
        return prefix, tuple(sorted(here))

    def forget_before(self, now: float) -> None:
        """Drop what is too old to count. Call now and then; any time is right."""
        for prefix in [p for p, here in self._seen.items() if now - max(here.values()) > self.rule.within]:
            del self._seen[prefix]
