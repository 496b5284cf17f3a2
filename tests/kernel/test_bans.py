"""What a ban shuts, and what it leaves alone."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.kernel.lab import CLIENT4, SERVER4, SERVER6, Pair, wait_for


def out_to(pair: Pair, port: int) -> tuple[socket.socket, socket.socket]:
    """A connection of our own to the client: our end, and the other."""
    with pair.client.inside():
        listener = socket.create_server((CLIENT4, port))
    with pair.server.inside():
        ours = socket.create_connection((CLIENT4, port), 2)
    theirs, _ = listener.accept()
    listener.close()
    return ours, theirs


def answers(ours: socket.socket, theirs: socket.socket) -> bool:
    """True if a byte comes in on our own connection."""
    ours.settimeout(0.6)
    theirs.send(b"x")
    try:
        return ours.recv(1) == b"x"
    except TimeoutError:
        return False


def test_scope_ssh_leaves_our_own_connections_to_that_address_alive(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    ours, theirs = out_to(pair, 22)
    pair.quietgate("ban", CLIENT4, "--scope", "ssh")
    assert answers(ours, theirs)
    assert not pair.client.banner(CLIENT4, SERVER4, timeout=0.3)
    again, other = out_to(pair, 2222)
    assert answers(again, other), "new ones come to be as well"


def test_scope_host_drops_all_traffic_from_that_address_into_oblivion(pair: Pair) -> None:
    pair.up("")
    ours, theirs = out_to(pair, 9000)
    pair.quietgate("ban", CLIENT4)
    assert not answers(ours, theirs)
    assert "0 received" in pair.client.sh("ping", "-c1", "-W1", SERVER4, check=False)
    pair.quietgate("unban", CLIENT4)
    wait_for(lambda: answers(ours, theirs), "the session goes on", 15)  # TCP waits longer after each loss


def test_a_banned_source_of_ipv6_is_its_network_and_128_is_one_address(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    assert "2001:db8:100:7::/64" in pair.quietgate("ban", "2001:db8:100:7::5")
    assert not pair.client.banner("2001:db8:100:7::99", SERVER6, timeout=0.3)
    pair.quietgate("ban", "2001:db8:100:8::5/128")
    assert not pair.client.banner("2001:db8:100:8::5", SERVER6, timeout=0.3)
    assert pair.client.banner("2001:db8:100:8::6", SERVER6)


def test_a_host_behind_nat64_is_banned_alone(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "64:ff9b::c633:6401")
    assert not pair.client.banner("64:ff9b::c633:6401", SERVER6, timeout=0.3)
    assert pair.client.banner("64:ff9b::c633:6402", SERVER6)


def test_a_ban_ends_by_itself_in_kernel_and_list(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.0.9", "--for", "2s")
    assert not pair.client.banner("198.19.0.9", SERVER4, timeout=0.2)
    wait_for(lambda: pair.client.banner("198.19.0.9", SERVER4, timeout=0.2), "in again", 4)
    assert pair.quietgate("bans").strip() == "no bans"


def test_a_second_ban_changes_the_end_of_the_first(pair: Pair) -> None:
    pair.up("")
    pair.quietgate("ban", "198.19.0.9", "--for", "1h")
    pair.quietgate("ban", "198.19.0.9", "--for", "10m")
    left = json.loads(pair.quietgate("why", "198.19.0.9", "--json"))["sets"][0]["left"]
    assert 590 < left <= 600


def test_prefixes_that_nest_are_lifted_together_from_without_and_one_by_one_from_within(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.0.0/16", "--for", "1h")
    pair.quietgate("ban", "198.19.7.0/24")
    pair.quietgate("unban", "198.19.7.0/24")
    assert pair.client.banner("198.19.7.1", SERVER4), "of both bans"
    assert not pair.client.banner("198.19.8.1", SERVER4, timeout=0.2)
    pair.quietgate("ban", "198.19.7.0/24")
    pair.quietgate("unban", "198.19.0.0/16")
    assert pair.client.banner("198.19.8.1", SERVER4)
    assert pair.client.banner("198.19.7.1", SERVER4), "with everything inside"


def test_a_hostile_reason_reaches_no_terminal(pair: Pair) -> None:
    pair.up("")
    pair.quietgate("ban", "198.19.0.9", "--reason", "\x1b]0;owned\x07\u202e\nfake line")
    for command in (("bans",), ("why", "198.19.0.9")):
        said = pair.quietgate(*command)
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert not any(line.startswith("fake") for line in said.splitlines())


def test_full_the_soonest_to_end_leave(pair: Pair) -> None:
    pair.up("[bans]\nmax = 1000\n")
    pair.quietgate("ban", "--for", "1h", stdin="\n".join(f"10.0.{n >> 8}.{n & 255}" for n in range(1000)))
    said = pair.quietgate("ban", "198.19.0.9")
    assert "bans.max" in said
    assert len(pair.quietgate("bans", "--json").splitlines()) == 1000
    assert "198.19.0.9" in pair.quietgate("bans")


@pytest.mark.long
def test_sixty_reloads_under_load_cut_nothing(pair: Pair) -> None:
    """Established sessions, bans and counters survive reloads, also with a changed window and limit."""
    pair.up("")
    pair.quietgate("ban", "198.19.0.9")
    with pair.server.inside():
        server = socket.create_server((SERVER4, 8000))
    client = pair.client.connect("198.19.0.20", SERVER4, 8000)
    assert client is not None
    peer, _ = server.accept()
    client.settimeout(2)
    banned = 0
    for turn in range(60):
        pair.up(f'[ssh]\nlimit = "{turn % 5 + 1} per {turn % 7 + 30}s"\n')
        client.send(b"?")
        peer.send(peer.recv(1))
        assert client.recv(1) == b"?"
        assert pair.client.connect("198.19.0.9", SERVER4, 8000, timeout=0.02) is None
        now = pair.counters()["ban_host"]
        assert now > banned
        banned = now
    for s in (server, client, peer):
        s.close()


def test_a_banned_source_gets_no_packet_in_while_the_rules_change(pair: Pair) -> None:
    with pair.server.inside():
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind((SERVER4, 7000))
    with pair.client.inside():
        attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        attacker.setsockopt(socket.IPPROTO_IP, 15, 1)
        attacker.bind(("198.19.0.9", 0))
    pair.up("")
    pair.quietgate("ban", "198.19.0.9")
    children = []
    for turn in range(8):
        pair.policy(f'[ssh]\nlimit = "{turn + 1} per 30s"\n')
        children.append(pair.start(pair.server, str(_quietgate()), "--root", str(pair.root), "up", "--now"))
        until = time.monotonic() + 20
        while children[-1].poll() is None and time.monotonic() < until:
            attacker.sendto(b"in?", (SERVER4, 7000))
    assert all(c.returncode == 0 for c in children)
    sink.setblocking(False)
    with pytest.raises(BlockingIOError):
        sink.recv(10)


def _quietgate() -> object:
    from tests.kernel.lab import QUIETGATE

    return QUIETGATE


def test_one_can_ban_while_the_policy_on_disk_has_mistakes(pair: Pair) -> None:
    """By the policy in force, whose trusted stay spared; without one the mistakes come first."""
    pair.policy('[ssh]\nlimit = "5/min"\n')
    assert "quietgate.toml:2" in pair.quietgate("ban", "198.19.0.9", expect=2)
    pair.up('[ssh]\ntrusted = ["198.19.4.1"]\n')
    pair.policy('[ssh]\nlimit = "5/min"\n')
    said = pair.quietgate("ban", "198.19.0.9")
    assert "This goes by the policy in force" in said
    assert "quietgate.toml:2" in said
    assert pair.client.connect("198.19.0.9", SERVER4, 8000, timeout=0.02) is None
    assert "ssh.trusted" in pair.quietgate("ban", "198.19.4.1", expect=4)
    pair.quietgate("unban", "198.19.0.9")
    assert "198.19.0.9" not in pair.quietgate("bans")
