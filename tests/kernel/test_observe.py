"""`mode = "observe"`: everything is counted as it would be decided, and nothing is dropped.

A week of a server's SSH in a minute: bots that guess until they are stopped, bots that come once, known hosts with their
scripts, people, scanners from outside `from`, banned ones. The same connections are made twice, enforced and observed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.lab import SERVER4, SERVER6, Pair, Wire, make_pair, tcp_packet
from tests.kernel.people import have_logged_in

KNOWN = [f"198.19.7.{n}" for n in range(1, 6)]
POLICY = """
[ssh]
mode = "{mode}"
from = ["198.19.0.0/20", "2001:db8:100::/40"]
known_limit = "20 per 1h"
wide6 = "8 per 1h"
"""  # by the hour, so that none comes back while the two runs differ in length
# What the counters call a refusal: each is a packet that enforce drops, or a connection that it resets.
REFUSALS = ("ssh_limited", "ssh_refused", "ssh_wide", "ssh_known_over", "ssh_reserved", "ssh_share", "ssh_from", "ban_ssh")
ADMISSIONS = ("ssh_new", "ssh_counted", "ssh_known")


def week(seed: int) -> list[str]:
    """Who comes, in order."""
    coming = [f"198.19.1.{n}" for n in range(1, 9) for _ in range(12)]  # bots that guess
    coming += [f"198.19.2.{n}" for n in range(1, 61)]  # bots that come once
    coming += [f"2001:db8:100:{n:x}::{m:x}" for n in range(4) for m in range(1, 8)]  # a customer's prefix, with fresh addresses
    coming += [f"2001:db8:101:1::{m:x}" for m in range(1, 10)]
    coming += [a for a in KNOWN for _ in range(16)] + KNOWN[:1] * 14  # scripts, and one that runs wild
    coming += [f"198.19.3.{n}" for n in range(1, 21) for _ in range(3)]  # people
    coming += [f"198.19.200.{n}" for n in range(1, 21) for _ in range(2)]  # from outside `from`
    coming += ["198.19.4.1"] * 6  # banned
    random.Random(seed).shuffle(coming)
    return coming


@contextmanager
def server(place: Path, mode: str, *options: str, policy: str = POLICY) -> Iterator[Pair]:
    """A server that knows some sources and has banned one."""
    place.mkdir()
    with make_pair(place) as pair:
        pair.sshd(*options)
        have_logged_in(pair, *(("anna", a, time.time() - 86400) for a in KNOWN))
        pair.up(policy.format(mode=mode))
        pair.quietgate("ban", "198.19.4.1", "--scope", "ssh")
        pair.server.sh("nft", "add element inet quietgate crowded6 { 2001:db8:100:: timeout 1h }")  # the guard's word
        yield pair


def visit(pair: Pair, coming: list[str]) -> list[bool]:
    """One connection each, given up before its SYN would be sent again (a second, RFC 6298): so each is one packet."""
    return [pair.client.banner(a, SERVER6 if ":" in a else SERVER4, timeout=0.1) for a in coming]


def refused(pair: Pair, names: tuple[str, ...] = REFUSALS) -> dict[str, int]:
    counters = pair.counters()
    return {n: counters[n] for n in names}


@pytest.mark.long
def test_a_week_observed_drops_nothing_and_counts_what_enforce_drops(tmp_path: Path) -> None:
    coming = week(seed=7)
    with server(tmp_path / "enforce", "enforce") as pair:
        begin = time.monotonic()
        got = visit(pair, coming)
        assert time.monotonic() - begin < 55, "all within one window, or the comparison says nothing"
        enforced, admitted = refused(pair), refused(pair, ADMISSIONS)
    with server(tmp_path / "observe", "observe") as pair:
        assert visit(pair, coming) == [True] * len(coming)
        assert refused(pair) == enforced
        observed = refused(pair, ADMISSIONS)
        assert (observed["ssh_counted"], observed["ssh_known"]) == (admitted["ssh_counted"], admitted["ssh_known"])

    # And these are the connections that did not get in: every kind occurs, and none is counted twice.
    assert all(enforced[n] for n in ("ssh_limited", "ssh_refused", "ssh_wide", "ssh_known_over", "ssh_from", "ban_ssh"))
    assert sum(enforced[n] for n in ("ssh_limited", "ssh_refused", "ssh_from", "ban_ssh")) == got.count(False)
    assert enforced["ssh_refused"] == enforced["ssh_wide"] + enforced["ssh_known_over"] + enforced["ssh_reserved"] + enforced["ssh_share"]


def test_places_are_counted_too(tmp_path: Path) -> None:
    """Strangers who sit there: six places of MaxStartups 10, the rest refused by the reserve."""
    counts, got = {}, {}
    for mode in ("enforce", "observe"):
        with server(tmp_path / mode, mode, "MaxStartups 10:30:60") as pair:
            held = [
                pair.client.connect(f"198.19.{n}.1", SERVER4, 22) for n in (1, 2, 3, 6, 8, 9, 10, 11, 12)
            ]  # strangers: 198.19.7.1 is known
            got[mode] = sum(s is not None and heard(s) for s in held)
            counts[mode] = refused(pair)
            for s in held:
                if s is not None:
                    s.close()
    assert got == {"enforce": 6, "observe": 9}
    assert counts["observe"] == counts["enforce"]
    assert counts["enforce"]["ssh_reserved"] == 3


def heard(s: object) -> bool:
    import socket

    assert isinstance(s, socket.socket)
    s.settimeout(2)
    try:
        return s.recv(64).startswith(b"SSH-")
    except OSError:
        return False


def test_status_says_that_it_observes(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nmode = "observe"\n')
    assert "observe: at the SSH ports everything is counted and nothing is dropped" in pair.quietgate("status")
    assert json.loads(pair.quietgate("status", "--json"))["mode"] == "observe"
    assert all(visit(pair, ["198.19.1.1"] * 9))
    said = pair.quietgate("status")
    assert "198.19.1.1" in said, "who would be limited is named"


def test_the_rest_of_the_firewall_is_not_observed(pair: Pair) -> None:
    """It is the [ssh] section's mode: a default that drops goes on dropping."""
    pair.sshd()
    pair.up('[ssh]\nmode = "observe"\n[firewall]\ndefault = "drop"\ndeny = ["198.19.9.9"]\n')
    with Wire(pair) as wire:
        wire.send(tcp_packet("198.19.0.1", SERVER4, 4000, 8080, "syn"))
    assert pair.counters()["in_default"] == 1
    assert not pair.client.banner("198.19.9.9", SERVER4, timeout=0.2)


def test_a_change_of_mode_keeps_what_was_counted(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nmode = "observe"\n')
    assert all(visit(pair, ["198.19.1.1"] * 9))
    pair.up("")
    assert visit(pair, ["198.19.1.1", "198.19.1.2"]) == [False, True], "its places were taken while it was observed"


@pytest.mark.parametrize("stranger", ["forged", "stray"])
def test_packets_of_no_connection_are_let_through_to_the_stack(pair: Pair, stranger: str) -> None:
    """The kernel answers them with a reset, as without us."""
    pair.sshd()
    pair.up('[ssh]\nmode = "observe"\n')
    with Wire(pair) as wire:
        wire.send(tcp_packet("198.19.0.1", SERVER4, 4000 if stranger == "forged" else 4001, 22, "ack", seq=1, ack=1))
        assert wire.hear(lambda p: p[9] == 6 and p[33] & 4 == 4, 1.0), "a reset"
