"""The SSH limiter: at most N new connections of one source in any window, exactly.

Theory. N slot sets hold sources for one window each. A connection takes the first slot set that does not hold its
source yet; when all N hold it, the source has had N connections within the window, and the next is refused. Each
slot was taken at an accepted connection and is held exactly one window, so any window holds at most N of them:
an exact sliding log, in the kernel, without a daemon. Retries change nothing, since only accepted ones take a slot.

Four holes, each closed here and each with a test that fails without its rule (docs/limiter.md tells the attacks):

- A SYN can be forged, so it only *looks* (`syn`): its connection takes a slot when conntrack has seen the third packet
  (`count`). Nobody can use up somebody else's slots.
- A source port used again runs inside an old conntrack entry, so the gate asks the TCP flags, not conntrack's state; an entry that
  was settled is noted as `reopened` there, and asked about again.
- A forged SYN on the tuple of a live session must not make that session count again: such an entry lives longer
  than any that is closing (days against two minutes), and its packets have a socket of their own.
- The last packet of a handshake in cookie mode may come late or twice, with no SYN before it: an ACK that conntrack
  does not call proven, or that would reach the listener itself, is dropped.

What was counted is *settled*: its conntrack entry bears a label of ours, and everything that does not bear it is asked about
(`prove`). So whatever gets lost on the way counts, and never passes. A label and no mark, since other tools write over marks.
Sessions older than the rules stand in a set (`live`), and are settled at their next packet.

Two packets on two CPUs: `add` with a bucket of one token for each element lets only the first have the slot.

Known sources have a token bucket of their own instead of slots. It is asked at the third packet too: asked at the SYN,
forged ones would empty it.

Places in sshd's MaxStartups: two hundred bots, each within its limit, still fill it. Their theory is in `places`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quietgate.errors import Origin
from quietgate.firewall import names
from quietgate.firewall import places as shares
from quietgate.firewall.places import Places, keys
from quietgate.firewall.rules import (
    Accept,
    Assured,
    Bucket,
    Chain,
    Count,
    Drop,
    Expires,
    Flags,
    Forget,
    Goto,
    InSet,
    Jump,
    Key,
    Leave,
    Original,
    Part,
    Place,
    Port,
    Reject,
    Remember,
    Return,
    Rule,
    Settle,
    Settled,
    Socket,
    State,
    StateSet,
    Take,
    Tuple4,
    Waits,
    Within,
)
from quietgate.firewall.rules import Log as LogTo
from quietgate.policy.model import Ssh
from quietgate.policy.terms import Ports, Rate

SYN = Flags(("fin", "syn", "rst", "ack"), ("syn",))
RST = Flags(("rst",), ("rst",))
# A bare ACK, or one with data: neither opens nor closes.
ACK = Flags(("fin", "syn", "rst", "ack"), ("ack",))
CLOSES = Flags(("fin", "rst"), (), absent=True)
# Longer than every closing state of conntrack (120 s), shorter than an open connection (5 days; 300 s while data is
# unacknowledged): include/net/netfilter/nf_conntrack_tcp.h and nf_conntrack_proto_tcp.c, defaults.
CLOSING = 125
SAID_SIZE = 4096
SAID_FOR = 60
LIVE_SIZE = 65536
LIVE_FOR = 30 * 86400  # a session that ends leaves the set; one that lives longer is put back by the next load
WIDE_LENGTH = 48  # what a customer or a host gets at most (RFC 6177)
REOPENED_SIZE = 65536
# Longer than any half-open socket (63 s, tcp_synack_retries) or SYN cookie (120 s, MAX_SYNCOOKIE_AGE) that could still end in sshd.
REOPENED_FOR = 150
PROVEN = "(proven) "  # follows the prefix where a whole handshake was seen: only such lines are evidence


@dataclass(frozen=True, slots=True)
class Door:
    """What the limiter must know of sshd: its ports, whether a listener is bound to one address, and its MaxStartups.

    `begin` is the first number of MaxStartups, where sshd begins to drop at random; `grace` the seconds that a
    connection may take to log in (0: as long as it likes). Defaults are sshd's (sshd_config(5)).
    """

    ports: tuple[int, ...]
    bound: bool
    begin: int = 10
    grace: int = 120

    def places(self, ssh: Ssh) -> Places | None:
        """How MaxStartups is shared out under this policy."""
        return Places.of(ssh.reserve, self.begin, self.grace, ssh.counting)

    def port(self, side: str = "dport") -> Port:
        """Matches the SSH ports."""
        return Port(side, tuple(Ports(p, p) for p in self.ports), 6)


def input_rules(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Rule]:
    """The SSH part of the input chain, from resets to packets that would reach the listener, without the established rule."""
    at = door.port()
    end = refusal(ssh)
    places = door.places(ssh)
    if places is not None and ssh.observe:
        yield shares.observed(places, at, origin)
    if door.bound:
        for version in (4, 6):
            yield Rule(f"ssh.left{version}", (at, Original(), RST, Forget(version, names.live(version))), origin)
    if _counts(ssh):
        yield Rule("ssh.abort", (at, Original(), RST, Accept()), origin)  # frees sshd's half-open socket
    if door.bound:
        # A cookie for a tuple of `ssh.live` would pass there, uncounted, once its session is over: none is handed out.
        for version in (4, 6):
            yield Rule(f"ssh.reused{version}", (at, SYN, Tuple4(version, names.live(version)), Count("ssh_again"), end), origin)
    yield Rule("ssh.syn", (at, SYN, Goto("ssh_syn")), origin)
    # Established only: what conntrack picks up in the middle of a connection is no handshake, and is asked about below.
    inside = (at, State(("established",)), Original())
    if _counts(ssh):
        yield Rule("ssh.prove", (*inside, Jump("ssh_prove")), origin)
    else:  # rules that count may come, or come back, while these connections are open
        yield Rule("ssh.settle", (*inside, Settle()), origin)
    # An ACK that would reach the listener opens a connection out of a cookie, a second time or without a slot.
    if door.bound:
        # Established only: an entry that no answer was seen of is no session's.
        yield Rule("ssh.stray", (*inside, Expires(CLOSING, longer=False), ACK, Count("ssh_unproven"), end), origin)
    else:
        yield Rule("ssh.stray", (at, Socket(wildcard=True), Count("ssh_unproven"), end), origin)


def unknown_rules(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Rule]:
    """Packets to SSH that conntrack does not know: sessions older than the table live on, everything else goes."""
    at = door.port()
    for version in (4, 6):
        yield Rule(f"ssh.live{version}", (at, Tuple4(version, names.live(version)), Settle(), Accept()), origin)
    if not door.bound:  # a listener bound to one address looks like a session to `socket wildcard`
        yield Rule("ssh.socket", (at, Socket(wildcard=False), Settle(), Accept()), origin)
    yield Rule("ssh.unknown", (at, Count("ssh_unknown"), refusal(ssh)), origin)


def chains(ssh: Ssh, door: Door, from_rules: tuple[Rule, ...], origin: Origin | None) -> Iterator[Chain]:
    """The chains behind `ssh.syn` and `ssh.prove`. `from_rules` decide who may reach SSH at all."""
    if not _counts(ssh):
        yield Chain("ssh_syn", (*from_rules, Rule("ssh.open", (Count("ssh_new"), Accept()), origin)))
        return
    places = door.places(ssh)
    yield Chain("ssh_syn", (*from_rules, *_gate(ssh, origin)))
    yield Chain("ssh_prove", tuple(_prove(ssh, origin)))
    yield Chain("ssh_count", tuple(_proven(ssh, places, origin)))
    if places is not None:
        yield from shares.place_chains(places, origin)
        yield Chain("ssh_place", (*shares.sits(places, origin), *_strangers(ssh, origin)))
        yield from shares.end_chains(places, origin)
    for name, _, key in keys(ssh.counting):
        if ssh.known is not None:
            yield from _known(ssh, places, name, key, origin)
        if ssh.limit is not None:
            yield Chain(f"ssh_gate{name}", tuple(_look(ssh, key, f"ssh.free{name}", "ssh_open", "ssh_full", origin)))
            if places is not None:
                yield Chain(f"ssh_spare{name}", tuple(_look(ssh, key, f"ssh.spare{name}", "ssh_share", "ssh_refuse", origin)))
            yield Chain(f"ssh_count{name}", tuple(_count(ssh, name, key, origin)))
    yield Chain("ssh_open", tuple(_open(ssh, door, origin)))
    yield Chain("ssh_in", tuple(_in(door, origin)))
    if ssh.limit is not None:
        yield Chain("ssh_full", tuple(_full(ssh, origin)))
    yield Chain("ssh_refuse", tuple(_refuse(ssh, places, origin)))


def refusal(ssh: Ssh) -> Accept | Drop:
    """What becomes of a packet that the SSH rules refuse: observed, it passes."""
    return Accept() if ssh.observe else Drop()


def _counts(ssh: Ssh) -> bool:
    """True if proven handshakes are counted at all."""
    return ssh.limit is not None or ssh.reserve > 0


def _gate(ssh: Ssh, origin: Origin | None) -> Iterator[Rule]:
    # The stack answers a SYN on a live connection by itself (RFC 5961 4); marking it would count the session again.
    yield Rule("ssh.again", (Expires(CLOSING, longer=True), Socket(wildcard=False), Count("ssh_again"), Accept()), origin)
    yield from if_known(ssh, "hello", lambda name: f"ssh_hello{name}" if ssh.reserve else "ssh_open", origin)
    if ssh.limit is None:
        yield Rule("ssh.unlimited", (Goto("ssh_open"),), origin)
        return
    yield from by_key(ssh, "gate", origin)


def _prove(ssh: Ssh, origin: Origin | None) -> Iterator[Rule]:
    """What is settled goes on, what is not takes a place or goes. Of a packet inside a connection, in the client's direction."""
    if not ssh.observe:
        yield Rule("ssh.over", (Waits(names.refused()), Drop()), origin)
    yield Rule("ssh.settled", (Settled(), Waits(names.reopened(), absent=True), Return()), origin)
    for version in (4, 6):
        yield Rule(f"ssh.older{version}", (Tuple4(version, names.live(version)), Settle(), Return()), origin)
    yield Rule("ssh.count", (Assured(), Goto("ssh_count")), origin)
    yield Rule("ssh.unproven", (Count("ssh_unproven"), refusal(ssh)), origin)


