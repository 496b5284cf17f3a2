"""Attacks on the limit, against a real sshd: each gains nothing, and succeeds as soon as its remedy is taken out.

A fork of sshd is one connection that an attacker may guess a password on. Weakened rulesets are the real one with
rules deleted or replaced in the kernel.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import time

import pytest

from tests.kernel.attack import (
    BOUND,
    Hand,
    first,
    half_open,
    instead,
    mute,
    opened,
    settled,
    slots,
    stranger,
    strangers,
    trust_conntrack,
    without,
)
from tests.kernel.lab import SERVER4, Pair, Sshd, Wire, wait_for

listeners = pytest.mark.parametrize("options", [(), BOUND], ids=["any", "bound"])


# -- the same source port again, inside the old conntrack entry


def garbage(pair: Pair, sport: int, times: int) -> None:
    """Connect from one port, make sshd reset the connection, and at once again."""
    for _ in range(times):
        s = pair.client.connect(("198.19.0.9", sport), SERVER4, 22, timeout=0.1)
        if s is not None:
            with s, contextlib.suppress(OSError):
                s.sendall(b"x\r\n" * 5000)  # sshd closes at the first line, with the rest unread: a reset
                while s.recv(4096):
                    pass


def test_the_same_source_port_again(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    garbage(pair, 40000, 20)
    assert settled(sshd) == 5


def test_the_same_source_port_again_gains_where_conntrack_is_trusted(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    trust_conntrack(pair)
    garbage(pair, 40000, 20)
    assert settled(sshd) > 10


# -- SYN cookies: the last packet of a handshake late, or again


@pytest.fixture
def cookies(pair: Pair) -> Pair:
    """A server that answers every SYN with a cookie, and addresses for the attacker."""
    pair.server.sysctl("net.ipv4.tcp_syncookies", 2)
    strangers(pair)
    return pair


def reset_before_the_ack(wire: Wire, count: int, start: int) -> list[Hand]:
    """SYN, SYN-ACK, RST: the cookie is in hand, and conntrack's entry is closing."""
    hands = [Hand(wire, stranger(n), 4000) for n in range(start, start + count)]
    opened(hands)
    for hand in hands:
        hand.send("rst")
    return hands


@pytest.mark.parametrize(
    ("options", "remedies"),
    [
        pytest.param((), ("ssh.stray", "ssh.unknown"), id="any"),
        pytest.param(BOUND, ("ssh.unknown",), id="bound", marks=pytest.mark.long),
    ],
)
def test_the_ack_of_a_cookie_after_its_entry_is_gone(cookies: Pair, options: tuple[str, ...], remedies: tuple[str, ...]) -> None:
    sshd = cookies.sshd(*options)
    cookies.up()
    with Wire(cookies) as wire:
        late, later = reset_before_the_ack(wire, 40, 0), reset_before_the_ack(wire, 40, 40)
        time.sleep(11)  # conntrack keeps a reset connection for 10 s
        for hand in late:
            hand.send("ack")
        assert settled(sshd) == 0
        without(cookies, *remedies)
        for hand in later:
            hand.send("ack")
        assert settled(sshd) == 40
        assert cookies.counters()["ssh_counted"] == 0


@listeners
def test_the_ack_of_a_cookie_while_its_entry_closes(cookies: Pair, options: tuple[str, ...]) -> None:
    sshd = cookies.sshd(*options)
    cookies.up()
    with Wire(cookies) as wire:
        for hand in reset_before_the_ack(wire, 40, 0):
            hand.send("ack")
        assert settled(sshd) == 0
        without(cookies, "ssh.unproven", "ssh.stray")
        for hand in reset_before_the_ack(wire, 40, 40):
            hand.send("ack")
        assert settled(sshd) == 40


@listeners
@pytest.mark.parametrize("ending", ["reset", "closed"])
def test_the_ack_of_a_cookie_again_and_again(cookies: Pair, options: tuple[str, ...], ending: str) -> None:
    """Without the reserve: where a place is held, a reset that may end nothing is dropped."""
    sshd = cookies.sshd(*options)
    cookies.up("[ssh]\nreserve = 0\n")
    with Wire(cookies) as wire:
        hand = counted_and_over(sshd, wire, 4000, ending)
        for _ in range(20):
            hand.send("ack")
        assert settled(sshd) == 1
        without(cookies, "ssh.stray", "ssh.unknown")
        hand = counted_and_over(sshd, wire, 4001, ending)
        for _ in range(6):
            forks = sshd.forks()
            hand.send("ack")
            one_more(sshd, forks)
            hand.send("rst")
        assert cookies.counters()["ssh_counted"] == 2


def one_more(sshd: Sshd, forks: int) -> None:
    wait_for(lambda: sshd.forks() > forks, "sshd accepts another connection", 2)


