"""Clocks that jump, interfaces that come late or change their name: nobody is locked out, and nothing lasts for ever."""

from __future__ import annotations

import re
import time

import pytest

from tests.kernel.hosts import serve
from tests.kernel.lab import CLIENT4, SERVER4, Pair, wait_for, wrong_clock
from tests.kernel.people import ADMIN, PAM, have_logged_in, logged_in, verdict

KNOWN, STRANGER = "198.19.7.7", "198.19.0.9"
DAY = 86400
YEARS = 10 * 365 * DAY


def at_another_time(pair: Pair, offset: int, *words: str) -> None:
    """The command on a host whose wall clock is wrong by so many seconds; the kernel's own clock is not."""
    done = pair.run(*words, env=wrong_clock(pair.root, offset))
    assert done.returncode == 0, done.stdout + done.stderr


def left(pair: Pair, set_name: str, address: str) -> float:
    """Seconds that the kernel will hold an address; 0 where it does not."""
    listed = pair.server.sh("nft", "list", "set", "inet", "quietgate", set_name)
    found = re.search(re.escape(address) + r" timeout \S+ expires (\S+?)[ ,}]", listed + " ")
    if found is None:
        return 0.0
    units = {"y": 31536000.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(n) * units[u] for n, u in re.findall(r"(\d+)(ms|[ydhms])", found[1]))


def times(pair: Pair, source: str, tries: int = 8) -> int:
    return sum(pair.client.banner(source, SERVER4, timeout=0.2) for _ in range(tries))


# -- clocks


def test_known_lasts_as_long_in_the_kernel_as_since_the_login(pair: Pair) -> None:
    pair.sshd()
    have_logged_in(pair, ("anna", KNOWN, time.time() - 20 * DAY))
    pair.up("")
    assert 10 * DAY - 60 < left(pair, "known4_32", KNOWN) <= 10 * DAY


def test_who_is_known_for_some_seconds_more_is_a_stranger_then(pair: Pair) -> None:
    """The kernel counts by itself: no program runs at that moment."""
    pair.sshd()
    have_logged_in(pair, ("anna", KNOWN, time.time() - 30 * DAY + 12))
    pair.up("")
    assert left(pair, "known4_32", KNOWN) > 0
    wait_for(lambda: not left(pair, "known4_32", KNOWN), "forgotten", 20)
    assert times(pair, KNOWN) == 5