def _open(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Rule]:
    """Let a SYN in. What is remembered of an earlier connection with the same two ends holds no more."""
    if not door.bound:  # else `ssh.reused` drops it
        for version in (4, 6):
            yield Rule(f"ssh.forget{version}", (Forget(version, names.live(version)),), origin)
    yield Rule("ssh.anew", (Leave(names.refused()),), origin)
    yield Rule("ssh.reopen", (Settled(), Place(names.reopened()), Count("ssh_new"), Accept()), origin)
    yield Rule("ssh.noreopen", (Settled(), refusal(ssh)), origin)  # so many are: it would pass uncounted
    yield Rule("ssh.pending", (Count("ssh_new"), Accept()), origin)


def _in(door: Door, origin: Origin | None) -> Iterator[Rule]:
    """Let a connection in that was counted."""
    if door.bound:  # what conntrack may lose again: there is no other way to tell its packets from a cookie's
        for version in (4, 6):
            yield Rule(f"ssh.keep{version}", (Remember(version, names.live(version)),), origin)
    yield Rule("ssh.in", (Leave(names.reopened()), Settle(), Accept()), origin)


def _proven(ssh: Ssh, places: Places | None, origin: Origin | None) -> Iterator[Rule]:
    if places is not None:
        yield from shares.joined(places, origin)
    yield from if_known(ssh, "known", lambda name: f"ssh_known{name}", origin)
    if places is None:
        yield from _strangers(ssh, origin)
    else:
        yield from by_key(ssh, "spare", origin) if ssh.limit is not None else (Rule("ssh.unlimited.share", (Goto("ssh_share"),), origin),)


