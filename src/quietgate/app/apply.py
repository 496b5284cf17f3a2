"""`up` and `down`: a policy becomes the kernel's ruleset, and goes again.

`up` in order: prepare; write the candidate to disk; make the state sets and fill them (bans, live sessions); then one
transaction that switches the rules. A kill at any moment leaves the old rules or the new ones, whole.
"""

from __future__ import annotations

import contextlib
import re
import struct
import time
from dataclasses import dataclass, replace

from quietgate.app.bans import Bans
from quietgate.app.generations import Generations, Record
from quietgate.app.prepare import Prepared, prepare
from quietgate.errors import KernelError, StateError
from quietgate.firewall import names
from quietgate.firewall.limiter import LIVE_SIZE
from quietgate.firewall.render import Generation, Stale, declared, render, sets_only
from quietgate.host import sockets
from quietgate.host.lock import locked
from quietgate.host.netlink import Item, SetWriter
from quietgate.host.nft import Living, Nft
from quietgate.host.paths import Paths
from quietgate.host.store import Store
from quietgate.net import BITS

_ENTRY = re.compile(r"g(\d+)_in\Z")


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `changed` is False when the same ruleset was already in force."""

    number: int
    changed: bool
    bans: int
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class Parts:
    """What a command works with."""

    paths: Paths
    nft: Nft
    generations: Generations

    @classmethod
    def at(cls, paths: Paths) -> Parts:
        """The parts below one root."""
        return cls(paths, Nft(), Generations(paths.generations))


def up(parts: Parts) -> Up:
    """Put the installed policy in force at once. Idempotent. Raises QuietgateError and has then changed nothing."""
    parts.nft.version()
    with locked(parts.paths.lock):
        prepared = prepare(parts.paths)
        living = parts.nft.living()
        with Store(parts.paths.store) as store, SetWriter() as sets:
            store.put_names({n: tuple(map(str, a)) for n, a in prepared.resolved.items()})
            now = time.time()
            store.forget_ended(now)
            same = in_force(parts, living)
            changed = same is None or same.digest != prepared.digest or drifted(parts, same) is not False
            if changed:
                number = _next_number(parts, living)
                record = Record(number, prepared.digest, prepared.text(number), prepared.ports.ports, prepared.files, now)
                parts.generations.propose(record)
            else:
                assert same is not None
                number, record = same.number, same
            generation = Generation(number, prepared.ruleset)
            if changed:
                parts.nft.load(sets_only(generation))
            count = Bans(store, sets, prepared.policy.ssh.counting, prepared.policy.bans.max).restore(now)
            _remember_live(sets, prepared)
            if changed:
                stale = _stale(parts.nft.living(), generation)
                parts.nft.load(render(generation, stale=stale))
        if changed:
            listing = _listing(parts, number)
            parts.generations.confirm(replace(record, listing=listing, nft=str(parts.nft.version())))
        elif (newest := parts.generations.newest()) is None or newest.number != number:
            parts.generations.confirm(record)  # the crash between kernel and disk is mended here
        with contextlib.suppress(OSError):
            parts.paths.held_down.unlink(missing_ok=True)
    return Up(number, changed, count, prepared)


def down(parts: Parts) -> bool:
    """Take our table out of the kernel and nothing else. Bans stay in the store. False if it was out already."""
    parts.nft.version()
    with locked(parts.paths.lock):
        there = parts.nft.down()
        try:
            parts.paths.held_down.touch()
        except OSError as error:
            raise StateError(f"{parts.paths.held_down}: {error.strerror}", "the firewall is down all the same") from None
    return there


def kernel_number(living: Living | None) -> int | None:
    """The number of the generation in the kernel; None if none is."""
    found = [int(m[1]) for name in (living.chains if living else ()) if (m := _ENTRY.match(name))]
    hooks = living is not None and "input" in living.chains
    return max(found) if found and hooks else None


def in_force(parts: Parts, living: Living | None) -> Record | None:
    """The record of the generation in the kernel; None if there is none, or it is not ours on disk."""
    number = kernel_number(living)
    return None if number is None else parts.generations.number(number)


def drifted(parts: Parts, record: Record) -> bool | None:
    """True if the kernel's table is not what was loaded; None if it cannot be told (never listed, or another nft)."""
    if not record.listing or record.nft != str(parts.nft.version()):
        return None
    return _listing(parts, record.number) != record.listing


def _listing(parts: Parts, number: int) -> str:
    return (parts.nft.structure() or "") + parts.nft.policy_elements(number)


def _next_number(parts: Parts, living: Living | None) -> int:
    """One more than any number in the kernel or on disk."""
    used = [int(m[1]) for name in (living.chains if living else ()) if (m := re.match(r"g(\d+)_", name))]
    newest = parts.generations.newest()
    return max([0, *used, newest.number if newest else 0]) + 1


def _stale(living: Living | None, generation: Generation) -> Stale:
    if living is None:
        return Stale()
    wanted = declared(generation)
    return Stale(
        chains=tuple(sorted(living.chains - set(wanted.chains))),
        sets=tuple(sorted(living.sets - set(wanted.sets))),
        counters=tuple(sorted(living.counters - set(wanted.counters))),
        limits=tuple(sorted(living.limits - set(wanted.limits))),
    )


def _remember_live(sets: SetWriter, prepared: Prepared) -> None:
    """Before the first rules conntrack tracked nothing: the sessions that are open now would look unknown."""
    open_now = sockets.flows(frozenset(prepared.ports.ports))
    for version in (4, 6):
        items: list[Item] = []
        for flow in open_now:
            if flow.peer.version == version:
                size = BITS[version] // 8
                port = struct.Struct(">Hxx")  # a port fills 32 bits in a concatenated key
                key = flow.peer.value.to_bytes(size, "big") + port.pack(flow.peer_port)
                items.append((key + flow.local.value.to_bytes(size, "big") + port.pack(flow.local_port), None))
        with contextlib.suppress(KernelError):  # a session more than the set holds is still known by its socket
            sets.replace(names.live(version), items[:LIVE_SIZE])