@pytest.mark.parametrize("offset", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_a_ban_that_was_made_by_a_wrong_clock_ends_in_time(pair: Pair, offset: int) -> None:
    pair.sshd()
    pair.up("")
    at_another_time(pair, offset, "ban", STRANGER, "--for", "2s")
    assert not pair.client.banner(STRANGER, SERVER4, timeout=0.2)
    wait_for(lambda: pair.client.banner(STRANGER, SERVER4, timeout=0.2), "the ban ends", 5)


@pytest.mark.parametrize("offset", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_a_clock_that_jumps_and_comes_back_does_no_lasting_harm(pair: Pair, offset: int) -> None:
    sshd = pair.sshd()
    have_logged_in(pair, ("anna", KNOWN, time.time() - DAY))
    pair.up("")
    pair.quietgate("ban", "198.19.4.1", "--for", "1h")
    pair.quietgate("ban", "198.19.4.2")

    at_another_time(pair, offset, "refresh")  # a clock without a battery, before its network time came
    assert sshd.login("198.19.0.77"), "nobody is locked out meanwhile"
    assert not pair.client.banner("198.19.4.2", SERVER4, timeout=0.2)

    pair.quietgate("refresh")
    assert 28 * DAY < left(pair, "known4_32", KNOWN) <= 29 * DAY
    assert times(pair, KNOWN) == 8
    assert 3500 < left(pair, "ban_host4_32", "198.19.4.1") <= 3600


@pytest.mark.parametrize("offset", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_a_ban_moves_with_a_clock_that_is_set(pair: Pair, offset: int) -> None:
    """Made by the wrong clock, it lasts as long by the right one: in the store, and so after a loss of the kernel's sets."""
    pair.sshd()
    pair.up("")
    at_another_time(pair, offset, "ban", "198.19.4.1", "--for", "1h")
    pair.quietgate("ban", "198.19.4.2")
    pair.server.sh("nft", "flush", "ruleset")
    pair.quietgate("up", "--now")
    assert 3500 < left(pair, "ban_host4_32", "198.19.4.1") <= 3600


@pytest.mark.parametrize("offset", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_an_up_under_a_wrong_clock_frees_nobody_who_is_banned_for_ever(pair: Pair, offset: int) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.4.1")
    pair.quietgate("ban", "198.19.4.2", "--for", "1h")
    pair.policy('[ssh]\nlimit = "6 per 60s"\n')
    at_another_time(pair, offset, "up", "--now")
    pair.policy("")
    pair.quietgate("up", "--now")
    assert not pair.client.banner("198.19.4.1", SERVER4, timeout=0.2)
    if offset < 0:  # ten years later an hour's ban has ended, as far as anybody can know
        assert 3500 < left(pair, "ban_host4_32", "198.19.4.2") <= 3600


def test_a_boot_under_a_wrong_clock_lets_everyone_in_who_got_in(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up("")
    pair.quietgate("down")
    at_another_time(pair, -YEARS, "boot")
    assert sshd.login("198.19.0.77")
    assert times(pair, STRANGER) == 5, "and the limit holds"


@pytest.mark.parametrize("offset", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_the_floor_is_a_day_of_the_kernels_and_never_less(pair: Pair, offset: int) -> None:
    sshd = pair.sshd(*PAM)
    with logged_in(sshd, ADMIN):
        pair.up("")
        assert DAY - 60 < left(pair, "floor4_32", ADMIN) <= DAY
        at_another_time(pair, offset, "refresh")
        assert left(pair, "floor4_32", ADMIN) > DAY - 60
    pair.quietgate("refresh")
    assert left(pair, "floor4_32", ADMIN) > DAY - 60, "his address stays open after he left"


def test_a_login_of_the_future_makes_nobody_known_for_years(pair: Pair) -> None:
    pair.sshd()
    have_logged_in(pair, ("anna", KNOWN, time.time() + YEARS))
    pair.up("")
    assert times(pair, KNOWN) == 5


@pytest.mark.long
def test_a_trial_ends_in_time_under_any_clock(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.policy('[ssh]\nlimit = "1 per 60s"\n')
    at_another_time(pair, YEARS, "up", "--detach", "--trial", "10s")
    assert "trial" in pair.quietgate("status")
    wait_for(lambda: "nobody confirmed generation 2, and its trial is over" in pair.quietgate("status"), "the trial ends", 15)
    assert times(pair, STRANGER) == 5
    pair.quietgate("refresh")
    assert "the policy on disk is not the one in force" in pair.quietgate("status")
    assert verdict(pair) == "stale"


# -- interfaces


LATE = """
[firewall]
default = "drop"
[[firewall.rule]]
name = "inner"
protocol = "tcp"
ports = [8080]
interface = "{interface}"
"""


def cable(pair: Pair, name: str) -> None:
    """A second cable between the two, 192.0.2.1 at the server's end."""
    pair.server.sh("ip", "link", "add", name, "type", "veth", "peer", "name", "second", "netns", pair.client.name)
    pair.server.sh("ip", "addr", "add", "192.0.2.1/24", "dev", name)
    pair.client.sh("ip", "addr", "add", "192.0.2.2/24", "dev", "second")
    pair.server.sh("ip", "link", "set", name, "up")
    pair.client.sh("ip", "link", "set", "second", "up")


def over_the_second(pair: Pair) -> bool:
    return pair.client.banner("192.0.2.2", "192.0.2.1", 8080, timeout=0.3)


@pytest.fixture
def serving(pair: Pair) -> Pair:
    pair.sshd()
    serve(pair, "inner", "nobody", "tcp:0.0.0.0:8080")
    return pair


@pytest.mark.parametrize(("written", "comes"), [("eth1", "eth1"), ("wg*", "wg0"), ("wg*", "wg17")])
def test_a_rule_waits_for_its_interface(serving: Pair, written: str, comes: str) -> None:
    serving.up(LATE.format(interface=written))
    cable(serving, comes)
    wait_for(lambda: over_the_second(serving), "in over the late interface")
    assert not serving.client.banner(CLIENT4, SERVER4, 8080, timeout=0.2), "and over no other"


def test_another_interface_is_not_meant(serving: Pair) -> None:
    serving.up(LATE.format(interface="wg*"))
    cable(serving, "vlan0")
    wait_for(lambda: serving.client.sh("ping", "-c1", "-W1", "192.0.2.1", check=False).count("1 received"), "the cable works")
    assert not over_the_second(serving)


def test_a_rule_follows_the_name_not_the_interface(serving: Pair) -> None:
    serving.up(LATE.format(interface="eth1"))
    cable(serving, "tmp0")
    wait_for(lambda: serving.client.sh("ping", "-c1", "-W1", "192.0.2.1", check=False).count("1 received"), "the cable works")
    assert not over_the_second(serving)
    rename(serving, "tmp0", "eth1")
    wait_for(lambda: over_the_second(serving), "in under the name")
    rename(serving, "eth1", "eth2")
    wait_for(lambda: not over_the_second(serving), "out under another")


def test_ssh_and_its_limit_do_not_care_for_names(serving: Pair) -> None:
    serving.up(LATE.format(interface="eth1"))
    assert times(serving, STRANGER, 3) == 3
    rename(serving, "eth0", "uplink")
    serving.server.sh("ip", "route", "add", "198.19.0.0/16", "via", CLIENT4)
    wait_for(lambda: times(serving, "198.19.0.10", 1), "in again")
    assert times(serving, STRANGER) == 2, "what was counted before counts"


def test_an_interface_that_goes_and_comes_back(serving: Pair) -> None:
    serving.up(LATE.format(interface="eth1"))
    for _ in range(2):
        cable(serving, "eth1")
        wait_for(lambda: over_the_second(serving), "in")
        serving.server.sh("ip", "link", "del", "eth1")
    assert verdict(serving) == "up", "no drift"


def rename(pair: Pair, old: str, new: str) -> None:
    """As udev does it at a boot."""
    pair.server.sh("ip", "link", "set", old, "down")
    pair.server.sh("ip", "link", "set", old, "name", new)
    pair.server.sh("ip", "link", "set", new, "up")
