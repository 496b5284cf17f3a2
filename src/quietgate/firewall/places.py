"""Who may hold how much of sshd's MaxStartups: places for strangers, a share for each network, and one for each exempt source.

Theory. A connection that has not logged in yet costs sshd one of its MaxStartups. A place stands for one such connection, in a
set keyed by conntrack's id. It must end when the connection does and not before, and no packet of the client proves an end:

- A reset that is inside the window but not exact is answered with a challenge, and the connection goes on (RFC 5961 3.2).
  conntrack calls some of these the end, too. So the client's reset is rewritten into a FIN: sshd reads the end of the stream,
  exits, and closes. That is done before conntrack sees the reset: after one, it would call the server's FIN invalid. A FIN that is out of order ends nothing, and frees nothing.
- A reset of the server's proves an end only where a socket sent it, which then carries ACK. The kernel's answer to a third
  packet with a wrong number has none, and the handshake can still be completed (RFC 9293 3.10.7).

So a place ends with the server's own FIN, or its RST with ACK. What misses both (a reset without ACK, a flushed conntrack) ends
with LoginGraceTime, or at the guard's next sweep, which asks the sockets themselves (daemon/startups).

Shares. Each network (an IPv4 /24, an IPv6 /48) has a few tokens, kept like the limit's slots: set number i holds the network's i-th.
A place takes one, and remembers its number in a set of conntrack ids, so that its end gives back that very token.

Exempt sources (known, trusted, on the floor) take no stranger's place. Each has tokens of its own; a connection without one is
not refused but waits: its SYN is dropped, and the retransmission asks again (its third packet, where several came at once). Only the guard sees a login, so such a
token lasts a few seconds by itself, and as long as the connection where the guard renews it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from quietgate.errors import Origin
from quietgate.firewall import names
from quietgate.firewall.rules import (
    Address,
    Chain,
    Count,
    Drop,
    Finish,
    Flags,
    Forget,
    Free,
    Goto,
    InSet,
    Jump,
    Key,
    Leave,
    Original,
    Part,
    Place,
    Port,
    Remember,
    Rule,
    StateSet,
    Take,
    Tuple4,
    Version,
    Waits,
)
from quietgate.net import SINGLY, Counting

MOST = 8  # tokens of one network or source: each is a set, and a few rules
NETWORK4, NETWORK6 = 24, 48  # what one customer gets at most, or a provider's rack
OWN_FOR = 3  # seconds that an exempt source's token lasts by itself; the guard renews it each second
REJOINS = 5  # seconds: read back within one packet
SIZE = 65536  # of the sets beside the places: who is refused leaves at once, but is counted until the sweep
SWEEP = 200  # milliseconds after which a place that was given back is free: until then the kernel still counts it
FIN = Flags(("fin",), ("fin",))
RESET = Flags(("rst", "ack"), ("rst", "ack"))
ANY_RESET = Flags(("rst",), ("rst",))


def keys(counting: Counting) -> tuple[tuple[str, tuple[Part, ...], Key], ...]:
    """Name, guard and key of each way a source is counted: IPv4, IPv6 singly, IPv6 by network; in this order."""
    four = ("4", (Version(4),), Key(4, "saddr", counting.source4))
    network = Key(6, "saddr", counting.source6)
    if counting.source6 == 128:
        return four, ("6", (Version(6),), network)
    return (
        four,
        ("6x", (Address(6, "saddr", SINGLY),), Key(6, "saddr", 128)),
        ("6", (Address(6, "saddr", SINGLY, absent=True),), network),
    )


@dataclass(frozen=True, slots=True)
class Places:
    """How sshd's MaxStartups is shared out.

    `count`: connections of strangers at once; `share`: of these, one network's; `own`: connections of one exempt source;
    `grace`: seconds after which sshd itself ends a connection; `counting`: what is one source.
    """

    count: int
    grace: int
    share: int
    own: int
    counting: Counting

    @classmethod
    def of(cls, reserve: int, begin: int, grace: int, counting: Counting) -> Places | None:
        """None where nothing is reserved. At least one place is left to strangers, and to each exempt source."""
        if reserve == 0:
            return None
        count = max(1, begin * (100 - reserve) // 100)
        # sshd itself varies LoginGraceTime by up to four seconds (sshd-session.c); a day stands for "no limit"
        return cls(
            count,
            grace + 5 if grace else 86400,
            share=min(MOST, max(1, count // 3)),
            own=min(MOST, max(1, (begin - count) // 2)),
            counting=counting,
        )

    @property
    def set(self) -> str:
        """The set of the strangers' connections."""
        return names.waiting(self.count, self.grace)

    @property
    def networks(self) -> Counting:
        """What shares are counted by."""
        return Counting(min(NETWORK4, self.counting.source4), min(NETWORK6, self.counting.source6))

    def sitting(self, version: int) -> str:
        """The set of the two ends of the same connections: before conntrack there is no id."""
        return names.sitting(version, self.count, self.grace)

    @property
    def rejoined(self) -> str:
        """The set of those that are asked about again."""
        return names.rejoined(self.count)

    def shares(self) -> tuple[tuple[str, dict[int, str]], ...]:
        """For each token of a network: the set of connections that took it, and the sets of networks by IP version."""
        return tuple(
            (names.held(i, self.count, self.grace), {v: names.share(v, i, self.count, self.grace, self.networks) for v in (4, 6)})
            for i in range(1, self.share + 1)
        )

    def owns(self) -> tuple[tuple[str, dict[int, str]], ...]:
        """The same for each token of an exempt source."""
        return tuple((names.owned(i), {v: names.own(v, i, self.counting) for v in (4, 6)}) for i in range(1, self.own + 1))

    def sets(self) -> Iterator[StateSet]:
        """All of them, for the kernel."""
        flags = ("dynamic", "timeout")
        yield StateSet(self.set, "typeof ct id", flags, self.count, self.grace, gc=SWEEP)
        for version in (4, 6):
            yield StateSet(self.sitting(version), names.ends(version), flags, SIZE, self.grace, gc=SWEEP)
        yield StateSet(self.rejoined, "typeof ct id", flags, SIZE, REJOINS)
        for tokens, seconds, size in ((self.shares(), self.grace, SIZE), (self.owns(), OWN_FOR, SIZE)):
            for connections, sources in tokens:
                yield StateSet(connections, "typeof ct id", flags, size, seconds, gc=SWEEP)
                for version, name in sources.items():
                    yield StateSet(name, names.TYPE[version], flags, size, seconds, gc=SWEEP)


