"""`quietgate init` on five kinds of host: the policy it proposes, and what becomes of what is in use there.

The golden policies stand in golden/init-*.toml. Look at what changes after
`QUIETGATE_REGENERATE=1 .venv/bin/pytest tests/kernel/test_init.py -k golden`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.kernel.hosts import KINDS, Kind, publish, reached, serve, set_up, tunnel
from tests.kernel.lab import CLIENT4, SERVER4, Pair, Wire, ip_packet, udp_packet

GOLDEN = Path(__file__).parent / "golden"
KIND = {kind.name: kind for kind in KINDS}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@every_kind
def test_the_proposal_is_the_golden_one(pair: Pair, kind: Kind) -> None:
    set_up(pair, kind)
    for words, name in (((), kind.name), (("--closed",), f"{kind.name}-closed")):
        text = pair.run("init", "--print", *words).stdout
        file = GOLDEN / f"init-{name}.toml"
        if os.environ.get("QUIETGATE_REGENERATE"):
            file.write_text(text)
        assert text == file.read_text()


@every_kind
def test_closed_keeps_open_what_is_in_use_and_closes_the_rest(pair: Pair, kind: Kind) -> None:
    set_up(pair, kind)
    pair.quietgate("init", "--closed")
    said = pair.quietgate("check")
    assert "warning" not in said, said

    assert "in force" in pair.quietgate("up", "--now")
    serve(pair, "rootkit", "nobody", *(f"tcp:{a}:31337" for a in ("0.0.0.0", "[::]")), *(f"udp:{a}:31337" for a in ("0.0.0.0", "[::]")))
    for version in kind.versions:
        assert [w for w in ("tcp:22", *kind.used) if not reached(pair, w, version)] == []
        assert not reached(pair, "tcp:31337", version)
        assert not reached(pair, "udp:31337", version)
    problems = [line for line in pair.run("doctor").stdout.splitlines() if line.startswith("problem")]
    assert problems == []


@every_kind
def test_open_closes_nothing(pair: Pair, kind: Kind) -> None:
    set_up(pair, kind)
    pair.quietgate("init")
    assert "warning" not in pair.quietgate("check")
    pair.quietgate("up", "--now")
    serve(pair, "later", "nobody", "tcp:0.0.0.0:31337", "tcp:[::]:31337")
    for version in kind.versions:
        assert [w for w in ("tcp:22", *kind.used, "tcp:31337") if not reached(pair, w, version)] == []


def test_a_program_on_one_address_is_open_there_and_nowhere_else(pair: Pair) -> None:
    set_up(pair, KIND["web"])
    pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    assert reached(pair, "tcp:9100", 4)
    pair.server.sh("ip", "addr", "add", "198.18.1.1/16", "dev", "eth0")
    serve(pair, "other", "nobody", "tcp:198.18.1.1:9100")
    assert not reached(pair, "tcp:9100", 4, target="198.18.1.1")


def test_published_ports_go_on_and_later_ones_wait_for_a_rule(pair: Pair) -> None:
    set_up(pair, KIND["containers"])
    assert reached(pair, "udp:5514", 4)
    pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    assert reached(pair, "tcp:8080", 4)
    assert reached(pair, "udp:5514", 4)

    publish(pair, "tcp", 8081, 81)
    assert not reached(pair, "tcp:8081", 4)
    pair.quietgate("init", "--closed", "--force")
    pair.quietgate("up", "--now")
    assert reached(pair, "tcp:8081", 4)


def test_a_port_that_is_published_on_loopback_only_is_opened_to_nobody(pair: Pair) -> None:
    set_up(pair, KIND["containers"])
    publish(pair, "tcp", 8081, 81, at="127.0.0.1")
    said = pair.quietgate("init", "--closed", "--print")
    assert "8081" not in said
    assert "ports = [81]" not in said


def test_what_the_kernel_serves_on_a_high_port_stays_open(pair: Pair) -> None:
    """Else `--closed` would cut the tunnel that its administrator came through."""
    pair.sshd()
    tunnel(pair)
    pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    with Wire(pair) as wire:
        wire.send(udp_packet("198.19.0.5", SERVER4, 4000, 51820))
        wire.send(udp_packet("198.19.0.5", SERVER4, 4000, 51821))
    assert (pair.counters()["rule_kernel_udp"], pair.counters()["in_default"]) == (1, 1)


def test_protocols_without_ports_stay_open(pair: Pair) -> None:
    """Two routers that no longer hear each other's VRRP both take the address."""
    pair.sshd()
    serve(pair, "keepalived", "root", "raw::112")
    serve(pair, "ping", "root", "raw::1")
    assert "keepalived (protocol 112); each got a rule" in pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    with Wire(pair) as wire:
        for protocol in (112, 89):
            wire.send(ip_packet("198.19.0.5", SERVER4, protocol, b"hello"))
    assert (pair.counters()["rule_keepalived_112"], pair.counters()["in_default"]) == (1, 1)


def test_high_udp_ports_of_programs_are_named_and_left_closed(pair: Pair) -> None:
    pair.sshd()
    serve(pair, "resolver", "nobody", "udp:0.0.0.0:45001")
    assert "UDP ports that are more likely a client's: resolver (udp 45001)" in pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    assert not reached(pair, "udp:45001", 4)


def test_containers_may_still_open_connections_themselves(pair: Pair) -> None:
    inner = set_up(pair, KIND["containers"])
    pair.quietgate("init", "--closed")
    pair.quietgate("up", "--now")
    serve(pair, "mirror", "nobody", f"tcp:{CLIENT4}:8088", host=pair.client)
    code = f"import socket; print(socket.create_connection(('{CLIENT4}', 8088), 3).recv(9).decode())"
    assert pair.server.sh("nsenter", "-t", str(inner), "-n", "python3", "-c", code).strip() == "mirror"


def test_init_says_what_it_found_and_chose(pair: Pair) -> None:
    set_up(pair, KIND["mail"])
    said = pair.quietgate("init", "--closed")
    assert "SSH ports: 22" in said
    assert f"logged in before, as logs tell: bert from 2001:db8:18::2, anna from {CLIENT4}; they are strangers until" in said
    assert "master (tcp 25)" in said
    assert "each got a rule" in said
    assert "rspamd" not in said, "loopback is nobody's business"


def test_init_overwrites_nothing_unasked(pair: Pair) -> None:
    set_up(pair, KIND["plain"])
    pair.policy('[ssh]\nlimit = "7 per 60s"\n')
    assert "there is a policy already" in pair.quietgate("init", expect=2)
    pair.quietgate("init", "--force")
    old = pair.root / "etc/quietgate/quietgate.toml.old"
    assert old.read_text() == '[ssh]\nlimit = "7 per 60s"\n'


def test_it_is_the_kernel_that_is_asked_not_a_name(pair: Pair) -> None:
    """A program that calls itself by hostile text gets a rule whose name is harmless."""
    pair.sshd()
    serve(pair, '"]\n[ssh]\nx', "nobody", "tcp:0.0.0.0:8000")
    pair.quietgate("init", "--closed")
    text = (pair.root / "etc/quietgate/quietgate.toml").read_text()
    assert re.findall(r"^\[ssh\]$", text, re.MULTILINE) == ["[ssh]"]
    pair.quietgate("check")
    pair.quietgate("up", "--now")
    assert pair.client.banner(CLIENT4, SERVER4, 8000)
