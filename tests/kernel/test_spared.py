"""What the host lives from is not banned: real routes, a real resolver behind them, a list that holds both."""

from __future__ import annotations

import json
import signal
import socket
import tempfile
from collections.abc import Iterator

import pytest

from tests.kernel.lab import CLIENT4, QUIETGATE, SERVER4, Pair, wait_for

pytestmark = pytest.mark.long

LIST = "# like a list that holds the bogons\n198.18.0.0/16\n203.0.113.0/24\n"
STRANGER = "198.18.0.77"  # in the network that the server stands in


@pytest.fixture
def resolver(pair: Pair) -> Iterator[socket.socket]:
    """The client is default gateway and resolver."""
    pair.server.sh("ip", "route", "add", "default", "via", CLIENT4)
    pair.client.sh("ip", "addr", "add", f"{STRANGER}/16", "dev", "eth0")
    (pair.root / "etc").mkdir(exist_ok=True)
    (pair.root / "etc/resolv.conf").write_text(f"nameserver {CLIENT4}\nnameserver 198.51.100.53\n")
    with pair.client.inside():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((CLIENT4, 53))
    s.settimeout(1)
    with s:
        yield s


def resolves(pair: Pair, resolver: socket.socket) -> bool:
    with pair.server.inside():
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asker:
        asker.settimeout(1)
        asker.sendto(b"?", (CLIENT4, 53))
        _, address = resolver.recvfrom(99)
        resolver.sendto(b"!", address)
        try:
            return asker.recv(9) == b"!"
        except TimeoutError:
            return False


def test_a_list_spares_the_gateway_the_resolver_and_the_network_and_says_so(pair: Pair, resolver: socket.socket) -> None:
    pair.up("")
    said = pair.quietgate("ban", stdin=LIST, expect=3)
    assert "spared" in said
    assert "network that this host stands in" in said or "default gateway" in said
    assert resolves(pair, resolver)
    banned = pair.quietgate("bans")
    assert "203.0.113.0/24" in banned
    assert "198.18." not in banned
    narrowed = pair.quietgate("ban", "198.51.100.0/24")
    assert "a resolver" in narrowed
    assert json.loads(pair.quietgate("why", "198.51.100.53", "--json"))["verdict"] != "drop"
    assert json.loads(pair.quietgate("why", "198.51.100.54", "--json"))["verdict"] == "drop"


def test_by_hand_it_takes_force_and_a_stranger_next_door_does_not(pair: Pair, resolver: socket.socket) -> None:
    pair.sshd()
    pair.up("")
    assert "--force" in pair.quietgate("ban", CLIENT4, expect=4)
    assert "--force" in pair.quietgate("ban", "198.18.0.64/26", expect=4)
    assert resolves(pair, resolver)
    assert pair.client.banner(STRANGER, SERVER4)
    pair.quietgate("ban", STRANGER)
    assert not pair.client.banner(STRANGER, SERVER4, timeout=0.3)
    assert "named" in pair.quietgate("ban", "--force", stdin=LIST, expect=2)
    assert "needed-banned" not in pair.quietgate("doctor", "--json")
    pair.quietgate("ban", "--force", CLIENT4)
    assert not resolves(pair, resolver)
    assert "needed-banned" in pair.quietgate("doctor", "--json", expect=1)


def test_everyone_is_asked_for_twice_and_a_list_never_reaches_it(pair: Pair, resolver: socket.socket) -> None:
    pair.up("")
    assert "4,294,967,296 addresses" in pair.quietgate("ban", "0.0.0.0/0", expect=4)
    assert "2^128" in pair.quietgate("ban", "::/0", expect=4)
    assert "--yes" in pair.quietgate("ban", stdin="0.0.0.0/1\n128.0.0.0/1\n", expect=4)
    assert pair.quietgate("bans").strip() == "no bans"
    # Two lists, each within the bound, and one more.
    pair.quietgate("ban", "--yes", stdin="64.0.0.0/3\n")
    pair.quietgate("ban", "--yes", stdin="32.0.0.0/3\n")
    said = pair.quietgate("ban", "--yes", stdin="96.0.0.0/8\n203.0.113.9\n", expect=3)
    assert "1,073,741,824" in said
    assert "203.0.113.9" in pair.quietgate("bans"), "single sources are not counted against it"
    assert "narrowed" in pair.quietgate("ban", "--yes", "0.0.0.0/0")
    assert resolves(pair, resolver)


def told(systemd: socket.socket, word: str) -> None:
    """What the guard says to systemd, up to this."""
    while word not in systemd.recv(4096).decode():
        pass


def test_the_guard_bans_nobody_who_comes_in_the_gateways_name_and_tells_once(pair: Pair) -> None:
    """The route comes while the guard runs: it follows its networks."""
    pair.sshd()
    log = pair.root / "var/log/auth.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    pair.up("")
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{place}/notify")
        systemd.settimeout(20)
        guard = pair.start(pair.server, "env", f"NOTIFY_SOCKET={place}/notify", str(QUIETGATE), "--root", str(pair.root), "run")
        told(systemd, "READY=1")
        pair.server.sh("ip", "route", "add", "default", "via", CLIENT4)
        guard.send_signal(signal.SIGHUP)
        told(systemd, "RELOADING=1")
        told(systemd, "READY=1")
    with log.open("a") as stream:
        for number in range(1, 60):
            for address in (CLIENT4, STRANGER):
                pid = number + (9000 if address == CLIENT4 else 0)
                stream.write(f"2026-11-24T18:00:00+00:00 host sshd[{pid}]: Failed password for root from {address} port 4000 ssh2\n")
    wait_for(lambda: STRANGER in pair.quietgate("bans"), "a stranger next door is banned", 10)
    wait_for(lambda: "cannot be told apart" in pair.quietgate("alerts"), "somebody is told", 10)
    assert [json.loads(line)["prefix"] for line in pair.quietgate("bans", "--json").splitlines()] == [STRANGER]
    assert pair.client.banner(CLIENT4, SERVER4)
    assert pair.quietgate("alerts").count("cannot be told apart") == 1
    assert "PROXY protocol" in pair.quietgate("alerts", "--json")


def test_a_page_is_not_written_through_a_strangers_link(pair: Pair) -> None:
    pair.up("")
    place = pair.root / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    (pair.root / "precious").write_text("precious")
    (place / "week.html").symlink_to(pair.root / "precious")
    assert "symbolic link" in pair.quietgate("report", "--html", str(place / "week.html"), expect=2)
    assert (pair.root / "precious").read_text() == "precious"
    pair.quietgate("report", "--html", str(place / "other.html"))
    assert "<html" in (place / "other.html").read_text()
