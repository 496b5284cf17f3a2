"""What is done when somebody else has flushed or changed our table: put back what was confirmed.

`down` is respected, and so is a trial: while one runs, the state sets alone are filled again. Whoever changed it is one of
ours if he held the lock: then what is found is what is on disk, and nothing is done.
"""

from __future__ import annotations

import time

from quietgate.app import admins, known
from quietgate.app.apply import load_record
from quietgate.app.bans import Bans
from quietgate.app.generations import Record
from quietgate.app.inside import drifted, in_force, look
from quietgate.app.parts import Parts
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.net import Counting
from quietgate.policy.load import File, load


def put_back(parts: Parts, *, elements: bool) -> str:
    """Look, and mend. Returns what was done, in words; "" if nothing was. `elements`: set elements were removed, too.

    Raises QuietgateError where it cannot be mended.
    """
    with locked(parts.paths.lock, 5):
        if parts.paths.held_down.exists():
            return ""
        inside = look(parts.nft)
        newest = parts.generations.newest()
        if not inside.on_trial:
            if newest is None or not newest.shared:
                return ""
            if inside.confirmed != newest.number or drifted(parts.nft, newest):
                count = load_record(parts, newest)
                return f"generation {newest.number} was put back, with {count} bans"
        record = in_force(parts.generations, inside)
        if not elements or record is None:
            return ""
        return f"its sets were filled again, with {_refill(parts, record)} bans"


def _refill(parts: Parts, record: Record) -> int:
    counting, now = Counting(*record.counting), time.time()
    loaded = load([File(name, text.encode()) for name, text in record.contents])
    with parts.store() as store, SetWriter() as sets:
        count = Bans(store, sets, counting, loaded.policy.bans.max).restore(now)
        admins.fill(sets, counting, admins.sources(store, counting, now), gain=True)
        known.fill(sets, loaded.policy.ssh, known.sources(store, loaded.policy.ssh, now), gain=True)
    return count
