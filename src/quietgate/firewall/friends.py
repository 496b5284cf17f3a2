"""The way in of whoever is trusted or on the floor: nothing refuses them, and one source cannot fill sshd.

Every packet of theirs passes but two: a SYN, and the third packet of a handshake, while their source logs in too often at the same
time. They are dropped, the client or the server sends again after a second, and that asks again (firewall/places).
"""

from __future__ import annotations

from collections.abc import Iterator

from quietgate.errors import Origin
from quietgate.firewall import names
from quietgate.firewall.limiter import CLOSING, RST, SYN, Door, refusal
from quietgate.firewall.places import own_look, own_rules
from quietgate.firewall.rules import (
    Accept,
    Assured,
    Chain,
    Drop,
    Expires,
    Goto,
    Leave,
    Original,
    Place,
    Rule,
    Settle,
    Settled,
    Socket,
    State,
    Tuple4,
    Waits,
)
from quietgate.policy.model import Ssh


def chains(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Chain]:
    """Who is trusted or on the floor: never refused, but no more than a few of one source log in at the same time. None where nothing is reserved."""
    places = door.places(ssh)
    if places is None:
        return
    older = (Rule(f"friend.older{v}", (Tuple4(v, names.live(v)), Settle(), Accept()), origin) for v in (4, 6))
    yield Chain("friend", (
        Rule("friend.syn", (SYN, Goto("friend_syn")), origin),
        Rule("friend.settled", (Settled(), Waits(names.reopened(), absent=True), Accept()), origin),
        *older,
        Rule("friend.abort", (RST, Accept()), origin),
        Rule("friend.proven", (State(("established",)), Original(), Assured(), Goto("friend_own")), origin),
        Rule("friend.unproven", (State(("established",)), Original(), refusal(ssh)), origin),
        Rule("friend.in", (Settle(), Accept()), origin),
    ))  # fmt: skip
    yield Chain("friend_syn", (
        Rule("friend.again", (Expires(CLOSING, longer=True), Socket(wildcard=False), Accept()), origin),
        *own_look(places, "friend.look", None, (Goto("friend_open"),), (Goto("friend_open"),) if ssh.observe else (Drop(),), origin),
    ))  # fmt: skip
    yield Chain("friend_open", (
        Rule("friend.anew", (Leave(names.refused()),), origin),
        Rule("friend.reopen", (Settled(), Place(names.reopened()), Accept()), origin),
        Rule("friend.open", (Accept(),), origin),
    ))  # fmt: skip
    done = (Leave(names.reopened()), Settle(), Accept())
    yield Chain("friend_own", tuple(own_rules(places, "friend.own", None, done, done if ssh.observe else (Drop(),), origin)))