def counted_and_over(sshd: Sshd, wire: Wire, sport: int, ending: str) -> Hand:
    """A connection that took its place as it should, and has ended."""
    hand = Hand(wire, stranger(1), sport)
    forks = sshd.forks()
    assert hand.open()
    hand.send("ack")
    one_more(sshd, forks)
    if ending == "reset":
        hand.send("rst")
    else:
        hand.finish()
    return hand


# -- two CPUs take the last place of a source at the same instant


def both_at_once(pair: Pair, wire: Wire, sources: int) -> None:
    """Each source has one place of two left, and two handshakes whose last ACKs come on two CPUs at once."""
    earlier = [Hand(wire, stranger(n), 4000) for n in range(sources)]
    opened(earlier)
    for hand in earlier:
        hand.send("ack")
    assert pair.counters()["ssh_counted"] == sources
    sides = [[Hand(wire, stranger(n), port) for n in range(sources)] for port in (4001, 4002)]
    opened([*sides[0], *sides[1]])
    ahead = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    assert len(cpus) == 2, "this attack takes two CPUs"
    children = []
    for me, other in ((0, 1), (1, 0)):
        frames = [hand.packet("ack") for hand in sides[me]]
        if (child := os.fork()) == 0:
            try:
                os.sched_setaffinity(0, {cpus[me]})  # a veth delivers on the CPU that sends
                for turn, frame in enumerate(frames, 1):
                    ahead[me] = turn
                    until = time.monotonic() + 1
                    while ahead[other] < turn and time.monotonic() < until:
                        pass
                    wire.send(frame)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def listen(pair: Pair) -> socket.socket:
    """A bare listener on port 22: a thousand forks of sshd would measure nothing but themselves."""
    with pair.server.inside():
        listener = socket.socket()
    listener.bind(("0.0.0.0", 22))
    listener.listen(4096)
    return listener


def test_two_cpus_take_the_last_place_at_once(pair: Pair) -> None:
    strangers(pair)
    with listen(pair), Wire(pair) as wire:
        pair.up('[ssh]\nports = [22]\nlimit = "2 per 60s"\nreserve = 0\n')
        both_at_once(pair, wire, 500)
        counted = pair.counters()
    assert (counted["ssh_counted"], counted["ssh_refused"]) == (1000, 500), "no source has three"


def test_two_cpus_take_the_last_place_at_once_gains_without_atomic_slots(pair: Pair) -> None:
    strangers(pair)
    with listen(pair), Wire(pair) as wire:
        pair.up('[ssh]\nports = [22]\nlimit = "2 per 60s"\nreserve = 0\n')
        for index, name in enumerate(slots(pair), 1):
            instead(pair, f"ssh.slot4.{index}", f'ip saddr != @{name} add @{name} {{ ip saddr }} counter name "ssh_counted" accept')
        both_at_once(pair, wire, 500)  # of 500 sources, 100 to 220 had one too many on two CPUs
        assert pair.counters()["ssh_counted"] > 1000


# -- all SYNs first, then all ACKs


def syns_then_acks(pair: Pair, wire: Wire) -> None:
    """A hundred half-open connections of one source, then a hundred ACKs; then its kernel answers as kernels do."""
    hands = [Hand(wire, "198.19.0.9", 20000 + n) for n in range(100)]
    with mute(pair):
        opened(hands)
        for hand in hands:
            hand.send("ack")