def joined(places: Places, origin: Origin | None) -> Iterator[Rule]:
    """Where the connection holds a place from before, it may still be that connection: what refuses it now must not free it (`undo`)."""
    yield Rule("ssh.held", (Waits(places.set), Place(places.rejoined)), origin)
    yield Rule("ssh.fresh", (Waits(places.set, absent=True), Leave(places.rejoined)), origin)


def place_chains(places: Places, origin: Origin | None) -> Iterator[Chain]:
    """The token of a stranger's network, then a place. In this order: for a moment the kernel still counts a place that was given back
    (SWEEP), so who is refused for other reasons must not even have taken one.
    """
    share = _tokens("ssh.share", keys(places.networks), places.shares(), (Goto("ssh_take"),), origin)
    yield Chain("ssh_share", (*share, Rule("ssh.noshare", (Count("ssh_share"), Goto("ssh_refuse")), origin)))
    yield Chain("ssh_take", (
        Rule("ssh.place", (Place(places.set), Goto("ssh_place")), origin),
        Rule("ssh.noplace", (Count("ssh_reserved"), Goto("ssh_refuse")), origin),
    ))  # fmt: skip


def sits(places: Places, origin: Origin | None) -> Iterator[Rule]:
    """Who has a place is known by both ends, too."""
    for version in (4, 6):
        yield Rule(f"ssh.sits{version}", (Remember(version, places.sitting(version)),), origin)


def undo(places: Places, origin: Origin | None) -> Rule:
    """Before a refusal: what was taken on the way is free again."""
    return Rule("ssh.undo", (Waits(places.rejoined, absent=True), Jump("ssh_undo")), origin)


def own_rules(
    places: Places, start: str, only: str | None, end: tuple[Part, ...], wait: tuple[Part, ...], origin: Origin | None
) -> Iterator[Rule]:
    """A token of an exempt source, then `end`; without one the connection waits. `only`: that way of counting alone."""
    ways = tuple(w for w in keys(places.counting) if only is None or w[0] == only)
    yield from _tokens(start, ways, places.owns(), end, origin)
    yield Rule(f"{start}.wait", (Count("ssh_waits"), *wait), origin)


