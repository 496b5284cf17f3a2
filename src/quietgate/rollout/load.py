"""What was confirmed is loaded as it was: at a boot, after somebody flushed our table."""

from __future__ import annotations

import contextlib
import time

from quietgate.bans.writer import Bans
from quietgate.errors import KernelError
from quietgate.firewall import names
from quietgate.firewall.limiter import LIVE_SIZE
from quietgate.firewall.render import declared_in, settle
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import stale
from quietgate.generations.records import Record
from quietgate.host import sockets
from quietgate.host.netlink import Item, SetWriter, ends
from quietgate.host.paths import Paths
from quietgate.host.systemd import note
from quietgate.net import Counting
from quietgate.people import admins, known
from quietgate.policy.load import load
from quietgate.state.database import Store

BOOT_MAX = 4_000_000  # bans that a boot restores, whatever the policy says: it has not read one


def load_record(parts: Parts, record: Record) -> int:
    """Load a confirmed generation as it was, with the bans, floor and known sources of now; how many bans. The caller holds the lock."""
    with parts.store() as store, SetWriter() as sets:
        return load_rules(parts, record, sets, store)


def load_rules(parts: Parts, record: Record, sets: SetWriter, store: Store | None = None) -> int:
    """The sets first, then the rules. Without a store the sets stay as they are."""
    parts.nft.load(record.shared)
    count = 0 if store is None else _fill_again(parts.paths, record, sets, store)
    remember_live(sets, record.ports)
    living = parts.nft.living()
    wanted = declared_in(record.text)
    parts.nft.load(record.text)
    gone = stale(living, wanted)
    if any((gone.chains, gone.sets, gone.counters, gone.limits)):
        parts.nft.load(settle(record.number, gone))
    return count


def _fill_again(paths: Paths, record: Record, sets: SetWriter, store: Store) -> int:
    counting, now = Counting(*record.counting), time.time()
    count = Bans(store, sets, counting, BOOT_MAX).restore(now)
    admins.fill(sets, counting, admins.sources(store, counting, now))
    loaded = load(record.written())
    if not loaded.problems:
        note(paths, loaded.policy.services)
        known.fill(sets, loaded.policy.ssh, known.sources(store, loaded.policy.ssh, now))
    return count


def remember_live(sets: SetWriter, ports: tuple[int, ...]) -> None:
    """Before the first rules conntrack tracked nothing: the sessions that are open now would look unknown."""
    open_now = sockets.flows(frozenset(ports))
    for version in (4, 6):
        items: list[Item] = [(ends(flow), None) for flow in open_now if flow.peer.version == version]
        with contextlib.suppress(KernelError):  # a session more than the set holds is still known by its socket
            sets.replace(names.live(version), items[:LIVE_SIZE])
