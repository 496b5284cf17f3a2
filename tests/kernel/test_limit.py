"""The limit, with real packets: never more than N in any window, N again as soon as it allows."""

from __future__ import annotations

import time

import pytest

from tests.kernel.lab import CLIENT4, SERVER4, SERVER6, Pair, wait_for

JIFFY = 0.011  # HZ=100 at the slowest, and a little for the clock reading around connect()


def hammer(pair: Pair, seconds: float, sources: list[str], target: str, ports: tuple[int, ...] = (22,), pause: float = 0.02) -> list[float]:
    """Connect without rest for a time; the moments at which sshd answered."""
    accepted = []
    begin = time.monotonic()
    turn = 0
    while time.monotonic() - begin < seconds:
        before = time.monotonic()
        if pair.client.banner(sources[turn % len(sources)], target, ports[turn % len(ports)], timeout=pause):
            accepted.append(before)
        turn += 1
        time.sleep(max(0.0, pause - (time.monotonic() - before)))
    return accepted


def most_in(moments: list[float], window: float) -> int:
    """The most moments that any window of that length holds."""
    return max((sum(1 for m in moments if start <= m < start + window) for start in moments), default=0)


def assert_exact(moments: list[float], seconds: float, window: float, count: int) -> None:
    assert most_in(moments, window - JIFFY) <= count, moments
    # and as many again as soon as the window allows
    assert len(moments) >= count * int(seconds / (window + 0.5)), moments


