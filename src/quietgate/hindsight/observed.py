"""What the guard banned, or in mode observe would have, beside what another tool banned meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from quietgate.generations.deciding import of_guard
from quietgate.generations.installation import Parts
from quietgate.host import fail2ban
from quietgate.net import Prefix

MOST = 100_000  # bans of the guard's that are compared, the latest


@dataclass(frozen=True, slots=True)
class Row:
    """One source: when the guard banned it first (`only_observed`: would have), and why; when fail2ban did first, and in which jail. None:
    not at all.
    """

    source: Prefix
    ours: float | None
    why: str
    theirs: float | None
    jail: str
    only_observed: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them. `mode`: the guard's, now: enforce or observe. `peer` False: there is no fail2ban to compare with."""

    since: float
    rows: tuple[Row, ...]
    peer: bool
    mode: str


def compared(parts: Parts, seconds: float) -> Comparison:
    """Compare the last `seconds`. Raises QuietgateError."""
    policy = of_guard(parts).policy
    counting = policy.ssh.counting
    since = time.time() - seconds
    ours: dict[Prefix, tuple[float, str, bool]] = {}
    with parts.look() as store:
        # The mode may have changed in this time: who was banned counts as banned, whatever was only observed before.
        for version, first, length, at in store.made_by("guard", since, MOST):
            prefix = Prefix(version, int.from_bytes(first, "big"), length)
            ours.setdefault(prefix, (at, next((b.reason for b in store.find(prefix) if b.by == "guard"), ""), False))
        for source, at in store.banned_before(since, MOST):  # what ended is forgotten after some hours, the offender is not
            ours.setdefault(source, (at, "its ban has ended", False))
        for ban in store.observed(since):
            ours.setdefault(ban.prefix, (ban.since, ban.reason, True))
    listed = fail2ban.bans(parts.paths.root, since)
    theirs: dict[Prefix, tuple[float, str]] = {}
    for address, at, jail in listed or ():
        theirs.setdefault(counting.source_of(address), (at, jail))
    rows = []
    for source in sorted({*ours, *theirs}):
        mine, peer = ours.get(source), theirs.get(source)
        rows.append(Row(source, mine[0] if mine else None, mine[1] if mine else "", peer[0] if peer else None, peer[1] if peer else "",
                        mine is not None and mine[2]))  # fmt: skip
    return Comparison(since, tuple(rows), listed is not None, str(policy.values["guard.mode"]))
