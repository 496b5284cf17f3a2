"""Attacks on the strangers' places in sshd: a place ends when its connection does, and not before; nobody holds more than his share.

What counts is the kernel's own view: connections to sshd's port whose socket is open, beside the places in the set.
"""

from __future__ import annotations

import socket
import struct
import time

import pytest

from tests.kernel.attack import BOUND, SEQ, Hand, strangers
from tests.kernel.lab import SERVER4, Pair, Wire, tcp_packet

STARTUPS = "MaxStartups 10:30:60"
PLACES = 6  # strangers' part of ten
SHARE = 2  # of one network, of six
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


def reset_in_window(wire: Wire, number: int) -> None:
    hand = proven(wire, number)
    hand.send("rst", SEQ + 1 + 200)
    hand.send("rst ack", SEQ + 1 + 300)


def reset_behind_data(wire: Wire, number: int) -> None:
    """Data, and at once a reset with the number that the server acknowledged last: conntrack takes it for the end."""
    hand = proven(wire, number)
    hand.send("psh ack", data=b"SSH-2.0-x")
    hand.send("rst ack")


def refused_then_right(wire: Wire, number: int) -> None:
    """A third packet that acknowledges too little: the kernel answers with a reset, and the handshake goes on."""
    hand = Hand(wire, network(number), 4000)
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
