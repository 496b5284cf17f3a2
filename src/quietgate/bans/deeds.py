"""Ban, lift, let in for a time: the whole deed each, for the command line, the socket and whatever comes later.

Each holds the lock, opens the store by its one door, moves what it holds with the clock, writes the kernel and the store, and tells the guard.
`now` is taken after the clock was looked at: what is written bears the time by which a later jump is told.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from quietgate.bans.clock import follow
from quietgate.bans.writer import Bans, Consent, Outcome, Request
from quietgate.control.client import tell
from quietgate.generations.history import PATIENCE, Teller, note_in
from quietgate.generations.installation import Parts
from quietgate.generations.plan import Prepared
from quietgate.guard.never import Kind, never_banned
from quietgate.host.journal_write import Log
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.sessions import who
from quietgate.host.surroundings import surroundings
from quietgate.net import BITS, Prefix
from quietgate.people import admins
from quietgate.state import grants
from quietgate.state.database import Store
from quietgate.state.grants import Grant
from quietgate.values import Ban, Deed, Scope, What

WAIT = 10.0  # seconds that a deed waits for another change to end
LONGEST_REASON = 1000  # characters that are kept of a reason


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants banned: for `seconds` (None: for ever). `evict`: administrators too; `force`: what this host lives from, too."""

    requests: Sequence[Request]
    scope: Scope
    seconds: float | None
    reason: str = ""
    consent: Consent = field(default_factory=Consent)
    evict: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Banned:
    """What came of it. `ended`: connections of who was evicted."""

    outcome: Outcome
    now: float
    until: float | None
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Lifted:
    """`lifted` are bans; `opened`: out of which ban a request was let; `missing`: requests that nothing banned; `until`: not banned again before."""

    lifted: list[Ban]
    opened: list[tuple[Request, Ban]] = field(default_factory=list)
    missing: list[Request] = field(default_factory=list)
    until: float | None = None


@dataclass(slots=True)
class _Change:
    """What a deed works with, while it holds the lock."""

    store: Store
    sets: SetWriter
    bans: Bans
    teller: Teller
    now: float
    by: str


@contextlib.contextmanager
def _changing(parts: Parts, prepared: Prepared) -> Iterator[_Change]:
    with locked(parts.paths.lock, WAIT), parts.store() as store, SetWriter() as sets:
        follow(store)
        teller = Teller(Log(parts.paths.root, PATIENCE))
        policy = prepared.policy
        yield _Change(store, sets, Bans(store, sets, policy.ssh.counting, policy.bans.max, teller.tell), teller, time.time(), who())
    tell(parts.paths.control, "bans")


def ban(parts: Parts, prepared: Prepared, wish: Wish) -> Banned:
    """Ban what may be banned; the outcome says what was not, and why. Raises QuietgateError: then nothing was done."""
    policy, counting = prepared.policy, prepared.policy.ssh.counting
    with _changing(parts, prepared) as c:
        c.store.forget_ended(c.now)
        admins.refresh(c.store, policy, prepared.ports.ports, c.now)
        floor = () if wish.evict else admins.sources(c.store, counting, c.now)
        never = never_banned(policy, prepared.resolved, surroundings(parts.paths.root), floor)
        if wish.force:
            never = never.without({Kind.NEEDED, Kind.NETWORK})
        until = None if wish.seconds is None else c.now + wish.seconds
        outcome = c.bans.ban(wish.requests, never, wish.scope, until, c.now, wish.reason[:LONGEST_REASON], c.by, wish.consent)
        ended = admins.evict(c.store, c.sets, [b.prefix for b in outcome.bans], prepared, c.now) if wish.evict else 0
        return Banned(outcome, c.now, until, ended)


def unban(parts: Parts, prepared: Prepared, requests: Sequence[Request], scopes: Sequence[Scope], pardon: float | None = None) -> Lifted:
    """Lift what these banned and everything inside; out of a wider ban they are let, and the rest stays banned. `pardon`: for so many
    seconds the guard does not ban them again. Raises QuietgateError.
    """
    with _changing(parts, prepared) as c:
        found = Lifted([], until=None if pardon is None else c.now + pardon)
        lifted: dict[tuple[Prefix, Scope], Ban] = {}
        for request in requests:
            inside = c.bans.inside(request.prefix, scopes, c.now)
            wider = c.bans.open_in(request.prefix, scopes, c.now, c.by)
            found.opened.extend((request, b) for b in wider)
            lifted |= {(b.prefix, b.scope): b for b in inside}
            if not inside and not wider:
                found.missing.append(request)
        found.lifted.extend(lifted.values())
        c.bans.unban(found.lifted, c.now, c.by)
        if found.until is not None:
            grants.put(c.store, [Grant(grants.Kind.PARDON, r.prefix, found.until, c.by) for r in requests])
        return found


def unban_all(parts: Parts, prepared: Prepared, scopes: Sequence[Scope]) -> Lifted:
    """Lift every ban of these scopes. Raises QuietgateError."""
    with _changing(parts, prepared) as c:
        lifted = [b for b in c.store.bans(c.now) if b.scope in scopes]
        c.bans.unban(lifted, c.now, c.by)
        return Lifted(lifted)


def allow(parts: Parts, prepared: Prepared, requests: Sequence[Request], seconds: float, reason: str) -> float:
    """Let them in on the SSH ports for so many seconds; the wall second at which it ends. Raises QuietgateError."""
    with _changing(parts, prepared) as c:
        until, why = c.now + seconds, reason[:LONGEST_REASON]
        grants.put(c.store, [
            Grant(grants.Kind.ALLOW, Prefix(r.prefix.version, r.prefix.value, BITS[r.prefix.version]), until, c.by, why) for r in requests
        ])  # fmt: skip
        note_in(c.store, [Deed(c.now, What.ALLOW, str(r.prefix), "ssh", until, c.by, why) for r in requests], c.teller.tell)
        _floor(c, prepared)
        return until


def end_allowed(parts: Parts, prepared: Prepared, requests: Sequence[Request]) -> int:
    """They are let in no longer; how many of them were. Raises QuietgateError."""
    with _changing(parts, prepared) as c:
        done = sum(grants.end(c.store, grants.Kind.ALLOW, r.prefix) for r in requests)
        _floor(c, prepared)
        return done


def _floor(c: _Change, prepared: Prepared) -> None:
    counting = prepared.policy.ssh.counting
    admins.fill(c.sets, counting, admins.sources(c.store, counting, c.now))