def _strangers(ssh: Ssh, origin: Origin | None) -> Iterator[Rule]:
    if ssh.limit is None:
        yield Rule("ssh.counted", (Count("ssh_counted"), Goto("ssh_in")), origin)
    else:
        yield from by_key(ssh, "count", origin)


def if_known(ssh: Ssh, what: str, chain: Callable[[str], str], origin: Origin | None) -> Iterator[Rule]:
    """Where known sources go on; `chain` names it for each kind of address."""
    if ssh.known is None:
        return
    for name, guard, key in keys(ssh.counting):
        known = InSet(key, names.known(key.version, ssh.counting), shared=True)
        yield Rule(f"ssh.{what}{name}", (*(guard if name == "6x" else ()), known, Goto(chain(name))), origin)


def _known(ssh: Ssh, places: Places | None, name: str, key: Key, origin: Origin | None) -> Iterator[Chain]:
    chain = f"ssh_known{name}"
    if places is not None:
        begun = f"ssh_begun{name}"
        hello: tuple[Part, ...] = (Goto("ssh_open"),)
        look = shares.own_look(places, "ssh.wait", name, hello, hello if ssh.observe else (Drop(),), origin)
        yield Chain(f"ssh_hello{name}", tuple(look))
        there: tuple[Part, ...] = (Goto(begun),)
        yield Chain(chain, tuple(shares.own_rules(places, "ssh.known", name, there, there if ssh.observe else (Drop(),), origin)))
        chain = begun
    rules = []
    if ssh.known_limit is not None and ssh.limit is not None:  # where strangers are not limited, nobody is
        bucket = Within(ssh.known_limit.count, ssh.known_limit.window, ssh.known_limit.count, over=True)
        over = Take(key, names.known_rate(key.version, ssh.known_limit, ssh.counting), update=True, over=bucket)
        rules.append(Rule(f"ssh.known{name}.over", (over, Count("ssh_known_over"), Goto("ssh_refuse")), origin))
    rules.append(Rule(f"ssh.known{name}.in", (Count("ssh_known"), Goto("ssh_in")), origin))
    yield Chain(chain, tuple(rules))


