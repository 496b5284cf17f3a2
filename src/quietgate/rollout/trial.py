"""A trial: what follows when `up` has armed a candidate. Proof, `confirm`, `revert`.

The kernel alone ends a trial that nobody confirms (`render.arm`). Here is only what keeps it: proof that the door still
opens, and one transaction. Files follow the kernel: the candidate was on the disk before it was armed, so that keeping
it needs no room there.

Proof is a new connection: a socket on an SSH port that was not there at the arming (by the kernel's cookie, which no two
sockets share), from another host, in which the administrator who armed it has logged in since (by loginuid), however short
that login was. An old session proves nothing, since it rides on what was established; nor does a log line, which anyone can
write; nor a connection that has not logged in.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from quietgate.bans.writer import Bans
from quietgate.errors import InputError, NftError, QuietgateError, Refused, StateError
from quietgate.firewall.render import confirm as confirm_text
from quietgate.firewall.render import declared_in, renumbered, settle
from quietgate.generations.history import note
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import Inside, listing, look, stale
from quietgate.generations.plan import prepare_from
from quietgate.generations.records import Record
from quietgate.host import sockets, systemd
from quietgate.host.accounts import administrators, user_name
from quietgate.host.handshake import Handshakes
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.sessions import live, own_connection
from quietgate.net import Counting, Prefix
from quietgate.people import admins, known
from quietgate.policy.load import load
from quietgate.rollout.up import end, put_in_force, tidy
from quietgate.values import File, Session, What

LOOK_EVERY = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class Proof:
    """A login over a new connection: IP version, peer, user number."""

    version: int
    peer: Prefix
    uid: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What `confirm` kept, and which IP versions a login has proven."""

    number: int
    proven: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """How a trial stands: seconds to go, and the proof, if there is one. `over` when the kernel has ended it."""

    left: float
    proof: Proof | None
    over: bool


def watch(parts: Parts) -> Iterator[Moment]:
    """Look at a running trial again and again, until it is proven or over. Changes nothing."""
    record = parts.generations.candidate()
    if record is None:
        yield Moment(0.0, None, over=True)
        return
    may = _administrators(record)  # read once: the policy may be large, and this looks four times a second
    with SetWriter() as sets, Handshakes(frozenset(record.ports), frozenset(record.cookies)) as handshakes:
        while True:
            inside = look(parts.nft, sets)
            if not inside.on_trial or inside.candidate != record.number:
                yield Moment(0.0, None, over=True)
                return
            # A login that was over before the first look at the kernel's sessions counts as well.
            found = _proofs(record, may, live(frozenset(record.ports))) or _proofs(record, may, handshakes.logins(LOOK_EVERY))
            yield Moment(max(inside.left.values()), found[0] if found else None, over=False)
            if found:
                return


def proofs(record: Record) -> list[Proof]:
    """Return the new logins, open now, of the administrator who armed this candidate; where it was nobody's login (a console, a script)
    of any administrator.
    """
    return _proofs(record, _administrators(record), live(frozenset(record.ports)))


def _administrators(record: Record) -> frozenset[int]:
    if record.by is not None:
        return frozenset({record.by})
    return frozenset(administrators(load(record.written()).policy.lockout.admins))


def _proofs(record: Record, may: frozenset[int], sessions: Iterable[Session]) -> list[Proof]:
    own = set(sockets.own_addresses())
    return [Proof(s.flow.peer.version, s.flow.peer, s.uid) for s in sessions
            if s.uid in may and s.flow.cookie not in record.cookies and s.flow.peer not in own]  # fmt: skip


def confirm(parts: Parts, *, anyway: bool = False) -> Confirmed:
    """Keep the candidate, in one transaction. Raises Refused from a connection that proves nothing (unless `anyway`), and
    StateError when there is no trial, or it is too late.
    """
    parts.nft.version()
    with locked(parts.paths.lock, 5):
        inside = look(parts.nft)
        record = parts.generations.candidate()
        if inside.candidate is None or record is None or record.number != inside.candidate:
            raise StateError("no trial is running", "start one: quietgate up")
        if not inside.on_trial:
            tidy(parts, inside)
            raise _too_late(inside)
        mine = own_connection(frozenset(record.ports))
        if mine is not None and mine.cookie in record.cookies and not anyway:
            raise Refused("this connection is older than the trial, so it proves nothing",
                          "log in anew (ssh -o ControlPath=none ...) and confirm there, or just let `quietgate up` see that login")  # fmt: skip
        found = proofs(record)
        proven = sorted({p.version for p in found})
        _keep(parts, record, inside)
        logins = ", ".join(sorted({f"{user_name(p.uid)} from {p.peer}" for p in found})[:3])
        note(parts, What.CONFIRM, record.number, f"proven by a new login: {logins}" if found else "without a new login")
    return Confirmed(record.number, tuple(proven))


