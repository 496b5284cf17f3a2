"""Nobody earns anything by what a log says: no line, no record of wtmp's or utmp's, no process that is only called sshd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quietgate.host.sessions import live
from tests.host.records import utmp, write_wtmp
from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, Pair, wait_for
from tests.kernel.people import ADMIN, PAM, have_logged_in, logged_in

pytestmark = pytest.mark.kernel
CHOSEN = "198.19.66.6"
ACCEPTED = "Accepted publickey for root from {} port 40000 ssh2: ED25519 SHA256:x"
PRETENDER = """
import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", int(sys.argv[1]))); s.listen()
open("/proc/self/comm", "w").write("sshd")
held, _ = s.accept()
print("held", flush=True)
time.sleep(60)
"""


def kernel(pair: Pair) -> str:
    return pair.server.sh("nft", "list", "table", "inet", "quietgate")


def test_lines_that_tell_of_logins_earn_nothing(pair: Pair) -> None:
    with guarded(pair, "PermitRootLogin yes") as g:
        with g.log.open("a") as log:
            for number in range(20):
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
                log.write(f"{stamp} host sshd[{4000 + number}]: {ACCEPTED.format(CHOSEN)}\n")
        wait_for(lambda: (g.status() or {"sources": [{"events": 0}]})["sources"][0]["events"] >= 20, "they were read")
        assert g.sshd.login(ADMIN, timeout=5)
        wait_for(lambda: ADMIN in kernel(pair), "a real login is known, after them")
        assert CHOSEN not in kernel(pair)
        g.pair.quietgate("refresh")
        assert CHOSEN not in kernel(pair)


def test_records_of_wtmp_and_utmp_earn_nothing(pair: Pair) -> None:
    pair.sshd(*PAM)
    write_wtmp(pair.root, utmp("root", CHOSEN, time.time() - 60))
    pair.up("")
    assert CHOSEN not in kernel(pair)
    assert json.loads(pair.quietgate("status", "--json"))["known"] == 0
    assert CHOSEN in pair.quietgate("why", CHOSEN), "as a log's word it is shown"


def test_a_process_that_is_called_sshd_is_no_session(pair: Pair) -> None:
    """It holds a connection to an SSH port, and an administrator has logged in who started it: root's own loginuid, as by a login."""
    words = ["ip", "netns", "exec", pair.server.name, "sh", "-c",
             f"echo 0 > /proc/self/loginuid && exec setpriv --reuid 65534 --clear-groups {sys.executable} -c '{PRETENDER}' 2222"]  # fmt: skip
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: pair.server.sh("ss", "-Htln", "sport = :2222"), "it listens")
        held = pair.client.connect(CHOSEN, SERVER4, 2222)
        assert held is not None
        with pair.server.inside():
            assert live(frozenset({2222})) == []
    finally:
        child.kill()
        child.wait()


def test_a_connection_that_outlives_the_daemon_of_an_administrators_shell_is_no_login(pair: Pair) -> None:
    """Without systemd an administrator's shell starts sshd, and every process of it inherits that login. When that daemon is gone, a
    connection that nobody has logged in over must not pass for the administrator's.
    """
    sshd = pair.sshd(*PAM, "LoginGraceTime 60")
    sshd.stop()
    words = [
        "ip",
        "netns",
        "exec",
        pair.server.name,
        "sh",
        "-c",
        f"echo 0 > /proc/self/loginuid && exec /usr/sbin/sshd -D -f {sshd.config} -E {sshd.log}",
    ]
    child = subprocess.Popen(words)
    try:
        wait_for(lambda: pair.server.sh("ss", "-Htln", "sport = :22"), "it listens")
        held = pair.client.connect(CHOSEN, SERVER4, 22)
        assert held is not None
        assert held.recv(64)
        child.terminate()
        child.wait(10)
        wait_for(lambda: not pair.server.sh("ss", "-Htln", "sport = :22"), "the daemon is gone")
        with pair.server.inside():
            assert live(frozenset({22})) == []
        sshd.start()
        with logged_in(sshd), pair.server.inside():
            assert [str(s.flow.peer) for s in live(frozenset({22}))] == [ADMIN]
    finally:
        child.kill()
        child.wait()


def test_who_is_known_stays_known_by_a_session_alone(pair: Pair) -> None:
    """The store of a version that believed logs: what it held is remembered, and earns nothing."""
    pair.sshd(*PAM)
    have_logged_in(pair, ("anna", ADMIN, time.time() - 60))
    pair.up("")
    assert ADMIN in kernel(pair)
    assert Path(pair.root / "var/lib/quietgate/guard/quietgate.db").exists()
    assert os.stat(pair.root / "var/lib/quietgate/guard/quietgate.db").st_mode & 0o077 == 0
