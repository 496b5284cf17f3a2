"""What happened in a day or a week, for whoever was not disturbed meanwhile: the source of the digest and of `report`."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from quietgate.alerts.record import standing
from quietgate.errors import QuietgateError
from quietgate.generations.deciding import usable
from quietgate.generations.installation import Parts
from quietgate.inspect.doctor import Finding, examine
from quietgate.inspect.status import Guard, guard
from quietgate.net import Prefix
from quietgate.people.usernames import exists
from quietgate.state.alerts import Book
from quietgate.state.database import Store
from quietgate.state.sums import Sums
from quietgate.values import Ban, Login, Noted

SHOWN = 10
PARTS = {"day": 24, "week": 28}  # bars of the picture: an hour each, or six hours


@dataclass(frozen=True, slots=True)
class Source:
    """One that attacked: how often, from when to when; of the names that it tried those that exist here (`more` are not listed), and how
    many `others`; its ban.
    """

    source: Prefix
    attempts: int
    first: float
    last: float
    existing: tuple[str, ...]
    others: int
    ban: Ban | None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A generation of the ruleset that was confirmed: number, wall second, SSH ports."""

    number: int
    at: float
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """`made`: bans of the time by detector; `bars`: attempts in equal parts of it; `names`: those that exist here, with how often, of
    which `more_names` are not listed, tried `more_tried` times; `unknown`: how often names that do not exist. `logins`: the last
    of each user from each address. `look`: what deserves a look.
    """

    host: str
    since: float
    until: float
    attempts: int = 0
    sources: int = 0
    made: Mapping[str, int] = field(default_factory=dict)
    bans: int = 0
    bars: tuple[int, ...] = ()
    busiest: tuple[Source, ...] = ()
    names: tuple[tuple[str, int], ...] = ()
    unknown: int = 0
    logins: tuple[Login, ...] = ()
    changes: tuple[Change, ...] = ()
    alerts: tuple[Noted, ...] = ()
    look: tuple[Finding, ...] = ()
    guard: Guard | None = None
    more_names: int = 0
    more_tried: int = 0
    of: str = ""  # logs that were looked at, in place of this host's own record

    @property
    def other_sources(self) -> tuple[int, int]:
        """How many sources are not among the busiest, and their attempts."""
        return self.sources - len(self.busiest), self.attempts - sum(s.attempts for s in self.busiest)

    @property
    def nameless(self) -> int:
        """Attempts without a name: who only connected, or left before he named anybody."""
        return self.attempts - sum(count for _, count in self.names) - self.more_tried - self.unknown


def digest(parts: Parts, since: float, until: float) -> Digest:
    """Look at what is recorded between two wall seconds, and at what is true now. Raises QuietgateError."""
    prepared = usable(parts)[0]
    counting = prepared.policy.ssh.counting
    host = socket.gethostname()
    changes = [Change(r.number, r.made, r.ports) for r in parts.generations.all() if since <= r.made < until]
    look: list[Finding] = []
    with contextlib.suppress(QuietgateError):
        look = [f for f in examine(parts, prepared) if f.severity == "problem"]
    now = time.time()
    with parts.look() as store:
        sums, book = Sums(store, {4: counting.source4, 6: counting.source6}), Book(store)
        sums.hold()
        attempts, sources = sums.attempts(since, until)
        busiest = []
        for b in sums.busiest(since, until, SHOWN):
            existing = tuple(n for n, _ in b.names if exists(n))
            bans = store.covering(b.source, now)
            busiest.append(
                Source(b.source, b.attempts, b.first, b.last, existing[:SHOWN], b.tried - len(existing), bans[0] if bans else None,
                       len(existing[SHOWN:]))
            )  # fmt: skip
        known = [(n, c) for n, c in sums.names(since, until) if exists(n)]
        things = book.noted(since)
        look += [Finding("alert", t.severity, f"{t.what} (number {t.id})", t.next) for t in standing(things)]
        return Digest(
            host, since, until, attempts, sources, sums.bans(since, until), store.count(now),
            tuple(sums.by_time(since, until, PARTS["day" if until - since <= 2 * 86400 else "week"])), tuple(busiest), tuple(known[:SHOWN]),
            sums.named(since, until) - sum(c for _, c in known), _logins(store, since, until), tuple(changes),
            tuple(t for t in things if t.first < until), tuple(look), guard(parts),
            len(known[SHOWN:]), sum(c for _, c in known[SHOWN:]),
        )  # fmt: skip


def _logins(store: Store, since: float, until: float) -> tuple[Login, ...]:
    """The last login of each user from each address, whoever tells of it; what the kernel has shown comes first."""
    found = {(x.user, x.address): x for x in (*store.remembered(since), *store.logins(since)) if x.at < until}
    return tuple(sorted(found.values(), key=lambda x: (-x.at, x.user)))
