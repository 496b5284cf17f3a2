"""`up`, `refresh` and `down`: a policy becomes the kernel's ruleset, stays it, and goes again.

`up` in order: prepare; write the candidate to disk; make the state sets and fill them (bans, floor, known sources, live
sessions); then one transaction that switches the rules. A kill at any moment leaves the old rules or the new ones, whole.
What follows an armed trial is in `trial.py`.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from quietgate.bans.clock import follow
from quietgate.bans.writer import Bans
from quietgate.errors import Busy, QuietgateError, StateError
from quietgate.firewall.render import Generation, Stale, arm, declared, declared_in, render, sets_only, settle
from quietgate.generations.history import lapsed, note
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import Inside, drifted, in_force, listing, look, stale
from quietgate.generations.plan import Prepared, prepare, prepare_from
from quietgate.generations.records import Record
from quietgate.host import sockets, systemd
from quietgate.host.files import is_regular, remove
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.sessions import own_login
from quietgate.people import admins, known
from quietgate.policy.changes import Change, changes
from quietgate.policy.load import load
from quietgate.rollout.load import load_record, remember_live
from quietgate.rollout.rehearsal import Report, refusal, rehearse
from quietgate.state.database import Store
from quietgate.values import What

WAIT = 10.0  # seconds for the lock: the guard or a refresh may hold it for a moment


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `changed` is False when the same ruleset was already in force; `settings`: then the rest of the policy was not, and is
    now; `trial` its seconds, None at once.

    `report`: what the rehearsal proved; None where there was none. `differences`: those settings, old and new.
    """

    number: int
    changed: bool
    bans: int
    known: int
    floor: int
    prepared: Prepared
    trial: int | None = None
    report: Report | None = None
    settings: bool = False
    differences: tuple[Change, ...] = ()


def up(parts: Parts, *, now: bool, trial: int | None = None, force: bool = False) -> Up:
    """Put the installed policy in force: at once (`now`), or on trial (for `trial` seconds, or as the policy says).

    Idempotent. Raises QuietgateError and has then changed nothing: Refused where the rehearsal finds somebody locked
    out (unless `force`), Busy while another trial runs.
    """
    parts.nft.version()
    with locked(parts.paths.lock, WAIT):
        prepared = prepare(parts.paths)
        report = _rehearsed(parts, prepared)
        refused = refusal(report) if report is not None else None
        if refused is not None and (now or not force):
            raise refused
        done = put_in_force(parts, prepared, None if now else trial or prepared.policy.lockout.trial)
        done = replace(done, report=report)
        _record_up(parts, done, "--force: the rehearsal refused" if refused is not None else "")
        with contextlib.suppress(OSError):
            remove(parts.paths.held_down)
    return done


def _record_up(parts: Parts, done: Up, why: str, by: str = "") -> None:
    if done.changed or done.settings:
        rules = "" if done.changed else "other settings, the same rules"
        until = None if done.trial is None else time.time() + done.trial
        note(parts, What.UP, done.number, "; ".join(filter(None, (rules, why))), until=until, by=by)


def _rehearsed(parts: Parts, prepared: Prepared, *, remembered: bool = True) -> Report | None:
    """Try the candidate in a copy of this host; None where it is in force already, or where the policy asks for none."""
    inside = look(parts.nft)
    record = in_force(parts.generations, inside)
    if not prepared.policy.lockout.rehearse or (record is not None and record.digest == prepared.digest):
        return None
    now = time.time()
    with parts.store() as store:
        known.gather(store, parts.paths, max(prepared.policy.ssh.known or 0, prepared.policy.lockout.history), now)
        admins.refresh(store, prepared.policy, prepared.ports.ports, now)
        return rehearse(prepared, store, record, now, remembered=remembered)


