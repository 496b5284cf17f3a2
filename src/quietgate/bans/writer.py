"""The only writer of bans. Order: the kernel, then one commit (with the history's row); when either fails, neither keeps anything.

The store is the truth; the kernel's sets are rebuilt from it and never read back.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from quietgate.errors import KernelError
from quietgate.firewall import names
from quietgate.guard.never import MOST_BANNED, WIDE, Kind, Never, size, too_many
from quietgate.host.netlink import Item, SetWriter
from quietgate.net import BITS, Counting, Prefix, PrefixSet
from quietgate.state import history
from quietgate.state.database import Store
from quietgate.values import Ban, Deed, Guess, Scope, What

FOREVER = float("inf")
NO_ROOM = "bans.max is reached, and it would have ended soonest"
ENDING = 5.0  # seconds: a ban that ends so soon may have left the kernel already


@dataclass(frozen=True, slots=True)
class Request:
    """One prefix somebody wants banned. `asked` is how it was written."""

    prefix: Prefix
    asked: str


@dataclass(frozen=True, slots=True)
class Consent:
    """What somebody has said he means: `wide` prefixes (--yes). `listed`: the requests are a list's, which nobody has typed."""

    wide: bool = False
    listed: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of a request for bans."""

    bans: list[Ban] = field(default_factory=list)
    narrowed: list[tuple[Request, str, int]] = field(default_factory=list)  # why, into how many
    refused: list[tuple[Request, str]] = field(default_factory=list)
    replaced: int = 0
    evicted: list[Ban] = field(default_factory=list)
    in_kernel: bool = True


class Bans:
    """Bans of this host. The caller holds the lock."""

    def __init__(
        self, store: Store, sets: SetWriter, counting: Counting, limit: int, tell: Callable[[Sequence[Deed]], object] = lambda _: None
    ) -> None:
        """`tell` is called with what was done, after the commit: to tell the log."""
        self._tell = tell
        self._store = store
        self._sets = sets
        self._counting = counting
        self._max = limit

    def ban(
        self,
        requests: Sequence[Request],
        never: Never,
        scope: Scope,
        until: float | None,
        now: float,
        reason: str,
        by: str,
        consent: Consent = Consent(),
    ) -> Outcome:  # fmt: skip  immutable
        """Ban what may be banned. A prefix that covers somebody who is never banned is narrowed around them."""
        outcome = Outcome()
        wanted: dict[Prefix, Ban] = {}
        for request in self._bounded(requests, consent, now, outcome):
            for prefix in self._allowed(request, never, outcome):
                wanted[prefix] = Ban(prefix, scope, now, until, reason, by)
        outcome.bans = list(wanted.values())
        if outcome.bans:
            before = self._store.count(now)
            outcome.in_kernel = self._write(outcome, now)
            outcome.replaced = before + len(outcome.bans) - len(outcome.evicted) - self._store.count(now)
        return outcome

    def _bounded(self, requests: Sequence[Request], consent: Consent, now: float, outcome: Outcome) -> list[Request]:
        """Those that do not ban too much of the Internet: each by itself, and all together with what is banned."""
        kept = []
        for request in requests:
            prefix = request.prefix
            if prefix.length >= WIDE[prefix.version] or consent.wide:
                kept.append(request)
            else:
                outcome.refused.append((request, f"it has {addresses(size([prefix])[prefix.version])}: if you mean all of them, say --yes"))
        wide = [r.prefix for r in kept if not self._hashed(r.prefix)]
        over = too_many(self._held(now), wide) if wide and (consent.listed or not consent.wide) else {}
        if over:
            said = "; ".join(f"bans would hold {addresses(count)} of IPv{version}, a list may make it {addresses(MOST_BANNED[version])}"
                             for version, count in over.items())  # fmt: skip
            how = "ban by name what you mean, with --yes; or close the ports: default and ssh.from in the policy"
            outcome.refused += [(r, f"{said}; {how}") for r in kept if r.prefix.version in over and not self._hashed(r.prefix)]
            kept = [r for r in kept if r.prefix.version not in over or self._hashed(r.prefix)]
        return kept

    def _held(self, now: float) -> dict[int, int]:
        """How many addresses of each IP version are banned, by prefixes that are no single source."""
        found: dict[int, int] = {}
        for version in BITS:
            length = self._counting.source4 if version == 4 else self._counting.source6
            wide = (b.prefix for scope in Scope for b in self._store.of_other_length(version, scope, length, now))
            found[version] = size(wide)[version]
        return found

    def _allowed(self, request: Request, never: Never, outcome: Outcome) -> tuple[Prefix, ...]:
        # One source is nobody's network, nor is one address; and a source is not cut into pieces to spare a neighbour in it.
        source = self._counting.is_source(request.prefix)
        reason = never.why(request.prefix, source=source or request.prefix.single)
        if reason is None:
            return (request.prefix,)
        why = reason.why if reason.kind is Kind.PROTECTED else f"{reason.why}; spared (--force bans it all the same)"
        rest = () if source else never.rest(request.prefix)
        if not rest:
            outcome.refused.append((request, why))
            return ()
        outcome.narrowed.append((request, why, len(rest)))
        return rest

    def _write(self, outcome: Outcome, now: float) -> bool:
        in_kernel, done = True, list[Deed]()

        def kernel() -> None:
            nonlocal in_kernel, done
            done = history.add(self._store.db, [made(b, now) for b in outcome.bans])
            over = self._store.count(now) - self._max
            if over > 0:
                fresh = {(b.prefix, b.scope) for b in outcome.bans}
                soonest = self._store.soonest(over + len(fresh), now)
                outcome.evicted = [b for b in soonest if (b.prefix, b.scope) not in fresh][:over]
            in_kernel = self._to_kernel(outcome.bans, outcome.evicted, now)

        self._store.put_bans(outcome.bans, kernel)
        self._tell(done)
        if outcome.evicted:
            self._delete(outcome.evicted, lambda: None, now, "quietgate", NO_ROOM)
            self._intervals({(b.prefix.version, b.scope) for b in outcome.evicted if not self._hashed(b.prefix)}, now)
        return in_kernel

    def unban(self, bans: Sequence[Ban], now: float, by: str, reason: str = "") -> None:
        """Lift bans of the store, also those that have ended there."""
        self._delete(bans, lambda: self._to_kernel([], bans, now), now, by, reason)

    def inside(self, prefix: Prefix, scopes: Sequence[Scope], now: float) -> list[Ban]:
        """The bans in force of this prefix and of everything in it."""
        found = self._store.within(prefix, now)
        return [b for b in found if b.scope in scopes]

    def open_in(self, prefix: Prefix, scopes: Sequence[Scope], now: float, by: str) -> list[Ban]:
        """Make a hole in every wider ban that covers this prefix: what is left of it stays banned, as it was. Returns those that were
        wider.
        """
        wider = [b for b in self._store.covering(prefix, now) if b.scope in scopes and b.prefix != prefix]
        for ban in wider:
            rest = PrefixSet([prefix]).without(ban.prefix)
            pieces = [Ban(p, ban.scope, ban.since, ban.until, ban.reason, ban.by) for p in rest]

            def kernel(ban: Ban = ban, pieces: list[Ban] = pieces) -> None:
                self._to_kernel(pieces, [ban], now)

            # One after the other, the pieces first: nothing that stays banned is open in between.
            self._store.put_bans(pieces, lambda pieces=pieces: self._to_kernel(pieces, [], now))  # type: ignore[misc]
            self._delete([ban], kernel, now, by, f"{prefix} was let out of it; the rest stays banned")
        return wider

    def _delete(self, bans: Sequence[Ban], kernel: Callable[[], object], now: float, by: str, reason: str) -> None:
        lifted = [Deed(now, What.UNBAN, str(b.prefix), b.scope.value, None, by, reason) for b in bans if b.left(now) != 0]
        done: list[Deed] = []

        def before_commit() -> None:
            done.extend(history.add(self._store.db, lifted))
            kernel()

        self._store.delete_bans([(b.prefix, b.scope) for b in bans], before_commit)
        self._tell(done)

    def add(self, bans: Sequence[Ban], decided: Sequence[float], attempts: Sequence[Guess], offenders: Sequence[tuple[Prefix, int, float]],
            about: Sequence[tuple[str, str]], now: float) -> tuple[bool, list[Deed]]:  # fmt: skip
        """What the guard found: bans of sources, and all that is written with them, in one commit. The kernel comes first;
        it is told again, since whoever held the lock meanwhile may have refilled the sets without them.

        `decided`: the wall second at which each ban was decided. Returns False if our table is not there; and what the history has of
        it. The caller has seen to who must be spared.
        """
        in_kernel, done = True, list[Deed]()

        def kernel() -> None:
            nonlocal in_kernel, done
            done = history.add(self._store.db, [made(b, at) for b, at in zip(bans, decided, strict=True)])
            in_kernel = self._to_kernel(bans, [], now, again=True)

        self._store.put_guard(bans, attempts, offenders, about, kernel)
        self._tell(done)
        return in_kernel, done

    def trim(self, now: float) -> int:
        """Where there are more than `bans.max`, the soonest to end leave. Returns how many."""
        over = self._store.count(now) - self._max
        if over > 0:
            self.unban(self._store.soonest(over, now), now, "quietgate", NO_ROOM)
        return max(0, over)

    def at_once(self, bans: Sequence[Ban], now: float) -> bool:
        """The kernel only, for when the lock is somebody else's: `add` must follow. False if our table is not there."""
        return self._to_kernel([b for b in bans if self._hashed(b.prefix)], [], now)

    def restore(self, now: float, *, gently: bool = False) -> int:
        """Give the kernel's sets exactly the bans of the store. Idempotent; returns how many.

        `gently`: only what is missing is added, a little at a time, so that other bans need not wait.
        """
        for scope in Scope:
            for version in (4, 6):
                items: list[Item] = []
                lengths = {BITS[version], self._counting.source4 if version == 4 else self._counting.source6}
                for length in lengths:
                    for first, until in self._store.hashed(version, scope, length, now):
                        if len(lengths) == 1 or self._hashed(Prefix(version, int.from_bytes(first, "big"), length)):
                            items.append((first, None if until is None else max(1, int((until - now) * 1000))))
                (self._sets.top_up if gently else self._sets.replace)(names.ban(version, scope, self._counting), items)
        self._intervals({(v, s) for v in (4, 6) for s in Scope}, now)
        return self._store.count(now)

    def lost(self, now: float) -> bool:
        """True if a set of the kernel's does not hold the ban that it should hold longest, or the one that was made first (later
        ones may have come after the loss): somebody has flushed it. The caller holds the lock.
        """
        return not all(self.holds(ban) for ban in self._store.witnesses(now + ENDING))

    def holds(self, ban: Ban) -> bool:
        """True if the kernel's set has this ban. Raises KernelError, as where our table is not there."""
        name = self._hash_set(ban) if self._hashed(ban.prefix) else names.ban_net(ban.prefix.version, ban.scope)
        return self._sets.get(name, _key(ban.prefix)) is not None

    def _to_kernel(self, new: Sequence[Ban], gone: Sequence[Ban], now: float, *, again: bool = False) -> bool:
        """True if the kernel has the change; False if our table is not there, so that the store alone keeps it. `again`: it
        should have it already.
        """
        added: dict[str, list[Item]] = defaultdict(list)
        removed: dict[str, list[bytes]] = defaultdict(list)
        for ban in new:
            if self._hashed(ban.prefix):
                added[self._hash_set(ban)].append((_key(ban.prefix), _timeout(ban, now)))
        for ban in gone:
            if self._hashed(ban.prefix):
                removed[self._hash_set(ban)].append(_key(ban.prefix))
        try:
            for name, keys in removed.items():
                self._sets.delete(name, keys)
            for name, items in added.items():
                (self._sets.renew if again else self._sets.add)(name, items)
            self._intervals({(b.prefix.version, b.scope) for b in (*new, *gone) if not self._hashed(b.prefix)}, now)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    def _intervals(self, touched: Iterable[tuple[int, Scope]], now: float) -> None:
        """Rebuild the interval sets that changed: overlapping prefixes cannot be edited one by one."""
        for version, scope in touched:
            length = self._counting.source4 if version == 4 else self._counting.source6
            bans = [b for b in self._store.of_other_length(version, scope, length, now) if not self._hashed(b.prefix)]
            rows = ((low, high, None if until == FOREVER else max(1, int((until - now) * 1000))) for low, high, until in flatten(bans))
            self._sets.replace_intervals(names.ban_net(version, scope), version, rows)

    def _hashed(self, prefix: Prefix) -> bool:
        return self._counting.is_source(prefix)

    def _hash_set(self, ban: Ban) -> str:
        return names.ban(ban.prefix.version, ban.scope, self._counting)