def _too_late(inside: Inside) -> StateError:
    then = f"generation {inside.confirmed} is back in force" if inside.confirmed else "nothing is in force"
    return StateError(f"too late: the trial of generation {inside.candidate} has ended, and {then}", "try again: quietgate up")


def _keep(parts: Parts, record: Record, inside: Inside) -> None:
    gone = stale(inside.living, declared_in(record.text))
    try:
        parts.nft.load(confirm_text(record.number, gone))
    except NftError as error:
        if "No such file or directory" in error.message:
            raise _too_late(inside) from None
        raise
    parts.generations.promote(record.number)
    with contextlib.suppress(QuietgateError):  # kept already; without a listing only drift cannot be told
        parts.generations.confirm(replace(record, listing=listing(parts.nft, record.number), nft=str(parts.nft.version())))
    policy = load(record.written()).policy
    systemd.follow(parts.paths, policy.refresh, policy.services)


@dataclass(frozen=True, slots=True)
class Reverted:
    """What decides after `revert`: a generation's number, None for nothing; `ended` the candidate whose trial it ended."""

    number: int | None
    ended: int | None = None


def revert(parts: Parts, number: int | None = None) -> Reverted:
    """End a trial at once; or, with none running, put an earlier confirmed generation back in force (the last but one, or
    `number`). Raises InputError when there is none like that.
    """
    parts.nft.version()
    with locked(parts.paths.lock, 5):
        inside = look(parts.nft)
        if inside.candidate is not None and number is None:
            if inside.on_trial:
                end(parts, inside)
                then = f"generation {inside.confirmed} is in force" if inside.confirmed else "nothing is in force"
                note(parts, What.REVERT, inside.candidate, f"its trial was ended; {then}")
            else:
                tidy(parts, inside)
            return Reverted(inside.confirmed, inside.candidate)
        tidy(parts, inside)
        kept = parts.generations.all()
        before = kept[:-1] if inside.confirmed is None else [r for r in kept if r.number < inside.confirmed]
        wanted = [r for r in kept if r.number == number] if number is not None else before[-1:]
        if not wanted:
            have = ", ".join(str(r.number) for r in kept) or "none"
            broken = ", ".join(b.name for b in parts.generations.broken())
            raise InputError(f"there is no generation {number} to go back to" if number else "there is no earlier generation",
                             f"kept are: {have}" + (f"; damaged are: {broken}" if broken else ""))  # fmt: skip
        new = _put_back(parts, wanted[0], inside)
        note(parts, What.REVERT, inside.confirmed or new, f"generation {new} is in force, with the rules of generation {wanted[0].number}")
        return Reverted(new)


def _put_back(parts: Parts, record: Record, inside: Inside) -> int:
    """The very ruleset that was confirmed then, under a new number, with the state of now."""
    number = parts.generations.following(inside.highest())
    text = renumbered(record.text, record.number, number)
    again = replace(record, number=number, text=text, shared=renumbered(record.shared, record.number, number), made=time.time(), listing="")
    if not record.shared:
        return put_in_force(parts, prepare_from(parts.paths, [File(n, t.encode()) for n, t in record.contents]), None).number
    parts.generations.propose(again)
    counting = Counting(*record.counting)
    policy = load([File(name, t.encode()) for name, t in record.contents]).policy
    with parts.store() as store, SetWriter() as sets:
        now = time.time()
        parts.nft.load(again.shared)
        Bans(store, sets, counting, policy.bans.max).restore(now)
        admins.refresh(store, policy, record.ports, now)
        admins.fill(sets, counting, admins.sources(store, counting, now))
        known.fill(sets, policy.ssh, known.sources(store, policy.ssh, now))
        living = parts.nft.living()
        parts.nft.load(text)
        gone = stale(living, declared_in(text))
        if any((gone.chains, gone.sets, gone.counters, gone.limits)):
            parts.nft.load(settle(number, gone))
    parts.generations.confirm(replace(again, listing=listing(parts.nft, number), nft=str(parts.nft.version())))
    return number
