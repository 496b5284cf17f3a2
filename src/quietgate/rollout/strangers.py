"""Who stands for the strangers of a rehearsal: addresses that may reach SSH, and that nobody here has a name for."""

from __future__ import annotations

from collections.abc import Iterator

from quietgate.firewall.access import everyone_else
from quietgate.generations.plan import Prepared
from quietgate.net import BITS, LINK_LOCAL6, Prefix, PrefixSet
from quietgate.policy.model import prefixes_of
from quietgate.state.database import Store


def strangers(prepared: Prepared, store: Store, now: float) -> Iterator[Prefix]:
    """Addresses that nobody here has a name for, one of each IP version; within ssh.from where not everyone may reach SSH."""
    policy = prepared.policy
    lists = (policy.ssh.trusted, policy.firewall.allow, policy.firewall.deny)
    named = [p for addresses in lists for p in prefixes_of(addresses, prepared.resolved)]
    if policy.ssh.sources.anywhere:
        yield from (who.address for who in everyone_else(named) if not store.covering(who.address, now))
        return
    taken = PrefixSet(named)
    within = (host_of(p) for p in prefixes_of(policy.ssh.sources, prepared.resolved))
    free = [a for a in within if a not in taken and not LINK_LOCAL6.covers(a) and not store.covering(a, now)]
    yield from (a for version in (4, 6) for a in [x for x in free if x.version == version][:1])


def host_of(prefix: Prefix) -> Prefix:
    """One host of a prefix: the first that is no network address."""
    return prefix if prefix.single else Prefix(prefix.version, prefix.value + 1, BITS[prefix.version])