def own_look(
    places: Places, start: str, only: str | None, end: tuple[Part, ...], wait: tuple[Part, ...], origin: Origin | None
) -> Iterator[Rule]:
    """The same for a SYN, which only looks: while every token is taken it is dropped, so that nobody waits in the server's queue."""
    for name, guard, key in keys(places.counting):
        if only is None or name == only:
            for index, (_, sources) in enumerate(places.owns(), 1):
                free = InSet(key, sources[key.version], shared=True, absent=True)
                yield Rule(f"{start}{name}.{index}", (*guard, free, *end), origin)
    yield Rule(f"{start}.wait", (Count("ssh_waits"), *wait), origin)


def _tokens(
    start: str,
    ways: tuple[tuple[str, tuple[Part, ...], Key], ...],
    tokens: tuple[tuple[str, dict[int, str]], ...],
    end: tuple[Part, ...],
    origin: Origin | None,
) -> Iterator[Rule]:
    for name, guard, key in ways:
        for index, (connections, sources) in enumerate(tokens, 1):
            # Absence is asked too: an element that the guard renewed has no bucket, and would match for everybody.
            free = InSet(key, sources[key.version], shared=True, absent=True)
            take = Take(key, sources[key.version], once=True)
            yield Rule(f"{start}{name}.{index}", (*guard, free, take, Place(connections), *end), origin)


def ended(at: Port, origin: Origin | None) -> Iterator[Rule]:
    """In output: the server's end of a connection, by a socket's own packet."""
    yield Rule("out.fin", (at, FIN, Jump("ssh_end")), origin)
    yield Rule("out.rst", (at, RESET, Jump("ssh_end")), origin)


def aborted(places: Places, at: Port, origin: Origin | None) -> Iterator[Rule]:
    """In prerouting, before conntrack: the client's reset becomes a FIN, which the server can believe. One without ACK, with which a
    client's kernel answers what the server still sends, would end the socket before the server's own FIN, so it is dropped.
    """
    for version in (4, 6):
        mine = (at, Tuple4(version, places.sitting(version)))
        yield Rule(f"ssh.gone{version}", (*mine, RESET, Finish()), origin)
        yield Rule(f"ssh.stays{version}", (*mine, ANY_RESET, Drop()), origin)


def observed(places: Places, at: Port, origin: Origin | None) -> Rule:
    """In input, where nothing is refused: the client's reset passes as it is, and counts as the end."""
    return Rule("ssh.gone", (at, Original(), ANY_RESET, Waits(places.set), Jump("ssh_undo")), origin)


def end_chains(places: Places, origin: Origin | None) -> Iterator[Chain]:
    """What gives everything back that a connection holds: after a packet to the client, and after one of his."""
    yield Chain("ssh_end", tuple(_release(places, "end", "daddr", origin)))
    yield Chain("ssh_undo", tuple(_release(places, "undo", "saddr", origin)))


def _release(places: Places, start: str, side: str, origin: Origin | None) -> Iterator[Rule]:
    for what, ways, tokens in (
        ("share", keys(places.networks), places.shares()),
        ("own", keys(places.counting), places.owns()),
    ):
        for index, (connections, sources) in enumerate(tokens, 1):
            for name, guard, key in ways:
                sided = tuple(replace(g, side=side) if isinstance(g, Address) else g for g in guard)
                free = Free(replace(key, side=side), sources[key.version])
                yield Rule(f"{start}.{what}{name}.{index}", (*sided, Waits(connections), free), origin)
            yield Rule(f"{start}.{what}.{index}", (Leave(connections),), origin)
    for version in (4, 6):
        yield Rule(f"{start}.sits{version}", (Forget(version, places.sitting(version), back=side == "daddr"),), origin)
    yield Rule(f"{start}.place", (Leave(places.set),), origin)


COUNTERS = {
    "ssh_reserved": "of these, since the strangers' places in sshd were taken",
    "ssh_share": "of these, since their network held its share of the strangers' places",
    "ssh_waits": "packets of known, trusted and floor sources held back: they log in too often at the same time",
}