def _refuse(ssh: Ssh, places: Places | None, origin: Origin | None) -> Iterator[Rule]:
    if ssh.observe:
        yield Rule("ssh.refused", (Count("ssh_refused"),), origin)
        yield from _say(ssh, "proven", PROVEN, origin)
        yield Rule("ssh.reset", (Goto("ssh_in"),), origin)
        return
    if places is not None:
        yield shares.undo(places, origin)
    yield Rule("ssh.refused", (Count("ssh_refused"),), origin)
    # In a full set it finds no room, and its next packet is refused once more.
    yield Rule("ssh.ended", (Place(names.refused()),), origin)
    yield from _say(ssh, "proven", PROVEN, origin)
    yield Rule("ssh.reset", (Reject(reset=True),), origin)


def _look(ssh: Ssh, key: Key, start: str, then: str, otherwise: str, origin: Origin | None) -> Iterator[Rule]:
    """Go on when a slot is free. Asked by absence: a lookup that finds an element also runs the element's
    bucket, which is empty, and would not match (nft_lookup.c, nft_set_elem_update_expr).
    """
    for index, slot in reversed(list(enumerate(_slots(ssh, key.version), 1))):
        # The last slot first: a source that has had none costs one lookup.
        yield Rule(f"{start}.{index}", (InSet(key, slot.name, shared=True, absent=True), Goto(then)), origin)
    yield Rule(f"{start}.none", (Goto(otherwise),), origin)


def by_key(ssh: Ssh, what: str, origin: Origin | None) -> Iterator[Rule]:
    """On to the chain of this name for each kind of address."""
    for name, guard, _ in keys(ssh.counting):
        yield Rule(f"ssh.{what}{name}", (*guard, Goto(f"ssh_{what}{name}")), origin)


def _count(ssh: Ssh, name: str, key: Key, origin: Origin | None) -> Iterator[Rule]:
    if name == "6" and ssh.wide6 is not None and ssh.counting.source6 > WIDE_LENGTH:
        bucket = Within(ssh.wide6.count, ssh.wide6.window, ssh.wide6.count, over=True)
        network = Key(6, "saddr", WIDE_LENGTH)
        wide = Take(network, names.wide(ssh.wide6, ssh.slots), update=True, over=bucket)
        # Where a provider gives out /64s of one /48, one customer must not shut out the others: only if many of them fail.
        crowded = InSet(network, names.crowded(), shared=True)
        yield Rule("ssh.wide6", (crowded, wide, Count("ssh_wide"), Goto("ssh_refuse")), origin)
    sets = list(_slots(ssh, key.version))
    for index, slot in enumerate(sets, 1):
        yield Rule(f"ssh.slot{name}.{index}", (Take(key, slot.name, once=True), Count("ssh_counted"), Goto("ssh_in")), origin)
    # Here without the last slot means that the set is full: it could not be taken, and is not held.
    missing = InSet(key, sets[-1].name, shared=True, absent=True)
    if ssh.on_full is not None:
        rate = Within(ssh.on_full.count, ssh.on_full.window, ssh.on_full.count)
        yield Rule(f"ssh.overflow{name}", (missing, rate, Count("ssh_overflow"), Goto("ssh_in")), origin)
    yield Rule(f"ssh.refuse{name}", (Goto("ssh_refuse"),), origin)


def _full(ssh: Ssh, origin: Origin | None) -> Iterator[Rule]:
    if ssh.strict:
        for name, guard, key in keys(ssh.counting):
            for index, slot in enumerate(_slots(ssh, key.version), 1):
                # Never matches on: the element's one token is gone. It is here for its timeout alone.
                yield Rule(f"ssh.strict{name}.{index}", (*guard, Take(key, slot.name, once=True, update=True)), origin)
    yield Rule("ssh.limited", (Count("ssh_limited"),), origin)
    yield from _say(ssh, "limited", "", origin)
    if ssh.observe:  # what would have been dropped takes no slot either
        yield Rule("ssh.passed", (Leave(names.reopened()), Settle()), origin)
    yield Rule("ssh.drop", (refusal(ssh),), origin)


