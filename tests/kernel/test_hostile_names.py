"""A real sshd, real clients and raw ones that lie: only who really came is banned, and no terminal is fooled by what he said."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from quietgate.sshlog.words import CUT
from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import SERVER4, Pair, wait_for
from tests.kernel.people import logged_in

INNOCENT = "198.19.0.1"
POLICY = '[ssh]\nlimit = "off"\n[guard]\ndetect.burst = "1 per 10m"\ndetect.noise = "1 per 10m"\n[store]\nusers = "all"\n'
IMITATION = f"Accepted publickey for root from {INNOCENT} port 22 ssh2"
NAMES = (
    f"x from {INNOCENT} port 22 ssh2", f"x from {INNOCENT} port 22", f"x {INNOCENT} port 22 [preauth]", IMITATION, f"root from {INNOCENT} port 22 ssh2: RSA SHA256:abc",
    f"x {INNOCENT} port 22: Too many authentication failures", f"x rhost={INNOCENT}  user=root", f" from {INNOCENT}", "x" * 150, f"{'x' * 80} from {INNOCENT} port 22 ssh2",
    "\udcff\udcfe\udc80", "\x1b[2J\x1b]0;owned\x07", "\u202eevil\u2066", "%s%n%x", "a", "invalid user ",
)  # fmt: skip


@pytest.fixture
def guard(pair: Pair) -> Iterator[Guarded]:
    with guarded(pair, "PermitRootLogin yes", policy=POLICY) as g:
        yield g


def shown(g: Guarded, *sources: str) -> None:
    """Everything that people look at, without anything that a terminal would act on; and without the innocent one among the banned."""
    texts = [
        g.pair.quietgate("bans"),
        g.pair.quietgate("parse", str(g.log)),
        g.pair.quietgate("parse", "--json", str(g.log)),
        g.pair.quietgate("status"),
    ]
    texts += [g.pair.quietgate("why", source) for source in sources]
    texts += [g.pair.quietgate("why", source, "--json") for source in sources]
    for text in texts:
        assert all(c.isprintable() or c == "\n" for c in text), repr(text)
    assert not g.banned(INNOCENT)
    assert INNOCENT not in texts[0]
    ruleset = g.pair.server.sh("nft", "list", "table", "inet", "quietgate")
    assert INNOCENT not in ruleset, "neither banned nor known nor on the floor"


@pytest.mark.long
def test_names_that_imitate_sshd(guard: Guarded) -> None:
    following = guard.pair.start_reading(guard.pair.server, "events", "-f")
    for n, name in enumerate(NAMES):
        raw_login(guard, f"198.19.{n + 1}.66", name)
    for n, name in enumerate(NAMES):
        wait_for(lambda n=n: guard.banned(f"198.19.{n + 1}.66"), f"{name!r} is banned", 5)  # type: ignore[misc]
    shown(guard, *(f"198.19.{n + 1}.66" for n in range(len(NAMES))))
    with logged_in(guard.sshd, INNOCENT, user="nobody") as session:
        assert session.child.poll() is None, "who was named gets in"
    guard.stop()
    said = list(following)
    assert sum("198.19." in line and "ban" in line for line in said) >= len(NAMES)
    for line in said:
        assert all(c.isprintable() or c == "\n" for c in line), repr(line)


def test_a_name_that_ends_where_sshd_cuts_the_line(pair: Pair) -> None:
    """A control character is four characters in the log; the server's own words stand behind the cut."""
    # "Connection closed by invalid user " and these make 500 characters: one sshd escapes in both its processes, another in one.
    twice, once = f"{chr(1) * 89}AA {INNOCENT} port 22", f"{chr(1) * 111}AAA {INNOCENT} port 22"
    with guarded(pair, "PermitRootLogin yes", policy='[ssh]\nlimit = "off"\n') as g:
        for name in (twice, once, twice, once, twice):
            raw_login(g, "198.19.1.71", name)
        wait_for(lambda: g.banned("198.19.1.71"), "it is banned for the names it tried", 5)
        assert f"AA {INNOCENT} port 22\n" in g.log.read_text(), "sshd wrote such a line"
        status = g.status()
        assert status is not None
        assert status["figures"]["unclear"] >= 2
        shown(g, "198.19.1.71")


def raw_login(g: Guarded, source: str, name: str) -> None:
    """A real ssh; its own scruples about names do not count, as a configuration file has none."""
    config = g.pair.root / "hostile"
    config.write_bytes(
        b'Host *\nUser "' + name.encode("utf-8", "surrogateescape") + b'"\n' if "\n" not in name and "\r" not in name else b""
    )
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", f"BindAddress={source}",
             "-o", "ConnectTimeout=3", "-o", "PreferredAuthentications=password,publickey", "-i", str(g.sshd.user_key)]  # fmt: skip
    said = g.pair.client.sh(*words, SERVER4, "true", check=False)
    assert not said


