"""Names in the kernel: the table, sets, counters, ids. Nothing else may spell one out.

State sets carry their definition in their name (`slot4_1_60s_32_65536`): a changed window makes new sets beside
the old ones, where changing a live set in place would apply a new timeout without a word.
"""

from __future__ import annotations

from quietgate import values
from quietgate.clock import format_duration
from quietgate.net import Counting
from quietgate.policy.terms import Rate
from quietgate.values import Scope

FAMILY, TABLE, LABEL = values.FAMILY, values.TABLE, values.LABEL
TRIAL = "trial"
COMMENT = "qg:"
TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}


def of_generation(number: int, name: str) -> str:
    """The kernel's name of a chain or policy set of generation `number` (from 1)."""
    return f"g{number}_{name}"


def slot(version: int, index: int, window: int, counting: Counting, size: int) -> str:
    """The slot set number `index` (from 1) of the exact window."""
    return f"slot{version}_{index}_{format_duration(window)}_{_source(version, counting)}_{size}"


def wide(limit: Rate, size: int) -> str:
    """The token buckets of IPv6 /48s."""
    return f"wide6_{limit.count}_{format_duration(limit.window)}_{size}"


def crowded() -> str:
    """The IPv6 /48s to which their own limit applies: the guard's word."""
    return "crowded6"


def said(version: int, counting: Counting) -> str:
    """Who was logged in the last minute."""
    return f"said{version}_{_source(version, counting)}"


def known(version: int, counting: Counting) -> str:
    """Sources with a successful login: a plain hash set, each for as long as it counts as known."""
    return f"known{version}_{_source(version, counting)}"


def known_rate(version: int, limit: Rate, counting: Counting) -> str:
    """The token buckets of known sources."""
    return f"knownrate{version}_{limit.count}_{format_duration(limit.window)}_{_source(version, counting)}"


def waiting(places: int, grace: int) -> str:
    """The strangers' connections that have not logged in yet, by conntrack's id: both IP versions share the places."""
    return f"waiting_{places}_{grace}"


def reopened() -> str:
    """Conntrack entries that bear our label and in which a new connection has begun since, by conntrack's id."""
    return "reopened"


def refused() -> str:
    """Connections that were refused after their handshake, by conntrack's id."""
    return "refused"


def held(index: int, places: int, grace: int) -> str:
    """The strangers' connections that hold token number `index` (from 1) of their network."""
    return f"held_{index}_{places}_{grace}"


def share(version: int, index: int, places: int, grace: int, networks: Counting) -> str:
    """The networks whose token number `index` is taken."""
    return f"share{version}_{index}_{places}_{grace}_{_source(version, networks)}"


def sitting(version: int, places: int, grace: int) -> str:
    """The strangers' connections that have not logged in yet, by their two ends."""
    return f"sitting{version}_{places}_{grace}"


def ends(version: int) -> str:
    """The type of a set of connections by their two ends."""
    return f"{TYPE[version]} . inet_service . {TYPE[version]} . inet_service"


def rejoined(places: int) -> str:
    """Connections that are asked about again and hold a place from before."""
    return f"rejoined_{places}"


def owned(index: int) -> str:
    """The connections of exempt sources that hold token number `index` of their source."""
    return f"owned_{index}"


def own(version: int, index: int, counting: Counting) -> str:
    """The exempt sources whose token number `index` is taken."""
    return f"own{version}_{index}_{_source(version, counting)}"


def floor(version: int, counting: Counting) -> str:
    """Addresses of live administrators, open on SSH whatever else is decided."""
    return f"floor{version}_{_source(version, counting)}"


def live(version: int) -> str:
    """The connections to sshd that were open at the last load, of which conntrack may know nothing."""
    return f"open{version}"


def ban(version: int, scope: Scope, counting: Counting) -> str:
    """Banned sources: a plain hash set."""
    return f"ban_{scope}{version}_{_source(version, counting)}"


def ban_net(version: int, scope: Scope) -> str:
    """Banned prefixes: an interval set, kept small, since each change costs its whole size."""
    return f"bannet_{scope}{version}"


def meter(rule: str, version: int, rate: Rate, counting: Counting) -> str:
    """The token buckets of a rule that counts per source."""
    return f"rate{version}_{rule}_{rate.count}_{format_duration(rate.window)}_{_source(version, counting)}".replace("-", "_")


def log_bucket(rate: Rate) -> str:
    """The token bucket that all log lines share."""
    return f"log_{rate.count}_{format_duration(rate.window)}"


def rule_counter(rule: str) -> str:
    """The counter of a rule of the policy."""
    return "rule_" + rule.replace("-", "_")


def _source(version: int, counting: Counting) -> int:
    return counting.source4 if version == 4 else counting.source6