def put_in_force(parts: Parts, prepared: Prepared, trial: int | None) -> Up:
    """The same, of a policy that is prepared. The caller holds the lock."""
    with parts.store() as store, SetWriter() as sets:
        inside = look(parts.nft, sets)
        if inside.on_trial:
            left = max(inside.left.values())
            raise Busy(f"generation {inside.candidate} is on trial for {left:.0f} s more",
                       "confirm it, or revert it: quietgate confirm, quietgate revert; nothing was changed")  # fmt: skip
        _note_lapse(parts, inside)
        store.put_names({n: tuple(map(str, a)) for n, a in prepared.resolved.items()})
        now = time.time()
        follow(store)
        store.forget_ended(now)
        record = in_force(parts.generations, inside)
        fits = record is not None and record.digest == prepared.digest and drifted(parts.nft, record) is False
        if record is None or not fits or parts.generations.broken_above(record.number):
            record = _record(parts, prepared, inside, now)
            changed = True
            parts.generations.propose(record)
        else:
            changed = False
        # What the guard alone obeys changes no rule, and needs no trial: nobody can be locked out by it.
        settings = not changed and record.contents != prepared.texts
        differences = changes(load(record.written()).policy, prepared.policy) if settings and record.contents else ()
        generation = Generation(record.number, prepared.ruleset)
        if changed:
            parts.nft.load(sets_only(generation))
        bans, known_now, floor = fill(parts, store, sets, prepared, now)
        if changed:
            remember_live(sets, prepared.ports.ports)
        if changed and trial is not None:
            parts.nft.load(arm(inside.confirmed, generation, trial))
            _note_connections(parts, record, look(parts.nft, sets))
            return Up(record.number, True, bans, known_now, floor, prepared, trial)
        if changed:
            parts.nft.load(render(generation, stale=stale(parts.nft.living(), declared(generation))))
    systemd.follow(parts.paths, prepared.policy.refresh, prepared.policy.services)
    if changed:
        listed = listing(parts.nft, record.number)
        parts.generations.confirm(replace(record, listing=listed, nft=str(parts.nft.version())))
    elif settings:
        parts.generations.confirm(replace(record, contents=prepared.texts, files=prepared.files))
    elif (newest := parts.generations.newest()) is None or newest.number != record.number:
        parts.generations.confirm(record)  # the crash between kernel and disk is mended here
    return Up(record.number, changed, bans, known_now, floor, prepared, settings=settings, differences=differences)