def output_rules(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Rule]:
    """A place is free again when sshd closes: its process ends then."""
    places = door.places(ssh)
    if places is not None:
        yield from shares.ended(door.port("sport"), origin)


def close_rules(door: Door, origin: Origin | None) -> Iterator[Rule]:
    """A session that sshd closes is remembered no longer: its two ends may be used again."""
    if door.bound:
        for version in (4, 6):
            yield Rule(f"out.left{version}", (door.port("sport"), CLOSES, Forget(version, names.live(version), back=True)), origin)


def _say(ssh: Ssh, what: str, after: str, origin: Origin | None) -> Iterator[Rule]:
    if ssh.log.rate is None or not ssh.log.to:
        return
    lines: list[Part] = []
    if "nflog" in ssh.log.to:
        lines.append(LogTo(ssh.log.prefix + after, ssh.log.group))
    if "kernel" in ssh.log.to:
        lines.append(LogTo(ssh.log.prefix + after, None))
    for name, guard, key in keys(ssh.counting):
        said = names.said(key.version, ssh.counting)
        yield Rule(f"ssh.log.{what}{name}", (*guard, Take(key, said, once=True), Bucket(names.log_bucket(ssh.log.rate)), *lines), origin)


def state_sets(ssh: Ssh, door: Door) -> Iterator[StateSet]:
    """The shared sets that the rules above use."""
    places = door.places(ssh)
    if places is not None:
        yield from places.sets()
    if _counts(ssh):
        for name in (names.reopened(), names.refused()):
            yield StateSet(name, "typeof ct id", ("dynamic", "timeout"), REOPENED_SIZE, REOPENED_FOR)
    for version in (4, 6):
        yield StateSet(names.live(version), names.ends(version), ("dynamic", "timeout"), LIVE_SIZE, LIVE_FOR)
        if ssh.known is not None:
            yield StateSet(names.known(version, ssh.counting), names.TYPE[version], ("timeout",))
            if ssh.known_limit is not None and ssh.limit is not None:
                name = names.known_rate(version, ssh.known_limit, ssh.counting)
                yield StateSet(name, names.TYPE[version], ("dynamic", "timeout"), ssh.slots, ssh.known_limit.window)
        if ssh.limit is not None:
            yield from _slots(ssh, version)
        if _counts(ssh) and ssh.log.rate is not None and ssh.log.to:
            said = names.said(version, ssh.counting)
            yield StateSet(said, names.TYPE[version], ("dynamic", "timeout"), SAID_SIZE, SAID_FOR)
    if ssh.limit is not None and ssh.wide6 is not None and ssh.counting.source6 > WIDE_LENGTH:
        # An idle bucket is full again after one window, so it may be forgotten then.
        yield StateSet(names.wide(ssh.wide6, ssh.slots), names.TYPE[6], ("dynamic", "timeout"), ssh.slots, ssh.wide6.window)
        yield StateSet(names.crowded(), names.TYPE[6], ("timeout",))


def buckets(ssh: Ssh) -> Iterator[tuple[str, Within]]:
    """The shared token buckets: one for all log lines, whatever chain writes them."""
    if _counts(ssh) and ssh.log.rate is not None:
        rate = ssh.log.rate
        yield names.log_bucket(rate), Within(rate.count, rate.window, rate.count)


def _slots(ssh: Ssh, version: int) -> Iterator[StateSet]:
    limit = ssh.limit
    assert isinstance(limit, Rate)
    for index in range(1, limit.count + 1):
        name = names.slot(version, index, limit.window, ssh.counting, ssh.slots)
        yield StateSet(name, names.TYPE[version], ("dynamic", "timeout"), ssh.slots, limit.window)


COUNTERS = {
    "ssh_new": "SYNs to SSH let through to sshd",
    "ssh_counted": "connections to SSH that took a place in their source's limit",
    "ssh_limited": "SYNs to SSH dropped by the limit",
    "ssh_refused": "connections to SSH reset by the limit after their handshake",
    "ssh_wide": "of these, by the limit of an IPv6 /48",
    **shares.COUNTERS,
    "ssh_known": "connections to SSH of known sources",
    "ssh_known_over": "connections of known sources reset by their own limit",
    "ssh_overflow": "connections to SSH let through because the slot sets were full",
    "ssh_again": "SYNs on a live SSH session, not counted",
    "ssh_unproven": "ACKs to SSH without a proven handshake, dropped",
    "ssh_unknown": "packets to SSH of no known connection, dropped",
}
