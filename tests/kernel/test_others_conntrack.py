"""Beside tools that write into conntrack: whatever they do to an entry's mark, the limit counts, and nobody loses a session.

Each table below is one that multi-WAN set-ups, VPN scripts or hardening guides load.
"""

from __future__ import annotations

import socket
import time

import pytest

from tests.kernel.attack import BOUND, Hand, sessions, settled, stranger, strangers, without
from tests.kernel.lab import SERVER4, SERVER6, Pair, Wire
from tests.kernel.test_attacks import garbage, one_more

pytestmark = pytest.mark.long

ATTACKER, PERSON = "198.19.0.9", "198.19.0.10"
CLOSED = '[firewall]\ndefault = "drop"\noutput = "drop"\n'
listeners = pytest.mark.parametrize("options", [(), BOUND], ids=["any", "bound"])


def hooked(*chains: tuple[str, str, str]) -> str:
    """A table of somebody else's: hook, priority and rule of each chain."""
    text = "".join(f" chain {h} {{ type filter hook {h} priority {p}; policy accept;\n {rule}\n }}\n" for h, p, rule in chains)
    return f"table inet other {{\n{text}}}\n"


MARKS = {
    "prerouting": hooked(("prerouting", "mangle", "ct mark set 0x1")),
    "input-before": hooked(("input", "-10", "ct mark set 0x1")),
    "input-after": hooked(("input", "10", "ct mark set 0x1")),
    "output": hooked(("output", "mangle", "ct mark set 0x1")),
    "postrouting": hooked(("postrouting", "mangle", "ct mark set 0x1")),
    "all-bits": hooked(("prerouting", "mangle", "ct mark set 0xffffffff")),
    "none": hooked(("prerouting", "mangle", "ct mark set 0x0"), ("output", "mangle", "ct mark set 0x0")),
    "saved": hooked(("prerouting", "mangle", "meta mark set ct mark"), ("postrouting", "mangle", "ct mark set meta mark")),
    "new-only": hooked(("postrouting", "mangle", "ct mark set 0x1"), ("input", "10", "ct state new ct mark set 0x2")),
    "labels": hooked(("prerouting", "mangle", "ct label set 3"), ("output", "mangle", "ct label set 7")),
}


@pytest.mark.parametrize(
    "what", [pytest.param(w, marks=[] if w in ("prerouting", "input-after", "saved") else pytest.mark.long) for w in MARKS]
)
def test_the_limit_counts_whatever_is_written_over_marks(pair: Pair, what: str) -> None:
    sshd = pair.sshd()
    pair.up()
    pair.server.nft(MARKS[what])
    assert [pair.client.banner(ATTACKER, SERVER4, timeout=0.2) for _ in range(20)] == [True] * 5 + [False] * 15
    assert [pair.client.banner("2001:db8:100:7::7", SERVER6, timeout=0.2) for _ in range(6)] == [True] * 5 + [False]
    assert settled(sshd) == 10
    with sessions(pair, sshd, PERSON, 2) as open_now:
        for _ in range(12):
            assert [s.echoes() for s in open_now] == [True, True], "a session is counted once, not with each packet"
    assert pair.counters()["ssh_counted"] == 12


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_connmark_of_iptables(pair: Pair, backend: str) -> None:
    sshd = pair.sshd()
    program = f"iptables-{backend}"
    if pair.server.sh(program, "-t", "mangle", "-S", check=False) == "":
        pytest.skip(f"this kernel has no {program}")
    pair.up()
    pair.server.sh(program, "-t", "mangle", "-A", "PREROUTING", "-j", "CONNMARK", "--set-mark", "1")
    pair.server.sh(program, "-t", "mangle", "-A", "OUTPUT", "-j", "CONNMARK", "--restore-mark")
    assert [pair.client.banner(ATTACKER, SERVER4, timeout=0.2) for _ in range(20)] == [True] * 5 + [False] * 15
    assert settled(sshd) == 5


