"""The rule model: the small part of nftables that quietgate uses, as closed, frozen values.

One model, three readers: `render` prints it as nft text, `evaluate` runs it on a packet, `compare` tells two of
them apart. A rule is a row of parts, left to right, as the kernel runs them: the first part that does not match
ends the rule; statements before it have already happened.

Names of chains and policy sets are logical here ("in", "deny4"); `render` adds the generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from quietgate.errors import Origin
from quietgate.net import Prefix
from quietgate.policy.terms import Ports


class Hook(StrEnum):
    """Where the kernel hands us a packet, with our chain's priority there."""

    PREROUTING = "prerouting"
    INPUT = "input"
    OUTPUT = "output"
    FORWARD = "forward"


# Before conntrack (-200): a banned packet costs no state. The other three at the usual place of filters.
PRIORITY = {Hook.PREROUTING: -300, Hook.INPUT: 0, Hook.OUTPUT: 0, Hook.FORWARD: 0}
# The chain of a generation that each hook enters.
ENTRY = {Hook.PREROUTING: "pre", Hook.INPUT: "in", Hook.OUTPUT: "out", Hook.FORWARD: "fwd"}


@dataclass(frozen=True, slots=True)
class Key:
    """An address of the packet, masked to `length` bits: what a set is asked for."""

    version: int
    side: str  # "saddr" | "daddr"
    length: int


@dataclass(frozen=True, slots=True)
class Version:
    """Matches IPv4 or IPv6."""

    version: int


@dataclass(frozen=True, slots=True)
class Interface:
    """Matches the name of the interface in ("iifname") or out ("oifname"); a final * matches any ending. `absent`: every other one."""

    way: str
    name: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Protocol:
    """Matches the transport protocol (IPv6 extension headers passed); `absent`: every other one."""

    numbers: tuple[int, ...]
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """Matches a port. `side` is "dport" or "sport"; `protocol` 6 or 17 implies it, None reads any transport.

    `absent`: every other port, of that protocol still.
    """

    side: str
    ranges: tuple[Ports, ...]
    protocol: int | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """Matches TCP connections that came to one of these ports of this host, and that NAT sent on into a container or guest."""

    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """Matches an address against a few prefixes written in the rule."""

    version: int
    side: str  # "saddr" | "daddr"
    prefixes: tuple[Prefix, ...]
    absent: bool = False


@dataclass(frozen=True, slots=True)
class InSet:
    """Matches when the key is in a set (or is not, with `absent`). `shared`: state set, else of the generation."""

    key: Key
    name: str
    shared: bool
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Tuple4:
    """Matches when source, source port, destination and destination port (TCP) are in a shared set."""

    version: int
    name: str


@dataclass(frozen=True, slots=True)
class Flags:
    """Matches TCP flags: those of `mask` must be exactly `value` (`absent`: must not). No `value` is none of them."""

    mask: tuple[str, ...]
    value: tuple[str, ...]
    absent: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Matches conntrack's state: new, established, related, invalid, untracked."""

    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assured:
    """Matches when conntrack has seen a whole handshake."""


@dataclass(frozen=True, slots=True)
class Original:
    """Matches packets in the direction of the connection's first packet."""


@dataclass(frozen=True, slots=True)
class Expires:
    """Matches when the conntrack entry would live longer (or, `longer` False, no longer) than `seconds`.

    Never for the packet that makes the entry: until it is confirmed the kernel keeps a span there and no moment, so what it reads as
    depends on the host's uptime. It read as more than 125 s for the first five minutes after boot, and for 99 of each 199 days
    (25 of 50 where HZ is 1000): nf_ct_expires() subtracts jiffies, which begin at -300 s and have 32 bits.
    """

    seconds: int
    longer: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """Matches a connection whose conntrack entry bears our label (`Settle`)."""


@dataclass(frozen=True, slots=True)
class Icmp:
    """Matches ICMP (version 4) or ICMPv6 types."""

    version: int
    types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Socket:
    """Matches when the packet belongs to a full TCP socket; wildcard True: to a listener bound to no address."""

    wildcard: bool


