"""SSH in a container: the limit and the bans hold at its published port, through Docker's own NAT; doctor and init find it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.kernel.attack import Hand, mute
from tests.kernel.containers import INSIDE, Docker, docker
from tests.kernel.guarded import Guarded
from tests.kernel.lab import SERVER4, Pair, Sshd, Wire, wait_for

PORT = 2222
POLICY = f"[ssh]\npublished = [{PORT}]\n"
A, B = "198.19.50.1", "198.19.51.1"


@pytest.fixture
def box(pair: Pair) -> Iterator[Docker]:
    with docker(pair) as made:
        sshd = Sshd.__new__(Sshd)
        sshd.prepare(pair, 22, ())
        sshd.process = pair.start(made.container, "/usr/sbin/sshd", "-D", "-f", str(sshd.config))
        wait_for(lambda: made.container.sh("ss", "-Htln", "sport = :22"), "sshd listens in the container", 10)
        made.publish(PORT, 22)
        yield made


def gets_in(pair: Pair, source: str, times: int = 1) -> list[bool]:
    return [pair.client.banner(source, SERVER4, PORT, timeout=1.0) for _ in range(times)]


def test_without_being_named_it_is_not_limited_and_doctor_says_so(pair: Pair, box: Docker) -> None:
    pair.up("")
    assert gets_in(pair, A, 8) == [True] * 8
    found = {f["id"]: f for f in json.loads(pair.run("doctor", "--json").stdout)["findings"]}
    assert f"tcp {PORT} to {INSIDE}:22" in found["published-ssh"]["what"]
    assert f"published = [{PORT}]" in found["published-ssh"]["remedy"]


def test_the_limit_holds_and_is_one_budget_for_all_doors(pair: Pair, box: Docker) -> None:
    pair.sshd()
    pair.up(POLICY)
    assert gets_in(pair, A, 7) == [True] * 5 + [False] * 2
    assert not pair.client.banner(A, SERVER4, timeout=0.3), "this host's own sshd counts with it"
    assert [pair.client.banner(B, SERVER4) for _ in range(3)] == [True] * 3
    assert gets_in(pair, B, 3) == [True] * 2 + [False]
    assert "published-ssh" not in pair.run("doctor", "--json").stdout
    pair.up(POLICY + '[firewall]\nforward = "drop"\n')
    assert gets_in(pair, "198.19.52.1"), "it is a door also where nothing else is forwarded"


def test_bans_hold_and_friends_are_not_limited(pair: Pair, box: Docker) -> None:
    pair.up(f'{POLICY}trusted = ["{B}"]\n')
    assert gets_in(pair, B, 9) == [True] * 9
    assert gets_in(pair, A) == [True]
    pair.quietgate("ban", A, "--scope", "ssh")
    assert gets_in(pair, A) == [False]
    pair.quietgate("unban", A)
    assert gets_in(pair, A) == [True]
    pair.quietgate("allow", "--for", "1h", A)
    assert gets_in(pair, A, 8) == [True] * 8


def test_forged_syns_cost_nobody_a_place(pair: Pair, box: Docker) -> None:
    pair.up(POLICY)
    with Wire(pair) as wire:
        hands = [Hand(wire, A, 20000 + n, theirs=n * 7919, dport=PORT) for n in range(20)]
        with mute(pair):
            for hand in hands:
                hand.syn()
    assert gets_in(pair, A, 6) == [True] * 5 + [False]


def test_a_session_through_the_port_outlives_a_reload(pair: Pair, box: Docker) -> None:
    pair.up(POLICY)
    s = pair.client.connect(A, SERVER4, PORT, timeout=1.0)
    assert s is not None
    assert s.recv(4) == b"SSH-"
    pair.up(POLICY + 'limit = "2 per 1m"\n')
    s.sendall(b"SSH-2.0-test\r\n")
    s.settimeout(3)
    assert s.recv(100), "it goes on"
    s.close()


def test_its_own_log_bans_at_its_door(pair: Pair, box: Docker) -> None:
    log = pair.root / "var/lib/docker/box-json.log"
    log.parent.mkdir(parents=True)
    log.touch()
    pair.up(POLICY + '[guard]\nsources = [{ path = "/var/lib/docker/box-json.log", program = "sshd" }]\n')
    g = Guarded(pair, None, log)  # type: ignore[arg-type]
    g.start()
    assert gets_in(pair, A) == [True]
    with log.open("a") as file:
        for n in range(6):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            said = f"Failed password for git from {A} port {40000 + n} ssh2\r\n"
            file.write(json.dumps({"log": said, "stream": "stderr", "time": stamp}) + "\n")
    wait_for(lambda: g.banned(A), "banned", 10)
    assert gets_in(pair, A) == [False]
    g.stop()
