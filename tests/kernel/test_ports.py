"""sshd moves, doubles, binds itself to one address: it stays reachable, and stays protected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kernel.hosts import serve
from tests.kernel.lab import SERVER4, SERVER6, Pair

STRANGER = "198.19.0.9"
CLOSED = '[firewall]\ndefault = "drop"\n'


def status(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pair.quietgate("status", "--json"))
    return found


def ports(pair: Pair) -> list[int]:
    found: list[int] = status(pair)["ssh_ports"]
    return found


def gets_in(pair: Pair, port: int, source: str = "198.19.5.1", target: str = SERVER4) -> bool:
    return pair.client.banner(source, target, port, timeout=0.3)


def how_many(pair: Pair, *at: int, source: str = STRANGER, target: str = SERVER4, tries: int = 9) -> int:
    """Connections that get in, of some in quick succession, to these ports in turn."""
    return sum(pair.client.banner(source, target, at[n % len(at)], timeout=0.2) for n in range(tries))


@pytest.mark.parametrize("policy", ["", CLOSED], ids=["open", "closed"])
def test_sshd_that_moves_is_followed(pair: Pair, policy: str) -> None:
    sshd = pair.sshd()
    pair.up(policy)
    assert gets_in(pair, 22)

    sshd.move(2222)
    assert gets_in(pair, 2222) == (policy == ""), "until it is noticed the new port is one like any other"
    assert "have changed" in pair.quietgate("refresh")

    assert 2222 in ports(pair)
    assert gets_in(pair, 2222)
    assert sshd.login("198.19.5.2")
    assert how_many(pair, 2222) == 5, "protected on the new port"
    assert "as before" in pair.quietgate("refresh")


def test_a_session_on_the_old_port_outlives_the_move(pair: Pair) -> None:
    sshd = pair.sshd(port=2201)
    pair.up(CLOSED)
    with_session = pair.client.connect("198.19.5.1", SERVER4, 2201)
    assert with_session is not None
    assert with_session.recv(64).startswith(b"SSH-")

    sshd.move(2222)
    pair.quietgate("refresh")
    assert 2201 not in ports(pair)

    with_session.sendall(b"SSH-2.0-lab\r\n")
    assert with_session.recv(4096), "sshd goes on with its key exchange"
    with_session.close()


def test_two_daemons_on_two_ports_are_both_found_and_share_one_budget(pair: Pair) -> None:
    pair.sshd()
    pair.sshd(port=2222)
    pair.up(CLOSED)
    assert ports(pair) == [22, 2222]
    assert gets_in(pair, 22)
    assert gets_in(pair, 2222)
    assert how_many(pair, 22, 2222, tries=12) == 5


def test_one_daemon_with_two_ports(pair: Pair) -> None:
    pair.sshd("Port 2201")
    pair.up(CLOSED)
    assert ports(pair) == [22, 2201]
    assert how_many(pair, 22, 2201, tries=12) == 5


def test_a_daemon_that_ends_leaves_its_port_to_nobody(pair: Pair) -> None:
    pair.sshd()
    other = pair.sshd(port=2222)
    pair.up(CLOSED)
    other.stop()
    pair.quietgate("refresh")
    assert ports(pair) == [22]
    serve(pair, "web", "root", "tcp:0.0.0.0:2222")
    assert not gets_in(pair, 2222), "a port like any other again"


def test_sshd_bound_to_single_addresses(pair: Pair) -> None:
    sshd = pair.sshd(f"ListenAddress {SERVER4}", f"ListenAddress [{SERVER6}]:2222")
    pair.up(CLOSED)
    assert ports(pair) == [22, 2222]
    assert sshd.login("198.19.5.1")
    assert gets_in(pair, 2222, "2001:db8:100::1", SERVER6)
    assert how_many(pair, 22) == 5
    assert how_many(pair, 2222, source="2001:db8:100:9::1", target=SERVER6) == 5
    assert "ListenAddress" in pair.quietgate("doctor")


@pytest.mark.parametrize("policy", ["", CLOSED], ids=["open", "closed"])
def test_a_port_that_the_policy_forgot_is_said_aloud_and_stays_open(pair: Pair, policy: str) -> None:
    pair.sshd()
    pair.sshd(port=2222)
    pair.policy(f"[ssh]\nports = [22]\n{policy}")
    said = pair.quietgate("up", "--now")
    assert "sshd also listens on 2222, which ssh.ports does not name" in said
    assert gets_in(pair, 2222)
    assert how_many(pair, 2222) == (5 if policy else 9), "within the same limit, where all else is dropped"
    assert how_many(pair, 22, source="198.19.0.10") == 5
    assert any("2222" in f["what"] for f in status(pair)["findings"])


def test_a_rule_for_the_forgotten_port_decides(pair: Pair) -> None:
    pair.sshd()
    pair.sshd(port=2222)
    rule = '[[firewall.rule]]\nname = "inner"\nprotocol = "tcp"\nports = [2222]\nfrom = ["198.19.5.0/24"]\n'
    pair.up(f"[ssh]\nports = [22]\n{CLOSED}{rule}")
    assert gets_in(pair, 2222)
    assert not gets_in(pair, 2222, STRANGER)


def test_a_users_program_that_calls_itself_sshd_is_none(pair: Pair) -> None:
    """Else a user could open a port of his choice in a closed firewall, by its name alone."""
    pair.sshd()
    serve(pair, "sshd", "nobody", "tcp:0.0.0.0:2323")
    pair.up(CLOSED)
    assert ports(pair) == [22]
    assert not gets_in(pair, 2323)
    assert "2323" not in pair.quietgate("status")
    pair.quietgate("refresh")
    assert not gets_in(pair, 2323)


def test_sshd_of_another_namespace_is_not_ours(pair: Pair) -> None:
    pair.sshd()
    serve(pair, "sshd", "root", "tcp:0.0.0.0:2424", host=pair.client)
    pair.up(CLOSED)
    assert ports(pair) == [22]
