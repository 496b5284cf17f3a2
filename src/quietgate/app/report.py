"""What the guard would have banned, beside what another tool banned meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from quietgate.app.deciding import of_guard
from quietgate.app.parts import Parts
from quietgate.host import fail2ban
from quietgate.host.store import Store
from quietgate.net import Prefix


@dataclass(frozen=True, slots=True)
class Row:
    """One source: when we would have banned it first, and why; when fail2ban did first, and in which jail. None: not at all."""

    source: Prefix
    ours: float | None
    why: str
    theirs: float | None
    jail: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them. `peer` False: there is no fail2ban to compare with."""

    since: float
    rows: tuple[Row, ...]
    peer: bool


def observed(parts: Parts, seconds: float) -> Comparison:
    """Compare the last `seconds`. Raises QuietgateError."""
    counting = of_guard(parts).policy.ssh.counting
    since = time.time() - seconds
    ours: dict[Prefix, tuple[float, str]] = {}
    if parts.paths.store.exists():
        with Store(parts.paths.store, read_only=True) as store:
            for ban in store.observed(since):
                ours.setdefault(ban.prefix, (ban.since, ban.reason))
    listed = fail2ban.bans(parts.paths.root, since)
    theirs: dict[Prefix, tuple[float, str]] = {}
    for address, at, jail in listed or ():
        theirs.setdefault(counting.source_of(address), (at, jail))
    rows = []
    for source in sorted({*ours, *theirs}):
        mine, peer = ours.get(source), theirs.get(source)
        rows.append(Row(source, mine[0] if mine else None, mine[1] if mine else "", peer[0] if peer else None, peer[1] if peer else ""))
    return Comparison(since, tuple(rows), listed is not None)