def test_never_more_than_five_in_any_window(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "5 per 3s"\n')
    moments = hammer(pair, 8, ["198.19.0.9"], SERVER4)
    assert_exact(moments, 8, 3, 5)


@pytest.mark.long
def test_never_more_than_five_in_any_minute(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    moments = hammer(pair, 125, ["198.19.0.9"], SERVER4)
    assert_exact(moments, 125, 60, 5)
    assert len(moments) == 15


def test_a_fresh_address_of_the_same_network_for_each_try(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "5 per 3s"\n')
    sources = [f"2001:db8:100:7::{n:x}" for n in range(1, 2000)]
    moments = hammer(pair, 8, sources, SERVER6)
    assert_exact(moments, 8, 3, 5)
    assert pair.client.banner("2001:db8:100:8::1", SERVER6), "the next /64 is another source"


@pytest.mark.long
def test_a_fresh_address_for_each_try_for_two_minutes(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    moments = hammer(pair, 125, [f"2001:db8:100:7::{n:x}" for n in range(1, 20000)], SERVER6)
    assert_exact(moments, 125, 60, 5)


def test_several_ssh_ports_share_one_budget(pair: Pair) -> None:
    pair.sshd()
    pair.sshd(port=2222)
    pair.up('[ssh]\nports = [22, 2222]\nlimit = "5 per 3s"\n')
    moments = hammer(pair, 5, ["198.19.0.9"], SERVER4, ports=(22, 2222))
    assert most_in(moments, 3 - JIFFY) == 5


def test_another_source_is_independent(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    assert [pair.client.banner("198.19.0.9", SERVER4, timeout=0.2) for _ in range(9)] == [True] * 5 + [False] * 4
    assert pair.client.banner("198.19.0.10", SERVER4)


def test_retries_do_not_extend_the_block(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "2 per 3s"\n')
    begin = time.monotonic()
    assert all(pair.client.banner("198.19.0.9", SERVER4) for _ in range(2))
    wait_for(lambda: pair.client.banner("198.19.0.9", SERVER4, timeout=0.1), "in again while retrying", 6)
    assert 2.9 <= time.monotonic() - begin < 4


def test_retries_extend_the_block_when_strict(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "2 per 3s"\nstrict = true\n')
    assert all(pair.client.banner("198.19.0.9", SERVER4) for _ in range(2))
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert not pair.client.banner("198.19.0.9", SERVER4, timeout=0.2)
    last = time.monotonic()
    quiet_until = last + 3.3
    wait_for(lambda: time.monotonic() > quiet_until, "three quiet seconds", 5)
    assert pair.client.banner("198.19.0.9", SERVER4)


def test_two_neighbours_on_the_link_do_not_share_a_budget(pair: Pair) -> None:
    pair.sshd()
    for address in ("fe80::aa:1", "fe80::aa:2"):
        pair.client.sh("ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    pair.server.sh("ip", "addr", "add", "fe80::5e:1/64", "dev", "eth0", "nodad")
    pair.up('[ssh]\nlimit = "2 per 1m"\n')
    scope = int(pair.client.sh("cat", "/sys/class/net/eth0/ifindex") or 0)

    def reaches(source: str) -> bool:
        return link_local_banner(pair, source, scope)

    assert [reaches("fe80::aa:1") for _ in range(3)] == [True, True, False]
    assert [reaches("fe80::aa:2") for _ in range(3)] == [True, True, False]


def link_local_banner(pair: Pair, source: str, scope: int) -> bool:
    import socket

    with pair.client.inside():
        s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        scope = socket.if_nametoindex("eth0")
    s.settimeout(0.5)
    with s:
        try:
            s.bind((source, 0, 0, scope))
            s.connect(("fe80::5e:1", 22, 0, scope))
            return bool(s.recv(64))
        except OSError:
            return False


def test_two_hosts_behind_nat64_do_not_share_a_budget(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "2 per 1m"\n')
    for host in ("64:ff9b::c633:6401", "64:ff9b::c633:6402"):
        assert [pair.client.banner(host, SERVER6, timeout=0.3) for _ in range(3)] == [True, True, False]


def test_one_customers_prefix_is_limited_as_a_whole(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nwide6 = "8 per 60s"\n')
    pair.server.sh("nft", "add element inet quietgate crowded6 { 2001:db8:100:: timeout 1h }")  # the guard's word
    got = [pair.client.banner(f"2001:db8:100:{n:x}::1", SERVER6, timeout=0.3) for n in range(12)]
    assert got == [True] * 8 + [False] * 4
    assert pair.client.banner("2001:db8:101::1", SERVER6), "another /48 is another customer"


def test_trusted_is_not_limited(pair: Pair) -> None:
    pair.sshd()
    pair.up(f'[ssh]\ntrusted = ["198.19.0.7", "{CLIENT4}"]\n')
    assert all(pair.client.banner("198.19.0.7", SERVER4) for _ in range(20))


def test_allow_is_not_limited_either(pair: Pair) -> None:
    pair.sshd()
    pair.up('[firewall]\nallow = ["198.19.0.0/28"]\n')
    assert all(pair.client.banner("198.19.0.7", SERVER4) for _ in range(20))


def test_only_from_may_reach_ssh_and_trusted_always(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nfrom = ["198.19.1.0/24"]\ntrusted = ["198.19.2.1"]\n')
    assert pair.client.banner("198.19.1.5", SERVER4)
    assert pair.client.banner("198.19.2.1", SERVER4)
    assert not pair.client.banner("198.19.3.1", SERVER4, timeout=0.2)
    assert not pair.client.banner("2001:db8:100::9", SERVER6, timeout=0.2)


@pytest.mark.parametrize(("named", "over"), [("wg0", "wg0"), ("tail*", "tailscale0")])
def test_over_named_interfaces_ssh_is_reached_from_anywhere(pair: Pair, named: str, over: str) -> None:
    pair.sshd()
    pair.server.sh("ip", "link", "add", over, "type", "veth", "peer", "name", "tunnel", "netns", pair.client.name)
    for host, name, address in ((pair.server, over, "10.9.0.1"), (pair.client, "tunnel", "10.9.0.2")):
        host.sh("ip", "link", "set", name, "up")
        host.sh("ip", "addr", "add", f"{address}/24", "dev", name)
        host.sh("ip", "addr", "add", f"fd09::{address[-1]}/64", "dev", name, "nodad")
    pair.up(f'[ssh]\nfrom = []\ninterfaces = ["eth7", "{named}"]\n')
    assert pair.client.banner("10.9.0.2", "10.9.0.1")
    assert pair.client.banner("fd09::2", "fd09::1")
    assert not pair.client.banner("198.19.3.1", SERVER4, timeout=0.2)
    assert not pair.client.banner("2001:db8:100::9", SERVER6, timeout=0.2)
    assert [pair.client.banner("10.9.0.2", "10.9.0.1", timeout=0.2) for _ in range(7)] == [True] * 4 + [False] * 3, "the limit holds there"
    assert f"whoever comes over eth7, {named}; limit 5 per 1m" in pair.quietgate("status")
    assert "is let in" in pair.quietgate("why", "10.9.0.3")
    assert "is dropped, by rule ssh.from4" in pair.quietgate("why", "198.19.3.1")
    pair.policy('[ssh]\ninterfaces = ["wg0"]\n')
    assert 'ssh.from is "anywhere", so ssh.interfaces restricts nothing' in pair.quietgate("check")


def test_a_full_slot_set_lets_new_sources_in_at_a_rate_and_limits_those_it_holds(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nslots = 16\nlimit = "2 per 1m"\non_full = "3 per 1m"\n')
    held = [f"198.19.0.{n}" for n in range(1, 17)]
    assert all(pair.client.banner(s, SERVER4) for s in held for _ in range(2))
    got = [pair.client.banner(f"198.19.1.{n}", SERVER4, timeout=0.2) for n in range(6)]
    assert sum(got) == 3, got
    assert pair.counters()["ssh_overflow"] == 3
    assert not any(pair.client.banner(s, SERVER4, timeout=0.1) for s in held[:4])


def test_a_full_slot_set_can_drop(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nslots = 16\nlimit = "1 per 1m"\non_full = "drop"\n')
    assert all(pair.client.banner(f"198.19.0.{n}", SERVER4) for n in range(1, 17))
    assert not pair.client.banner("198.19.1.1", SERVER4, timeout=0.3)


def test_a_source_without_a_free_place_is_dropped_at_its_syn(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "3 per 1m"\n')
    for source, target in (("198.19.0.9", SERVER4), ("2001:db8:100::9", SERVER6)):
        before = pair.counters()
        assert [pair.client.banner(source, target, timeout=0.2) for _ in range(5)] == [True] * 3 + [False] * 2
        after = pair.counters()
        assert after["ssh_limited"] - before["ssh_limited"] == 2
        assert after["ssh_refused"] == before["ssh_refused"]