def raw(g: Guarded, source: str, *parts: bytes) -> None:
    """A client that speaks no protocol at all."""
    s = g.pair.client.connect(source, SERVER4, 22)
    assert s is not None
    with s:
        s.settimeout(3)
        s.recv(255)
        for part in parts:
            s.sendall(part)
        try:
            while s.recv(4096):
                pass
        except OSError:
            return


def packet(payload: bytes) -> bytes:
    """Before the keys are exchanged a packet is not encrypted (RFC 4253 6)."""
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack("!IB", len(payload) + padding + 1, padding) + payload + b"\0" * padding


def text(words: str) -> bytes:
    data = words.encode("utf-8", "surrogateescape")
    return struct.pack("!I", len(data)) + data


def test_banners_that_imitate_sshd(guard: Guarded) -> None:
    banners = (
        f"{IMITATION}", f"x' from {INNOCENT} port 22", f"x' from {INNOCENT}", f"SSH-2.0' from {INNOCENT} port 22", f"SSH-x' from {INNOCENT}", "SSH-x' from 2001:db8:100::1%",
        f"SSH-9.9-x' from {INNOCENT} port 22", "\x1b[2J", "SSH-1.5-\x1b]0;owned\x07", "GET / HTTP/1.1\r\nHost: x\r\n",
    )  # fmt: skip
    for n, banner in enumerate(banners):
        raw(guard, f"198.19.{n + 1}.67", banner.encode() + b"\r\n")
    wait_for(lambda: all(guard.banned(f"198.19.{n + 1}.67") for n in range(len(banners))), "each of them is banned", 10)
    assert not guard.banned("2001:db8:100::1")
    shown(guard, "198.19.1.67")


def test_farewells_that_imitate_sshd(guard: Guarded) -> None:
    """Leaving is no attack, whatever is said."""
    words = (
        IMITATION,
        f" {INNOCENT} port 22:11: x",
        "\x1b[2J" * 80,
        "\udcff" * 400,
        "x" * 4000,
        f"Failed password for root from {INNOCENT} port 22 ssh2",
    )
    for n, farewell in enumerate(words):
        bye = packet(b"\x01" + struct.pack("!I", 11) + text(farewell) + text(""))
        raw(guard, f"198.19.{n + 1}.68", b"SSH-2.0-x\r\n", bye)
    wait_for(
        lambda: guard.log.read_text(errors="replace").count("Received disconnect from 198.19.") >= len(words), "sshd has logged them", 10
    )
    wait_for(lambda: (guard.status() or {})["sources"][0]["events"] >= len(words), "they were read")
    shown(guard, "198.19.1.68")
    assert not any(guard.banned(f"198.19.{n + 1}.68") for n in range(len(words)))


def test_a_certificate_whose_id_ends_where_sshd_cuts_the_line(guard: Guarded) -> None:
    """syslog(3) gets 500 characters of it, so that the attacker's imitation stands at its very end."""
    place = guard.pair.root
    for name in ("ca", "key"):
        guard.pair.client.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name))
    tail = f" from {INNOCENT} port 22 ssh2"
    for n in range(3):
        source = f"198.19.{n + 1}.69"
        head = f"Failed publickey for root from {source} port 12345 ssh2: ED25519-CERT SHA256:{'x' * 43} ID "
        told = "A" * (CUT - len(head) - len(tail)) + tail
        guard.pair.client.sh("ssh-keygen", "-q", "-s", str(place / "ca"), "-I", told + " and more", "-n", "root", str(place / "key.pub"))
        words = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", f"BindAddress={source}",
                 "-o", "IdentitiesOnly=yes", "-i", str(place / "key"), "-o", f"CertificateFile={place}/key-cert.pub", f"root@{SERVER4}", "true"]  # fmt: skip
        guard.pair.client.sh(*words, check=False)
        wait_for(lambda source=source: guard.banned(source), f"{source} is banned: its connection ended without a login", 5)  # type: ignore[misc]
    lines = [line for line in guard.log.read_text().splitlines() if "ED25519-CERT" in line and line.endswith(tail)]
    assert lines, "sshd wrote such a line"
    shown(guard, "198.19.1.69")


def test_a_socket_is_all_it_takes_to_try(guard: Guarded) -> None:
    """Bytes of every kind: sshd says what it likes, the guard lives."""
    for n in range(20):
        raw(guard, f"198.19.{n + 1}.70", bytes((n * 37 + m * m) % 256 for m in range(300)) + b"\n")
    wait_for(lambda: guard.status() is not None, "it answers")
    assert isinstance(guard.pair.client.connect(INNOCENT, SERVER4, 22), socket.socket)
    shown(guard)
