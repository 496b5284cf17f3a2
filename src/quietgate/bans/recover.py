"""A damaged database: what can be read is kept, and the bans that only the kernel still knows are written down again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from quietgate.firewall import names
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import in_force, look
from quietgate.net import Counting, Prefix, parse_address, span
from quietgate.state.salvage import salvage
from quietgate.values import Ban, Scope

REASON = "from the kernel: the database was damaged"


def mend(parts: Parts) -> str:
    """Mend it; what was done, in words. The caller holds the lock. Raises QuietgateError where that cannot be done.

    Nothing else reads the kernel's sets back: 100,000 bans take about a second, a million nearly a minute.
    """
    now = time.time()
    held = _held(parts, now)  # first: where the kernel cannot be asked, it is tried again, and nothing was changed
    rows, kept = salvage(parts.paths.store)
    with parts.store() as store:
        missing = [b for b in held if not any(w.scope is b.scope for w in store.covering(b.prefix, now))]
        store.put_bans(missing, lambda: None)
    return f"the database was damaged: {rows} rows of it could be read, {len(missing)} bans came from the kernel; the damaged file is kept as {kept}"


def _held(parts: Parts, now: float) -> list[Ban]:
    """What the kernel's sets of bans hold."""
    record = in_force(parts.generations, look(parts.nft))
    counting = Counting() if record is None else Counting(*record.counting)
    return [
        Ban(prefix, scope, now, None if left is None else now + left, REASON, "kernel")
        for scope in Scope
        for version in (4, 6)
        for name, hashed in ((names.ban(version, scope, counting), True), (names.ban_net(version, scope), False))
        for value, left in parts.nft.held(name)
        for prefix in prefixes_of(value, counting if hashed else None)
    ]


def prefixes_of(value: Any, counting: Counting | None) -> Iterable[Prefix]:
    """An element as nft's JSON has it; with `counting`, of a set that holds the first addresses of sources."""
    if isinstance(value, str):
        address = parse_address(value)
        return (counting.source_of(address) if counting is not None else address,)
    return _wide(value)


def _wide(value: Any) -> Iterator[Prefix]:
    if "prefix" in value:
        first = parse_address(value["prefix"]["addr"])
        yield Prefix.of(first.version, first.value, int(value["prefix"]["len"]))
    elif "range" in value:
        first, last = map(parse_address, value["range"])
        yield from span(first.version, first.value, last.value)
