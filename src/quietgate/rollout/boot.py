"""`boot`: what was confirmed, before the network is up, whatever became of the rest of the host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from quietgate.bans.recover import mend
from quietgate.errors import Busy, Damaged, NftError, QuietgateError, StateError
from quietgate.generations.history import lapsed, note
from quietgate.generations.installation import Parts
from quietgate.generations.plan import prepare, prepare_from
from quietgate.host.files import policy_files, remove
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.rollout.load import load_record, load_rules
from quietgate.rollout.up import WAIT, put_in_force
from quietgate.values import What


@dataclass(frozen=True, slots=True)
class Booted:
    """What a boot loaded: a confirmed generation, or (`fresh`) the policy, since there was none. `trouble`: what could not be used;
    without a database the rules are in force without bans.
    """

    number: int
    bans: int
    fresh: bool
    trouble: str = ""


def boot(parts: Parts, first_policy: Callable[[Parts], None]) -> Booted:
    """Load what was confirmed, never a trial; without names to resolve or an sshd to ask. Raises QuietgateError.

    The rules come up whatever became of the rest: of damaged generations the newest whole one is loaded, a damaged database is
    mended, without one there are no bans. Where nothing was confirmed and no policy is written (the first boot of an image), `first_policy`
    writes one.
    """
    parts.nft.version()
    with contextlib.ExitStack() as held:
        troubles = []
        try:
            held.enter_context(locked(parts.paths.lock, WAIT))
        except Busy:
            raise
        except StateError as error:  # nobody else is at work so early
            troubles.append(f"without the lock: {error.message}")
        done = _whatever_the_store(parts, first_policy)
        troubles += [done.trouble] if done.trouble else []
        newer = [b for b in parts.generations.broken() if b.number is None or b.number > done.number or not b.aside]
        if newer:
            troubles.append(f"could not be used: {', '.join(b.name for b in newer)} in {parts.paths.generations}; see `quietgate doctor`")
        return replace(done, trouble="; ".join(troubles))


def _whatever_the_store(parts: Parts, first_policy: Callable[[Parts], None]) -> Booted:
    try:
        try:
            return _boot(parts, first_policy)
        except Damaged:
            trouble = mend(parts)
            return replace(_boot(parts, first_policy), trouble=trouble)
    except Exception as error:  # noqa: BLE001  also where the disk is full: the guard writes the database, whatever stands in it
        return _without_store(parts, error)


def _without_store(parts: Parts, error: Exception) -> Booted:
    """The rules alone. Raises that error where there are none on disk, and what nft says where it refuses them too."""
    record = parts.generations.newest()
    if record is None or not record.shared:
        raise error
    with SetWriter() as sets:
        load_rules(parts, record, sets)
    said = error.message if isinstance(error, QuietgateError) else f"{type(error).__name__}: {ascii(str(error))[:200]}"
    return Booted(record.number, 0, fresh=False, trouble=f"without bans, logins and administrators' addresses: {said}")


def _boot(parts: Parts, first_policy: Callable[[Parts], None]) -> Booted:
    with parts.store():
        pass  # another machine's state is dropped
    _note_lapse(parts)
    parts.generations.discard()
    parts.generations.set_broken_aside()
    with contextlib.suppress(OSError):
        remove(parts.paths.held_down)
    record = parts.generations.newest()
    if record is None or not record.shared:
        if not policy_files(parts.paths.policy, parts.paths.drop_ins):  # the first boot of an image
            first_policy(parts)
        done = put_in_force(parts, prepare(parts.paths), None)
        note(parts, What.UP, done.number, "made from the policy, since nothing was confirmed", by="boot")
        return Booted(done.number, done.bans, fresh=True)
    try:
        return Booted(record.number, load_record(parts, record), fresh=False)
    except NftError:
        # Another kernel or nft than the one it was made for: make it anew from the same files.
        done = put_in_force(parts, prepare_from(parts.paths, record.written()), None)
        note(parts, What.UP, done.number, f"made anew from the policy of generation {record.number}, which this nft refuses", by="boot")
        return Booted(done.number, done.bans, fresh=True)


def _note_lapse(parts: Parts) -> None:
    """A trial that ran when the host went down is over."""
    with contextlib.suppress(StateError):
        candidate, newest = parts.generations.candidate(), parts.generations.newest()
        if candidate is not None:
            lapsed(parts, candidate.number, "the host went down" + (f"; generation {newest.number} is in force" if newest else ""))