def test_all_syns_first(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    with Wire(pair) as wire:
        syns_then_acks(pair, wire)
    wait_for(lambda: half_open(pair) == 0, "no half-open socket is left", 2)
    assert settled(sshd) == 5


def test_all_syns_first_leaves_sockets_where_resets_do_not_pass(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    without(pair, "ssh.abort")
    with Wire(pair) as wire:
        syns_then_acks(pair, wire)
    with pytest.raises(AssertionError, match="in vain"):
        wait_for(lambda: half_open(pair) < 90, "no half-open socket is left", 2)
    assert settled(sshd) == 5


def test_all_syns_first_gains_where_the_third_packet_is_not_counted(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    without(pair, "ssh.count", "ssh.unproven")
    with Wire(pair) as wire:
        syns_then_acks(pair, wire)
    wait_for(lambda: sshd.forks() == 100, "a hundred forks")


# -- forged packets in a victim's name


def forge(pair: Pair, wire: Wire, victim: str) -> None:
    """SYNs, then ACKs that guess the server's number. The victim does not see them, or is switched off."""
    hands = [Hand(wire, victim, 20000 + n, theirs=n * 7919) for n in range(200)]
    with mute(pair):
        for hand in hands:
            hand.syn()
        for hand in hands:
            hand.send("ack")
            hand.send("ack", 123456, b"x")


def reaches(pair: Pair, source: str, times: int) -> list[bool]:
    return [pair.client.banner(source, SERVER4, timeout=1.0) for _ in range(times)]


def test_forged_packets_cost_their_victim_nothing(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    with Wire(pair) as wire:
        forge(pair, wire, "198.19.0.9")
    assert settled(sshd) == 0
    assert reaches(pair, "198.19.0.9", 7) == [True] * 5 + [False] * 2


def test_forged_packets_shut_their_victim_out_where_syns_count(pair: Pair) -> None:
    pair.sshd()
    pair.up()
    first(pair, "ssh_gate4", *(f"add @{name} {{ ip saddr limit rate 1/week burst 1 packets }} accept" for name in slots(pair)))
    with Wire(pair) as wire:
        forge(pair, wire, "198.19.0.9")
    assert reaches(pair, "198.19.0.9", 3) == [False] * 3


# -- a crowd: the attacker's places are not forgotten


def crowd(pair: Pair, wire: Wire, count: int, start: int = 0, each: int = 1) -> None:
    """Complete handshakes of many sources, each reset at once."""
    hands = [Hand(wire, stranger(start + n), 4000 + turn) for n in range(count) for turn in range(each)]
    for at in range(0, len(hands), 50):
        some = hands[at : at + 50]
        opened(some)
        for hand in some:
            hand.send("ack")
            hand.send("rst")
        wait_for(lambda: waiting(pair) == 0, "sshd accepts them all")


def waiting(pair: Pair) -> int:
    """Connections that sshd has not accepted yet: a full queue would drop the next SYNs."""
    return sum(int(line.split()[1]) for line in pair.server.sh("ss", "-Hltn").splitlines())


def test_a_crowd_does_not_evict_an_attacker(pair: Pair) -> None:
    pair.sshd()
    strangers(pair)
    pair.up("[ssh]\nreserve = 0\n")  # the limit alone: what strangers may hold in sshd is another matter
    assert reaches(pair, "198.19.0.9", 6) == [True] * 5 + [False]
    assert reaches(pair, "198.19.0.10", 3) == [True] * 3
    with Wire(pair) as wire:
        crowd(pair, wire, 1000)
    assert pair.counters()["ssh_counted"] == 1008
    assert reaches(pair, "198.19.0.9", 3) == [False] * 3
    assert reaches(pair, "198.19.0.10", 3) == [True, True, False]
    # Sets of nftables evict nobody, so no rule can be taken out here. What a table that evicts would do, by hand:
    for name in slots(pair):
        pair.server.nft(f"delete element inet quietgate {name} {{ 198.19.0.9 }}\n")
    assert reaches(pair, "198.19.0.9", 1) == [True]


FULL = '[ssh]\nreserve = 0\nslots = 16\nlimit = "2 per 60s"\non_full = "3 per 60s"\n'


def fill_and_attack(pair: Pair, wire: Wire) -> None:
    """Fifteen sources fill the sets but for one place; the sixteenth attacks from within: all SYNs first."""
    attacker = [Hand(wire, stranger(50), 5000 + n) for n in range(20)]
    opened(attacker)
    crowd(pair, wire, 15, each=2)
    for hand in attacker:
        hand.send("ack")


def test_a_full_set_limits_those_it_holds_and_lets_others_in_at_a_rate(pair: Pair) -> None:
    sshd = pair.sshd()
    strangers(pair)
    pair.up(FULL)
    with Wire(pair) as wire:
        fill_and_attack(pair, wire)
        counted = pair.counters()
        assert (counted["ssh_counted"], counted["ssh_refused"], counted["ssh_overflow"]) == (32, 18, 0)
        crowd(pair, wire, 10, start=100)
        counted = pair.counters()
        assert (counted["ssh_counted"], counted["ssh_refused"], counted["ssh_overflow"]) == (32, 25, 3)
    # A child of sshd that finds its peer gone may leave no line.
    assert settled(sshd) <= 35


def test_a_full_set_is_no_limit_where_its_overflow_does_not_ask(pair: Pair) -> None:
    pair.sshd()
    strangers(pair)
    pair.up(FULL)
    instead(pair, "ssh.overflow4", 'limit rate 3/minute burst 3 packets counter name "ssh_overflow" accept comment "qg:ssh.overflow4"')
    with Wire(pair) as wire:
        fill_and_attack(pair, wire)
        assert pair.counters()["ssh_overflow"] == 3, "the attacker, whom the set holds, took what is for others"
        instead(pair, "ssh.overflow4", f'ip saddr != @{slots(pair)[-1]} counter name "ssh_overflow" accept')
        crowd(pair, wire, 10, start=100)
        assert pair.counters()["ssh_overflow"] == 13, "every new source passes"
