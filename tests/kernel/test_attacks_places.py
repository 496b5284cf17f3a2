"""Attacks on the strangers' places in sshd: a place ends when its connection does, and not before; nobody holds more than his share.

What counts is the kernel's own view: connections to sshd's port whose socket is open, beside the places in the set.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from bench.guard import Guard, appended, guarding, line

from tests.kernel.attack import BOUND, SEQ, Hand, sessions, settled, strangers
from tests.kernel.lab import SERVER4, SERVER6, Pair, Wire, tcp_packet, wait_for

pytestmark = pytest.mark.long

STARTUPS = "MaxStartups 10:30:60"
PLACES = 6  # strangers' part of ten
SHARE = 2  # of one network, of six
SWEEP = 0.3  # seconds after which a place that was given back is free
listeners = pytest.mark.parametrize("options", [(), BOUND], ids=["any", "bound"])


def network(number: int) -> str:
    """An address in a /24 of its own, of those that no kernel answers for (`strangers`)."""
    return f"198.18.{64 + number}.1"


def inside(pair: Pair) -> int:
    """Connections that sit in sshd: sockets that its listener has handed out, whose ends the server has not closed."""
    found = pair.server.sh("ss", "-Htan", "state", "established", "state", "close-wait", "sport = :22")
    return len(found.splitlines())


def places(pair: Pair) -> int:
    """Places that are taken."""
    names = [w for w in pair.server.sh("nft", "list", "sets", "table", "inet", "quietgate").split() if w.startswith("waiting_")]
    listed = pair.server.sh("nft", "list", "set", "inet", "quietgate", names[0])
    return listed.count(" expires ")


def proven(wire: Wire, number: int, sport: int = 4000) -> Hand:
    """A whole handshake of one network's address, by hand."""
    hand = Hand(wire, network(number), sport)
    assert hand.open()
    hand.send("ack")
    return hand


