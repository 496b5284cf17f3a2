"""Peers that connect again and again and never ask for anything: a balancer's health check, a monitor, a scanner that comes by. Pure.

sshd writes of such a visit that it began or ended without a name. Who ever gave a name is no visitor, whatever came of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from statistics import median

from quietgate.net import Prefix
from quietgate.sshlog.lines import Event
from quietgate.sshlog.sshd import Kind
from quietgate.values import Visitor

LEAST = 5  # visits, where they come like a clock: a limit may have shut it out after them
MANY = 10  # visits that need not be regular; fewer may be anybody's
LIKE_A_CLOCK = 3.0  # the longest gap, in typical gaps
MOST_APART = 900.0  # seconds between two: who comes less often is never in the way of a limit
TOGETHER = 0.5  # seconds: several lines of one visit


def visitors(events: Iterable[Event]) -> list[Visitor]:
    """Those in a stretch of a log, the most regular first."""
    came: dict[Prefix, list[float]] = defaultdict(list)
    named: set[Prefix] = set()
    for event in events:
        said = event.said
        if said.address is None:
            continue
        if said.user is not None or said.kind not in (Kind.LEFT, Kind.CONNECTED):
            named.add(said.address)
        elif not came[said.address] or event.at - came[said.address][-1] > TOGETHER:
            came[said.address].append(event.at)
    found = []
    for address, times in came.items():
        if address in named or len(times) < LEAST:
            continue
        gaps = [b - a for a, b in pairwise(times)]
        every = median(gaps)
        if every <= MOST_APART and (len(times) >= MANY or max(gaps) <= LIKE_A_CLOCK * every):
            found.append(Visitor(address, len(times), every))
    return sorted(found, key=lambda v: (-v.visits, v.address))