@dataclass(frozen=True, slots=True)
class ToLocal:
    """Matches packets to an address of this host."""


@dataclass(frozen=True, slots=True)
class Within:
    """A token bucket: matches while there are tokens (or, `over`, when there are none)."""

    count: int
    window: int
    burst: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket with a name, shared by several rules: matches while there are tokens."""

    name: str


@dataclass(frozen=True, slots=True)
class Take:
    """Put the key into a set. Matches when it was put there (or `update`: also when it was there already).

    `once`: only the first packet of an element matches, so two packets at the same instant cannot both have it.
    `over`: a token bucket of its own for each element; matches when it is empty.
    A full set does not match.
    """

    key: Key
    name: str
    once: bool = False
    update: bool = False
    over: Within | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """Matches a connection that holds a place in a set of places (keyed by conntrack's id); `absent`: one that does not."""

    name: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Take a place for this connection, or begin its time anew: matches when it has one now; a full set does not match."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Give this connection's place back, if it has one; always goes on."""

    name: str


@dataclass(frozen=True, slots=True)
class Free:
    """Take the key out of a shared set, if it is there; always goes on where the packet has such an address."""

    key: Key
    name: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Rewrite the TCP flags into FIN and ACK: the reader sees the end of the stream."""


@dataclass(frozen=True, slots=True)
class Count:
    """Add one to a named counter."""

    name: str


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line: to an NFLOG group, or to the kernel's log where `group` is None."""

    prefix: str
    group: int | None


@dataclass(frozen=True, slots=True)
class Settle:
    """Put our label on the packet's conntrack entry: its connection was decided about, and goes on unasked.

    A label, since other tools overwrite whole marks (`ct mark set 1`) and nft cannot clear a label. An entry that is older than the
    first rule that sets labels takes none (nf_ct_labels_ext_add), and neither does a packet without an entry.
    """


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the packet's two ends (source, source port, destination, destination port) into a set; always goes on."""

    version: int
    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Take the packet's two ends out of a set (`back`: of a reply, as its other direction has them); always goes on."""

    version: int
    name: str
    back: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    """Let it pass; the hook's later chains of other tables still see it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Throw it away."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Throw it away and answer: ICMP port unreachable, or a TCP reset."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on in another chain and do not come back."""

    chain: str


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on in another chain; come back when it ends without a verdict."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Leave a chain that was jumped to."""


Match: TypeAlias = (
    Version | Interface | Protocol | Port | Published | Address | InSet | Tuple4 | Flags | State | Assured | Original | Expires
    | Settled | Icmp | Socket | ToLocal | Within | Bucket | Take | Waits | Place
)  # fmt: skip
Statement: TypeAlias = Count | Log | Settle | Leave | Remember | Forget | Free | Finish
Verdict: TypeAlias = Accept | Drop | Reject | Goto | Jump | Return
Part: TypeAlias = Match | Statement | Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `id` stands in the kernel as `comment "qg:<id>"`; `origin` is the policy line it comes from."""

    id: str
    parts: tuple[Part, ...]
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order, under a logical name."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class StateSet:
    """A set that outlives generations. Its definition is part of its name, so it is never redefined.

    `gc` is how often, in milliseconds, the kernel makes room for what has ended (None: its own choice, a second).
    """

    name: str
    type: str
    flags: tuple[str, ...]
    size: int | None = None
    timeout: int | None = None
    gc: int | None = None


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Prefixes of one generation. Overlaps are merged."""

    name: str
    version: int
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What a policy compiles to: one generation, and the shared things it uses."""

    chains: tuple[Chain, ...]
    policy_sets: tuple[PolicySet, ...]
    state_sets: tuple[StateSet, ...]
    counters: tuple[tuple[str, str], ...]  # name, what it counts
    buckets: tuple[tuple[str, Within], ...]
    ssh_ports: tuple[int, ...]

    def chain(self, name: str) -> Chain:
        """The chain of that logical name."""
        return next(c for c in self.chains if c.name == name)
