"""A login that is over at once is seen: by the process of its connection, from the handshake on."""

from __future__ import annotations

import os
import time

import pytest

from quietgate.host.handshake import Handshakes
from quietgate.host.sessions import live
from tests.kernel.lab import Pair, wait_for
from tests.kernel.people import ADMIN, PAM, logged_in

pytestmark = pytest.mark.kernel
LOGINS = 12


def test_no_short_login_is_missed(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    seen = []
    with pair.server.inside(), Handshakes(frozenset({22}), frozenset()) as handshakes:
        for _ in range(LOGINS):
            sshd.ssh(ADMIN, timeout=5, command="true")
            seen += handshakes.logins(2.0)
    assert len({s.flow.cookie for s in seen}) == len(seen) == LOGINS
    assert {(str(s.flow.peer), s.uid) for s in seen} == {(ADMIN, 0)}


def test_a_connection_without_a_login_is_none(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    with pair.server.inside(), Handshakes(frozenset({22}), frozenset()) as handshakes:
        held = [pair.client.connect(ADMIN, "198.18.0.1", 22) for _ in range(4)]
        sshd.pair.client.sh("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                            "-o", f"BindAddress={ADMIN}", "root@198.18.0.1", "true", check=False)  # fmt: skip
        assert handshakes.logins(0.5) == []
        assert all(held)


def test_a_session_that_was_open_before_is_no_new_login(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    with logged_in(sshd), pair.server.inside():
        before = frozenset(s.flow.cookie for s in live(frozenset({22})))
        assert len(before) == 1
        with Handshakes(frozenset({22}), before) as handshakes:
            assert handshakes.logins(0.3) == []


def test_it_holds_no_descriptor_of_what_is_over(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    with pair.server.inside(), Handshakes(frozenset({22}), frozenset()) as handshakes:
        for _ in range(20):
            pair.client.banner(ADMIN, "198.18.0.1")
        assert sshd.login(ADMIN)
        until = time.monotonic() + 5
        wait_for(lambda: not [d for d in os.listdir("/proc/self/fd") if _of_proc(d)] or time.monotonic() > until, "all are closed")
        handshakes.logins(0.0)
        assert not [d for d in os.listdir("/proc/self/fd") if _of_proc(d)]


def _of_proc(descriptor: str) -> bool:
    try:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return False
    return target.startswith("/proc/") and target.removeprefix("/proc/").isdecimal()