def addresses(count: int) -> str:
    """`65,536 addresses`; of IPv6, where such numbers say nothing, as a power of two."""
    return f"{count:,} address{'' if count == 1 else 'es'}" if count < 1 << 48 else f"2^{count.bit_length() - 1} addresses or more"


def flatten(bans: Iterable[Ban]) -> list[tuple[int, int, float]]:
    """Disjoint (first, last, until) of bans of one IP version; where prefixes nest, the later end counts.

    Prefixes either nest or are disjoint, so a stack of those that are open is enough.
    """
    out: list[tuple[int, int, float]] = []
    open_: list[tuple[int, float]] = []
    cursor = 0

    def emit(high: int, until: float) -> None:
        nonlocal cursor
        if cursor <= high:
            if out and out[-1][1] == cursor - 1 and out[-1][2] == until:
                out[-1] = (out[-1][0], high, until)
            else:
                out.append((cursor, high, until))
            cursor = high + 1

    for ban in sorted(bans, key=lambda b: (b.prefix.value, b.prefix.length)):
        while open_ and open_[-1][0] < ban.prefix.value:
            emit(*open_.pop())
        if open_:
            emit(ban.prefix.value - 1, open_[-1][1])
        cursor = ban.prefix.value
        until = FOREVER if ban.until is None else ban.until
        open_.append((ban.prefix.last, max(until, open_[-1][1] if open_ else until)))
    while open_:
        emit(*open_.pop())
    return out


def source_prefix(prefix: Prefix, counting: Counting, *, exact: bool) -> Prefix:
    """What a ban of this target shuts: a bare address stands for its source, a written prefix for itself."""
    return prefix if exact or not prefix.single else counting.source_of(prefix)


def made(ban: Ban, at: float) -> Deed:
    """A ban that was decided at wall second `at`, for the history."""
    return Deed(at, What.BAN, str(ban.prefix), ban.scope.value, ban.until, ban.by, ban.reason)


def _key(prefix: Prefix) -> bytes:
    return prefix.value.to_bytes(BITS[prefix.version] // 8, "big")


def _timeout(ban: Ban, now: float) -> int | None:
    left = ban.left(now)
    return None if left is None else max(1, int(left * 1000))
