"""Which administrators get in only because their address is kept open, and will be shut out when that ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quietgate.generations.plan import Prepared
from quietgate.host.accounts import user_name
from quietgate.net import Prefix
from quietgate.rollout.rehearsal import Probe, State, decide_for, named
from quietgate.state.database import Store

MOST = 200  # addresses of the floor that are asked about


@dataclass(frozen=True, slots=True)
class Leaving:
    """An address that is on the floor alone: whose session put it there, until when (wall seconds) it stays, and the rule that shuts it
    out afterwards.
    """

    address: Prefix
    user: str
    until: float
    rule: str


def leaving(prepared: Prepared, store: Store, now: float) -> Iterator[Leaving]:
    """Yield each of them under this policy; asks the rules, not the kernel."""
    port = prepared.ports.ports[0]
    for address, uid, until in list(store.floor(now))[:MOST]:
        state = State.of(prepared, store, [Probe(address, port, "")], now).without_floor()
        decision = decide_for(prepared.ruleset, address, port, state.memory())
        if decision.verdict != "accept":
            yield Leaving(address, user_name(uid), until, named(decision.rule.id, prepared.ruleset))