@listeners
def test_the_same_source_port_again_beside_marks(pair: Pair, options: tuple[str, ...]) -> None:
    sshd = pair.sshd(*options)
    pair.up()
    pair.server.nft(MARKS["prerouting"])
    garbage(pair, 40000, 20)
    assert settled(sshd) == 5


def test_the_same_source_port_again_gains_where_it_is_not_noted(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up()
    without(pair, "ssh.reopen", "ssh.noreopen")
    garbage(pair, 40000, 20)
    assert settled(sshd) > 10


def test_refused_once_is_refused(pair: Pair) -> None:
    """A client that ignores the reset and goes on gets nothing, and is said once."""
    sshd = pair.sshd()
    strangers(pair)
    pair.up('[ssh]\nlimit = "1 per 60s"\n')
    with Wire(pair) as wire:
        hands = [Hand(wire, stranger(1), 4000 + n) for n in range(3)]
        for hand in hands:
            assert hand.open()
        for _ in range(5):
            for hand in hands:
                hand.send("ack")
        assert settled(sshd) == 1
        counted = pair.counters()
        assert (counted["ssh_counted"], counted["ssh_refused"]) == (1, 2)


# -- SYNPROXY: the handshake is its own, and comes to sshd by loopback


SYNPROXY = """tcp dport 22 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
tcp dport 22 ct state invalid drop"""


def synproxy(pair: Pair, priority: int) -> None:
    pair.server.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    pair.server.nft(hooked(("prerouting", "raw", "tcp dport 22 tcp flags syn notrack"), ("input", str(priority), SYNPROXY)))


@listeners
def test_the_limit_counts_behind_synproxy(pair: Pair, options: tuple[str, ...]) -> None:
    sshd = pair.sshd(*options)
    pair.up()
    synproxy(pair, -10)
    assert [pair.client.banner(ATTACKER, SERVER4, timeout=0.3) for _ in range(20)] == [True] * 5 + [False] * 15
    assert settled(sshd) == 5
    with sessions(pair, sshd, PERSON, 1) as (session,):
        for _ in range(8):
            assert session.echoes()
    assert pair.counters()["ssh_counted"] == 6


# -- a transparent proxy on this host: sshd hears its clients by loopback


def by_loopback(pair: Pair, source: str) -> bool:
    """What such a proxy does: a connection to sshd from its client's address (IP_TRANSPARENT)."""
    with pair.server.inside():
        s = socket.socket()
    with s:
        s.setsockopt(socket.SOL_IP, 19, 1)
        s.settimeout(0.5)
        s.bind((source, 0))
        try:
            s.connect((SERVER4, 22))
            return bool(s.recv(64))
        except OSError:
            return False


def test_each_client_of_a_transparent_proxy_has_its_own_limit(pair: Pair) -> None:
    pair.sshd()
    pair.server.sh("ip", "rule", "add", "fwmark", "1", "lookup", "100")
    pair.server.sh("ip", "route", "add", "local", "default", "dev", "lo", "table", "100")
    pair.server.nft(
        "table inet other {\n chain o { type route hook output priority -150;\n tcp sport 22 ip daddr 198.19.0.0/16 meta mark set 1\n }\n }\n"
    )
    pair.up()
    assert [by_loopback(pair, ATTACKER) for _ in range(7)] == [True] * 5 + [False] * 2
    assert by_loopback(pair, PERSON)
    with pair.server.inside():
        for _ in range(10):
            socket.create_connection(("127.0.0.1", 22), 1).close()
            socket.create_connection((SERVER4, 22), 1).close()


# -- conntrack forgets


def forget(pair: Pair) -> None:
    pair.server.sh("conntrack", "-F", check=False)


@listeners
@pytest.mark.parametrize("loose", [0, 1])
@pytest.mark.parametrize("older", [True, False], ids=["older", "newer"])
def test_a_session_lives_on_when_conntrack_forgets_it(pair: Pair, options: tuple[str, ...], loose: int, *, older: bool) -> None:
    sshd = pair.sshd(*options)
    pair.server.sysctl("net.netfilter.nf_conntrack_tcp_loose", loose)
    if not older:
        pair.up(CLOSED)
    with sessions(pair, sshd, ATTACKER, 2) as open_now:
        if older:
            pair.up(CLOSED)
            assert [s.echoes() for s in open_now] == [True, True]
        counted = pair.counters()["ssh_counted"]
        for _ in range(3):
            forget(pair)
            for _ in range(4):
                assert [s.echoes() for s in open_now] == [True, True]
        assert pair.counters()["ssh_counted"] == counted == (0 if older else 2)
        got = [pair.client.banner(ATTACKER, SERVER4, timeout=0.2) for _ in range(7)]
        # Who is logged in as root when the rules are loaded is an administrator, and not limited.
        assert got == ([True] * 7 if older else [True] * (5 - counted) + [False] * (2 + counted))


@listeners
def test_sessions_that_conntrack_knew_before_the_load_live_on(pair: Pair, options: tuple[str, ...]) -> None:
    """Their entries take no label: they are older than the first rule that sets one."""
    sshd = pair.sshd(*options)
    pair.server.nft(hooked(("input", "5", "ct state established accept")))
    with sessions(pair, sshd, ATTACKER, 3) as open_now:
        for policy in ('[ssh]\nlimit = "2 per 60s"\n', '[ssh]\nlimit = "1 per 60s"\n' + CLOSED):
            pair.up(policy)
            for _ in range(8):
                assert [s.echoes() for s in open_now] == [True] * 3
        assert pair.counters()["ssh_counted"] == 0
        pair.server.sh("nft", "flush", "ruleset")
        with sessions(pair, sshd, PERSON, 3) as more:
            pair.up('[ssh]\nlimit = "2 per 60s"\n')
            for _ in range(8):
                assert [s.echoes() for s in [*open_now, *more]] == [True] * 6


@pytest.mark.parametrize("remedy", ["", "ssh.older4"], ids=["whole", "without"])
def test_a_session_that_was_trusted_goes_on_as_a_stranger(pair: Pair, remedy: str) -> None:
    sshd = pair.sshd()
    pair.up(f'[ssh]\ntrusted = ["{PERSON}"]\n')
    with sessions(pair, sshd, PERSON, 3) as open_now:
        pair.up('[ssh]\nlimit = "1 per 60s"\n')
        if remedy:
            without(pair, remedy)
        for _ in range(4):
            assert [s.echoes() for s in open_now] == [True] * 3
        assert pair.counters()["ssh_counted"] == 0


def test_it_dies_behind_a_bound_listener_where_it_is_not_kept(pair: Pair) -> None:
    sshd = pair.sshd(*BOUND)
    pair.server.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)  # else an ACK of the server's own, sent late, opens the way again
    pair.up(CLOSED)
    without(pair, "ssh.keep4")
    with sessions(pair, sshd, ATTACKER, 1) as (session,):
        forget(pair)
        assert not session.echoes(0.5)


@listeners
@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_an_ended_connection_is_no_way_in(pair: Pair, options: tuple[str, ...], ending: str) -> None:
    """Its two ends, its label and its place in the sets are worth nothing to the next connection from there."""
    sshd = pair.sshd(*options)
    strangers(pair)
    pair.up('[ssh]\nlimit = "2 per 60s"\n')
    with Wire(pair) as wire:
        for turn in range(6):
            hand = Hand(wire, stranger(1), 4000)
            opened = hand.open(0.3)
            if not opened:
                continue
            forks = sshd.forks()
            hand.send("ack")
            if turn < 2:
                one_more(sshd, forks)
            if ending == "reset":
                hand.send("rst")
            else:
                hand.finish()
            time.sleep(0.05)
    assert settled(sshd) <= 2
    assert pair.counters()["ssh_counted"] <= 2