def linger_reset(s: socket.socket) -> None:
    """Close with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@pytest.fixture
def crowd(pair: Pair) -> Pair:
    strangers(pair)
    return pair


# -- a place is given back on packets that end nothing


def reset_in_window(wire: Wire, number: int, sport: int = 4000) -> None:
    hand = proven(wire, number, sport)
    hand.send("rst", SEQ + 1 + 200)
    hand.send("rst ack", SEQ + 1 + 300)


def reset_behind_data(wire: Wire, number: int) -> None:
    """Data, and at once a reset with the number that the server acknowledged last: conntrack takes it for the end."""
    hand = proven(wire, number)
    hand.send("psh ack", data=b"SSH-2.0-x")
    hand.send("rst ack")


def refused_then_right(wire: Wire, number: int, sport: int = 4000) -> None:
    """A third packet that acknowledges too little: the kernel answers with a reset, and the handshake goes on."""
    hand = Hand(wire, network(number), sport)
    assert hand.open()
    wire.send(tcp_packet(hand.source, SERVER4, hand.sport, 22, "ack", SEQ + 1, hand.theirs))
    time.sleep(0.02)
    hand.send("ack")


def fin_out_of_order(wire: Wire, number: int) -> None:
    """A FIN behind a hole: the server keeps it for later."""
    hand = proven(wire, number)
    hand.send("fin ack", SEQ + 1 + 500)
    hand.send("rst", SEQ + 1 + 501)


def syn_inside(wire: Wire, number: int) -> None:
    """A SYN on the open connection, whose challenge is answered with another wrong reset."""
    hand = proven(wire, number)
    hand.send("rst", SEQ + 1 + 200)  # conntrack's entry is short now
    hand.send("syn", SEQ + 5000)
    hand.send("rst", SEQ + 1 + 400)
    hand.send("ack")


KINDS = [reset_in_window, reset_behind_data, refused_then_right, fin_out_of_order, syn_inside]


@listeners
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_packets_that_end_nothing_free_no_place(crowd: Pair, options: tuple[str, ...], kind: object) -> None:
    crowd.sshd(STARTUPS, *options)
    crowd.up("")
    assert callable(kind)
    with Wire(crowd) as wire:
        for number in range(PLACES):
            kind(wire, number)
        time.sleep(2.5)  # longer than any span after which a place was given back without an end
        for number in range(PLACES, PLACES + 8):
            kind(wire, number)
        assert inside(crowd) <= PLACES
        assert places(crowd) >= inside(crowd)


def test_a_reset_that_ends_a_connection_frees_its_place(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("")
    for turn in range(3):
        held = [s for n in range(PLACES) if (s := pair.client.connect(f"198.19.{10 * turn + n}.1", SERVER4, 22)) is not None and s.recv(8)]
        assert len(held) == PLACES
        assert places(pair) == PLACES
        for s in held:
            linger_reset(s)
        wait_for(lambda: places(pair) == 0, "all are free", 5)
        time.sleep(SWEEP)


def test_a_source_port_used_again_after_a_reset_holds_one_place_and_pays_each_time(crowd: Pair) -> None:
    """conntrack may give the new connection the id of the old one."""
    sshd = crowd.sshd(STARTUPS)
    crowd.up("")
    with Wire(crowd) as wire:
        for _ in range(8):
            hand = Hand(wire, network(1), 4000)
            if hand.open(0.3):
                hand.send("ack")
                hand.send("rst ack")  # a FIN for the server, who closes
                time.sleep(0.2)
                hand.send("rst", SEQ + 2)
        assert settled(sshd) <= 5
        assert places(crowd) >= inside(crowd)


def test_who_is_refused_on_a_connection_that_is_open_keeps_its_place(crowd: Pair) -> None:
    """A SYN on the open connection is asked about again, and over the limit: the refusal must not free the place."""
    crowd.sshd(STARTUPS)
    crowd.up('[ssh]\nlimit = "1 per 60s"\nreserve = 40\n')
    with Wire(crowd) as wire:
        for number in range(PLACES):
            hand = proven(wire, number)
            for _ in range(4):
                hand.send("rst", SEQ + 1 + 200)
                hand.send("syn", SEQ + 5000)
                hand.send("ack")
        assert places(crowd) >= inside(crowd)


def test_a_reload_in_the_middle_changes_nothing(crowd: Pair) -> None:
    crowd.sshd(STARTUPS)
    crowd.up("")
    with Wire(crowd) as wire:
        for number in range(PLACES):
            proven(wire, number)
        crowd.up('[ssh]\nlog.rate = "3 per 1m"\n')
        for number in range(PLACES, PLACES + 4):
            proven(wire, number)
        assert inside(crowd) <= PLACES


# -- a share for each


def sit(pair: Pair, sources: list[str], target: str = SERVER4) -> list[socket.socket]:
    """Connections of these sources that stay, as far as the server lets them."""
    return [s for source in sources if (s := pair.client.connect(source, target, 22, timeout=0.3)) is not None]


def begun(pair: Pair, source: str) -> socket.socket:
    """A connection that goes on trying."""
    with pair.client.inside():
        s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    s.bind((source, 0))
    s.setblocking(False)
    s.connect_ex((SERVER4, 22))
    return s


def newcomers(pair: Pair, count: int = 10) -> int:
    """How many new sources get in, one after the other: sshd takes a moment to notice that one has left."""
    found = 0
    for n in range(count):
        sat = inside(pair)
        found += pair.client.banner(f"198.19.{100 + n}.1", SERVER4, timeout=0.5)
        wait_for(lambda: inside(pair) <= sat, "sshd has noticed", 5)  # noqa: B023  called in this turn only
        time.sleep(SWEEP)
    return found


def test_two_addresses_do_not_hold_all_places(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("")
    held = sit(pair, ["198.19.1.1", "198.19.2.1"] * 5)
    assert inside(pair) == 2 * SHARE
    assert newcomers(pair) == 10
    assert held


def test_a_network_holds_no_more_than_its_share(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("")
    held = sit(pair, [f"198.19.1.{n}" for n in range(1, 13)])
    assert newcomers(pair, 1) == 1, "who was refused holds nothing, not for a moment"
    held += sit(pair, [f"2001:db8:101:{n:x}::1" for n in range(1, 13)], SERVER6)
    assert inside(pair) == 2 * SHARE
    assert pair.counters()["ssh_share"] == 2 * (12 - SHARE)
    assert newcomers(pair) == 10
    for s in held:
        s.close()
    wait_for(lambda: inside(pair) == 0, "they are gone", 5)
    found = 0
    for n in range(20, 26):
        time.sleep(SWEEP)  # so long a place that was given back may still count
        found += pair.client.banner(f"198.19.1.{n}", SERVER4)
    assert found == 6, "its share is free again"


# -- who is exempt does not fill sshd either

FILLER, OTHER = "198.19.60.1", "198.19.61.1"


def exempt(pair: Pair, how: str) -> None:
    """The filler by one of the ways, and a known administrator."""
    pair.up(f'[ssh]\ntrusted = ["{FILLER}"]\n' if how == "trusted" else "")
    at = {"known": "known4_32", "floor": "floor4_32"}
    for name, address in ((at.get(how), FILLER), ("known4_32", OTHER)):
        if name:
            pair.server.sh("nft", f"add element inet quietgate {name} {{ {address} timeout 1h }}")


@pytest.mark.parametrize("how", ["known", "trusted", "floor"])
def test_an_exempt_source_does_not_fill_sshd(pair: Pair, how: str) -> None:
    pair.sshd(STARTUPS)
    exempt(pair, how)
    held = sit(pair, [FILLER] * 12)
    held += sit(pair, [f"198.19.{n}.1" for n in range(PLACES)])
    got = [pair.client.banner(OTHER, SERVER4, timeout=1) for _ in range(8)]
    assert all(got), (got, inside(pair))
    assert pair.counters()["ssh_waits"] > 0
    assert held


@pytest.mark.parametrize("how", ["known", "trusted", "floor"])
def test_an_exempt_source_that_waits_gets_in_without_trying_again(pair: Pair, how: str) -> None:
    pair.sshd(STARTUPS)
    exempt(pair, how)
    for s in [begun(pair, FILLER) for _ in range(6)]:
        s.settimeout(20)
        assert s.recv(8), "its turn comes"


# -- the guard, who asks the sockets


@contextlib.contextmanager
def guarded(pair: Pair, policy: str = "") -> Iterator[Guard]:
    with guarding(pair, policy) as guard:
        yield guard


def test_the_guard_frees_what_no_packet_freed(crowd: Pair) -> None:
    crowd.sshd(STARTUPS)
    with guarded(crowd), Wire(crowd) as wire:
        hands = [proven(wire, number) for number in range(PLACES)]
        assert places(crowd) == PLACES
        crowd.server.sh("conntrack", "-F")  # the ids that the places have are nobody's now
        for hand in hands:
            hand.send("fin ack")
        wait_for(lambda: inside(crowd) == 0, "sshd has closed them", 5)
        wait_for(lambda: places(crowd) == 0, "the guard saw it", 10)
        assert all(proven(wire, number, 5000) for number in range(3))


def test_the_guard_gives_a_place_to_who_sits_there_without(crowd: Pair) -> None:
    crowd.sshd(STARTUPS)
    with guarded(crowd), Wire(crowd) as wire:
        for number in range(3):
            proven(wire, number)
        wait_for(lambda: inside(crowd) == 3, "they are in")
        crowd.server.sh("nft", "flush", "set", "inet", "quietgate", "waiting_6_125")
        wait_for(lambda: places(crowd) == 3, "they have places", 10)
        crowd.server.sh("conntrack", "-F")
        time.sleep(3)
        assert places(crowd) >= inside(crowd)


def test_the_guard_ends_who_only_sits_there(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    with guarded(pair) as guard:
        held = sit(pair, [f"198.19.{n}.1" for n in range(PLACES)])
        assert inside(pair) == PLACES
        wait_for(lambda: inside(pair) <= PLACES - 2, "a third is free", 15)
        time.sleep(SWEEP)
        assert newcomers(pair, 5) == 5
        told = guard.status()
        assert told is not None
        assert told["places"]["ended"] >= 2
        assert held


@pytest.mark.parametrize("how", ["trusted"])
def test_the_guard_bounds_an_exempt_source_for_as_long_as_it_sits_there(pair: Pair, how: str) -> None:
    pair.sshd(STARTUPS)
    with guarded(pair, f'[ssh]\ntrusted = ["{FILLER}"]\n'):
        held: list[socket.socket] = []
        until = time.monotonic() + 12
        most = 0
        while time.monotonic() < until:
            held += sit(pair, [FILLER] * 3)
            most = max(most, inside(pair))
            time.sleep(0.3)
        assert most <= 4
        late = begun(pair, FILLER)
        late.settimeout(30)
        assert late.recv(8), "who shares its address gets in when the guard has ended one"


def test_who_logs_in_gives_everything_back(pair: Pair) -> None:
    sshd = pair.sshd(STARTUPS)
    with guarded(pair, f'[ssh]\ntrusted = ["{FILLER}"]\n'), sessions(pair, sshd, FILLER, 4), sessions(pair, sshd, "198.19.5.1", 2):
        wait_for(lambda: places(pair) == 0, "no place is held by a session", 20)
        assert sshd.login("198.19.5.1", timeout=10)
        assert sshd.login(FILLER, timeout=10)


# -- IPv6: the limit of a /48


def sixes(pair: Pair, count: int) -> int:
    """How many new /64s of one /48 get in, one after the other."""
    return sum(pair.client.banner(f"2001:db8:102:{n:x}::1", SERVER6, timeout=0.5) for n in range(count))


def test_a_neighbour_does_not_use_up_the_limit_of_a_48(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nwide6 = "8 per 60s"\n')
    assert sixes(pair, 20) == 20


def test_the_guard_says_where_a_48_is_crowded(pair: Pair) -> None:
    pair.sshd()
    with guarding(pair, '[ssh]\nwide6 = "8 per 60s"\n[guard]\nmode = "observe"\n') as guard:
        for n in range(8):
            appended(guard.log, line(f"2001:db8:102:{n:x}::1"))
        wait_for(lambda: "2001:db8:102::" in pair.server.sh("nft", "list", "set", "inet", "quietgate", "crowded6"), "it is said", 10)
        assert sixes(pair, 12) == 8
        assert pair.client.banner("2001:db8:103:1::1", SERVER6), "the next /48 is another"