def fill(parts: Parts, store: Store, sets: SetWriter, prepared: Prepared, now: float) -> tuple[int, int, int]:
    """Fill the state sets from the store; how many bans, known sources and floor addresses there are."""
    policy, counting = prepared.policy, prepared.policy.ssh.counting
    known.gather(store, parts.paths, max(policy.ssh.known or 0, policy.lockout.history), now)
    admins.refresh(store, policy, prepared.ports.ports, now)
    count = Bans(store, sets, counting, policy.bans.max).restore(now)
    floor = admins.sources(store, counting, now)
    admins.fill(sets, counting, floor)
    sources = known.sources(store, policy.ssh, now)
    known.fill(sets, policy.ssh, sources)
    return count, len(sources), len(floor)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh found: the generation in force, whether the rules changed, and why nothing was done, if so.

    `restored`: our table was gone, though nobody had taken it down, and what was confirmed is in force again.
    """

    number: int | None
    changed: bool
    skipped: str = ""
    restored: bool = False


def refresh(parts: Parts) -> Refreshed:
    """Follow what moved since the policy was confirmed: host names, sshd's ports, logins, administrators.

    It works on the policy that was confirmed, never on files that were edited since. During a trial nothing but the
    state sets changes, and they only gain.
    """
    parts.nft.version()
    with locked(parts.paths.lock, WAIT):
        if parts.paths.held_down.exists():
            return Refreshed(None, changed=False, skipped="it was taken down by hand")
        inside = look(parts.nft)
        if inside.living is None and (lost := parts.generations.newest()) is not None and lost.shared:
            # Another tool flushed every table: Debian's nftables.service does, whenever it starts, stops or reloads.
            load_record(parts, lost)
            return Refreshed(lost.number, changed=True, restored=True)
        if inside.confirmed is None and not inside.on_trial:
            return Refreshed(None, changed=False, skipped="it is not up")
        if inside.on_trial:
            return Refreshed(inside.candidate, changed=False, skipped="a trial is running")
        tidy(parts, inside)
        record = in_force(parts.generations, inside)
        if record is None or not record.contents:
            return Refreshed(inside.confirmed, changed=False, skipped="the generation in force is not on disk, or its file is damaged; "
                             "`quietgate up` writes a new one")  # fmt: skip
        prepared = prepare_from(parts.paths, record.written())
        if prepared.digest == record.digest:
            with parts.store() as store, SetWriter() as sets:
                store.put_names({n: tuple(map(str, a)) for n, a in prepared.resolved.items()})
                fill(parts, store, sets, prepared, time.time())
            return Refreshed(record.number, changed=False)
        report = _rehearsed(parts, prepared, remembered=False)
        if report is not None and (refused := refusal(report)) is not None:
            raise refused  # what is in force stays; the next refresh tries again
        done = put_in_force(parts, prepared, None)
        _record_up(parts, done, "refresh: host names or sshd's ports have changed")
    return Refreshed(done.number, done.changed)


def clear_away(parts: Parts) -> bool:
    """Clear away a candidate whose trial has ended. Idempotent."""
    with locked(parts.paths.lock, 5):
        return tidy(parts, look(parts.nft))


def tidy(parts: Parts, inside: Inside) -> bool:
    """The same. The caller holds the lock, and has looked."""
    if inside.candidate is None or inside.on_trial:
        return False
    _note_lapse(parts, inside)
    end(parts, inside)
    return True


def _note_lapse(parts: Parts, inside: Inside) -> None:
    if inside.candidate is not None and not inside.on_trial:
        then = f"generation {inside.confirmed} is in force" if inside.confirmed is not None else "nothing is in force"
        lapsed(parts, inside.candidate, then)


def down(parts: Parts) -> bool:
    """Take our table out of the kernel and nothing else. Bans stay in the store. False if it was out already."""
    parts.nft.version()
    number = None
    with locked(parts.paths.lock, WAIT):
        with contextlib.suppress(QuietgateError):
            number = look(parts.nft).deciding
        there = parts.nft.down()
        parts.generations.discard()
        try:
            if is_regular(parts.paths.held_down) is False:
                remove(parts.paths.held_down)
            parts.paths.held_down.touch()
        except OSError as error:
            raise StateError(f"{parts.paths.held_down}: {error.strerror}", "the firewall is down all the same") from None
        finally:
            if there and number is not None:
                note(parts, What.DOWN, number)
    return there


def _record(parts: Parts, prepared: Prepared, inside: Inside, now: float) -> Record:
    """The candidate's record, with a number that no generation had."""
    number = parts.generations.following(inside.highest())
    counting = prepared.policy.ssh.counting
    return Record(
        number, prepared.digest, prepared.text(number), prepared.ports.ports, prepared.files, now,
        shared=sets_only(Generation(number, prepared.ruleset)),
        contents=prepared.texts,
        counting=(counting.source4, counting.source6),
        by=own_login(),
    )  # fmt: skip


def _note_connections(parts: Parts, record: Record, inside: Inside) -> None:
    """Only a connection made after the arming proves anything. Where that cannot be written down, the trial ends at once."""
    cookies = tuple(f.cookie for f in sockets.flows(frozenset(record.ports)))
    try:
        parts.generations.propose(replace(record, cookies=cookies))
    except StateError:
        end(parts, inside)
        raise


def end(parts: Parts, inside: Inside) -> None:
    """End a trial: what was confirmed decides again, and the candidate is gone. The caller holds the lock."""
    if inside.confirmed is None:
        parts.nft.down()
    else:
        record = parts.generations.number(inside.confirmed)
        # Where its file is damaged nobody knows what is stale: the candidate's chains stay, without effect, until the next `up`.
        gone = stale(inside.living, declared_in(record.text)) if record is not None else Stale()
        parts.nft.load(settle(inside.confirmed, gone))
    parts.generations.discard()
