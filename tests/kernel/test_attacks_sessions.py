"""Attacks on sessions that are open: a forged packet or a first load ends none, and gains nothing from them."""

from __future__ import annotations

import time

import pytest

from tests.kernel.attack import BOUND, Hand, Session, instead, sessions, settled, stranger, strangers, without
from tests.kernel.lab import SERVER4, Pair, Wire, tcp_packet, wait_for

ADMIN = "198.19.0.9"
CLOSED = '[firewall]\ndefault = "drop"\noutput = "drop"\n'
listeners = pytest.mark.parametrize("options", [(), BOUND], ids=["any", "bound"])


def echoes(open_now: list[Session], within: float = 3.0) -> list[bool]:
    return [session.echoes(within) for session in open_now]


# -- sessions older than the load, of which conntrack knows nothing


@listeners
@pytest.mark.parametrize("policy", ["", CLOSED], ids=["default", "closed"])
def test_seven_sessions_older_than_the_load_live_on(pair: Pair, options: tuple[str, ...], policy: str) -> None:
    sshd = pair.sshd(*options)
    with sessions(pair, sshd, ADMIN, 7) as open_now:
        pair.up(policy)
        for _ in range(3):
            assert echoes(open_now) == [True] * 7
        assert pair.counters()["ssh_counted"] == 0


# Whoever is on the floor has rules of their own.
NO_FLOOR = '[lockout]\nadmins = ["nobody"]\n'


@pytest.mark.parametrize(("options", "remedies"), [((), ("ssh.live4", "ssh.socket")), (BOUND, ("ssh.live4",))], ids=["any", "bound"])
def test_they_die_where_only_conntrack_is_asked(pair: Pair, options: tuple[str, ...], remedies: tuple[str, ...]) -> None:
    sshd = pair.sshd(*options)
    with sessions(pair, sshd, ADMIN, 2) as open_now:
        pair.up(NO_FLOOR)
        without(pair, *remedies)
        assert echoes(open_now, 0.5) == [False] * 2


def test_they_die_where_a_new_entry_reads_as_closing(pair: Pair) -> None:
    sshd = pair.sshd(*BOUND)
    with sessions(pair, sshd, ADMIN, 2) as open_now:
        pair.up(NO_FLOOR)
        stray = "tcp dport 22 ct direction original ct status & confirmed == 0 tcp flags & (fin | syn | rst | ack) == ack drop"
        instead(pair, "ssh.stray", stray)
        assert echoes(open_now, 0.5) == [False] * 2


@pytest.mark.long
def test_an_ended_session_older_than_the_load_is_no_way_in(pair: Pair) -> None:
    strangers(pair)
    sshd = pair.sshd(*BOUND)
    with Wire(pair) as wire:
        hands = [Hand(wire, stranger(n), 4000) for n in range(2)]
        for hand in hands:
            assert hand.open()
            hand.send("ack")
        wait_for(lambda: sshd.forks() == 2, "two connections before the load")
        pair.server.sysctl("net.ipv4.tcp_syncookies", 2)
        pair.up()
        for hand in hands:
            hand.send("rst")
        assert not hands[0].open(within=0.3), "no cookie for the tuple of an old session"
        without(pair, "ssh.reused4", "ssh.left4")
        assert hands[1].open()
        hands[1].send("rst")
        time.sleep(11)  # conntrack keeps a reset connection for 10 s
        hands[0].send("ack")
        assert settled(sshd) == 2
        hands[1].send("ack")
        wait_for(lambda: sshd.forks() == 3, "the cookie got in by the tuple of the old session")
        assert pair.counters()["ssh_counted"] == 0


# -- forged SYNs on the tuple of a session


def forge_syns(wire: Wire, open_now: list[Session], seq: int = 77777) -> None:
    for session in open_now:
        wire.send(tcp_packet(ADMIN, SERVER4, session.sport, 22, "syn", seq))


@listeners
@pytest.mark.parametrize("limit", [2, 5], ids=["full", "free"])
def test_a_forged_syn_on_a_session_costs_nothing(pair: Pair, options: tuple[str, ...], limit: int) -> None:
    sshd = pair.sshd(*options)
    pair.up(f'[ssh]\nlimit = "{limit} per 60s"\n')
    with sessions(pair, sshd, ADMIN, 2) as open_now, Wire(pair) as wire:
        for turn in range(5):
            forge_syns(wire, open_now, 77777 + turn)
            assert echoes(open_now) == [True, True]
        counted = pair.counters()
        assert (counted["ssh_counted"], counted["ssh_refused"], counted["ssh_again"]) == (2, 0, 10)
        free = limit - 2
        assert [pair.client.banner(ADMIN, SERVER4, timeout=0.2) for _ in range(free + 1)] == [True] * free + [False]


@listeners
def test_a_forged_syn_on_a_session_costs_a_place_and_its_life_where_it_is_marked(pair: Pair, options: tuple[str, ...]) -> None:
    sshd = pair.sshd(*options)
    pair.up('[ssh]\nlimit = "3 per 60s"\n')
    without(pair, "ssh.again", *(["ssh.reused4", "ssh.older4"] if options else []))  # behind a bound listener each is enough
    with sessions(pair, sshd, ADMIN, 2) as open_now, Wire(pair) as wire:
        forge_syns(wire, open_now)
        assert echoes(open_now) == [True, False]
        assert pair.counters()["ssh_counted"] == 3


@listeners
def test_a_forged_syn_on_a_session_older_than_the_load(pair: Pair, options: tuple[str, ...]) -> None:
    sshd = pair.sshd(*options)
    with sessions(pair, sshd, ADMIN, 2) as open_now, Wire(pair) as wire:
        pair.up()
        for turn in range(5):
            forge_syns(wire, open_now, 77777 + turn)
            assert echoes(open_now) == [True, True]
        assert pair.counters()["ssh_counted"] == 0
