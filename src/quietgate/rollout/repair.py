"""What is done when somebody else has flushed or changed our table: put back what was confirmed.

`down` is respected, and so is a trial: while one runs, the state sets alone are filled again. Whoever changed it is one of
ours if he held the lock: then what is found is what is on disk, and nothing is done. Flushed sets are noticed by two of their
elements, the oldest and the one that should stay longest; another single one that somebody took out is not, until the guard
starts again.
"""

from __future__ import annotations

import time

from quietgate.bans.writer import ENDING, Bans
from quietgate.firewall import names
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import Inside, drifted, in_force, look
from quietgate.generations.records import Record
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.net import BITS, Counting, Prefix
from quietgate.people import admins, known
from quietgate.policy.load import load
from quietgate.rollout.load import load_record

NOTHING = Inside(None, None, None, {})


def put_back(parts: Parts, *, only_look: bool = False) -> tuple[str, Inside]:
    """Look, and mend. Returns what was done (or, `only_look`, would be), in words ("" if all is as it should be), and what was found.

    Raises QuietgateError where it cannot be mended, Busy where one of ours is at work.
    """
    with locked(parts.paths.lock, 5):
        if parts.paths.held_down.exists():
            return "", NOTHING
        inside = look(parts.nft)
        newest = parts.generations.newest()
        if not inside.on_trial:
            if newest is None or not newest.shared:
                return "", inside
            if inside.confirmed is not None and inside.confirmed > newest.number and parts.generations.broken_above(newest.number):
                return "", inside  # what decides is not on disk any more, and better than what is: `up` writes it anew
            if inside.confirmed != newest.number or drifted(parts.nft, newest):
                if only_look:
                    return f"generation {newest.number} is not whole", inside
                count = load_record(parts, newest)
                return f"generation {newest.number} was put back, with {count} bans", inside
        record = in_force(parts.generations, inside)
        return (_refill(parts, record, only_look=only_look) if record is not None else ""), inside


def refill(parts: Parts) -> None:
    """Give the kernel's sets the bans of the store that are missing. Raises QuietgateError."""
    with locked(parts.paths.lock, 10):
        record = in_force(parts.generations, look(parts.nft))
        if record is not None:
            with parts.store() as store, SetWriter() as sets:
                Bans(store, sets, Counting(*record.counting), 0).restore(time.time(), gently=True)


def _refill(parts: Parts, record: Record, *, only_look: bool) -> str:
    """Where a set does not hold what it should hold longest, all of them are filled again."""
    counting, now = Counting(*record.counting), time.time()
    ssh = load(record.written()).policy.ssh
    with parts.store() as store, SetWriter() as sets:
        bans = Bans(store, sets, counting, 0)
        floor, logins = admins.sources(store, counting, now), known.sources(store, ssh, now)
        places = [(names.floor, floor), *([(names.known, logins)] if ssh.known is not None else [])]
        if not (bans.lost(now) or any(_lost(sets, {v: name(v, counting) for v in BITS}, wanted) for name, wanted in places)):
            return ""
        if only_look:
            return "its sets are not full"
        count = bans.restore(now)
        admins.fill(sets, counting, floor, gain=True)
        known.fill(sets, ssh, logins, gain=True)
    return f"its sets were filled again, with {count} bans"


def _lost(sets: SetWriter, into: dict[int, str], wanted: dict[Prefix, float]) -> bool:
    for version, name in into.items():
        there = [s for s, left in wanted.items() if s.version == version and left > ENDING]
        if not there:
            continue
        for one in (min(there, key=wanted.__getitem__), max(there, key=wanted.__getitem__)):
            if sets.get(name, one.value.to_bytes(BITS[version] // 8, "big")) is None:
                return True
    return False
