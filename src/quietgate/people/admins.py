"""The floor: addresses of administrators who are logged in, open on the SSH ports whatever else is decided.

Only sessions that a login opened count (`host/sessions.py`), and only those of `lockout.admins`. An address stays for
`lockout.keep` after it was last seen in use, over reboots too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quietgate.firewall import names
from quietgate.generations.plan import Prepared
from quietgate.host import sockets
from quietgate.host.accounts import administrators
from quietgate.host.netlink import SetWriter
from quietgate.host.sight import live
from quietgate.net import Counting, Prefix
from quietgate.people.known import note, put
from quietgate.policy.model import Policy
from quietgate.state import grants
from quietgate.state.database import Store
from quietgate.values import Session


def sessions(policy: Policy, ports: tuple[int, ...]) -> list[Session]:
    """Return the sessions of administrators that are open now."""
    return _of_admins(policy, live(frozenset(ports)))


def _of_admins(policy: Policy, found: Iterable[Session]) -> list[Session]:
    admins = administrators(policy.lockout.admins)
    return [s for s in found if s.uid in admins]


def refresh(store: Store, policy: Policy, ports: tuple[int, ...], now: float) -> list[Session]:
    """Note who is logged in now: everybody is known from where they are, administrators' addresses are on the floor. Idempotent."""
    return take(store, policy, live(frozenset(ports)), now)


def take(store: Store, policy: Policy, found: Sequence[Session], now: float) -> list[Session]:
    """Note these sessions, as `refresh` does; returns those that went onto the floor.

    A banned address is not taken up: bans spare the floor, so a ban that covers one was an eviction.
    """
    note(store, [s for s in found if not store.covering(s.flow.peer, now)], now)
    open_now = [s for s in _of_admins(policy, found) if not store.covering(s.flow.peer, now)]
    if open_now:
        store.put_floor({(s.flow.peer, s.uid) for s in open_now}, now + policy.lockout.keep)
    return open_now


def sources(store: Store, counting: Counting, now: float) -> dict[Prefix, float]:
    """Each source of the floor with the seconds for which it stays: administrators', and those that one of them has let in for a time."""
    found: dict[Prefix, float] = {}
    kept = [(address, until) for address, _, until in store.floor(now)]
    kept += [(g.prefix, g.until) for g in grants.standing(store, grants.Kind.ALLOW, now) if g.prefix.single]
    for address, until in kept:
        source = counting.source_of(address)
        found[source] = max(found.get(source, 0.0), until - now)
    return found


def evict(store: Store, sets: SetWriter, banned: Sequence[Prefix], prepared: Prepared, now: float) -> int:
    """Take banned sources off the floor and end their open SSH connections; how many were ended. Ban first, then this."""
    counting = prepared.policy.ssh.counting
    for prefix in banned:
        store.drop_floor(prefix)
        grants.end(store, grants.Kind.ALLOW, prefix)  # what let it in was perhaps the stolen account's doing
    fill(sets, counting, sources(store, counting, now))
    open_now = sockets.flows(frozenset(prepared.ports.ports))
    return sum(sockets.destroy(f) for f in open_now if any(p.covers(f.peer) for p in banned))


def fill(sets: SetWriter, counting: Counting, floor: dict[Prefix, float], *, gain: bool = False) -> None:
    """Give the kernel's floor exactly these (or, `gain`, at least these). Idempotent."""
    put(sets, {v: names.floor(v, counting) for v in (4, 6)}, floor, gain=gain)
