"""What attackers need: rulesets with a fix taken out, hand-made TCP connections, and ssh sessions that can be asked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kernel.lab import CLIENT4, SERVER4, Pair, Segment, Sshd, Wire, tcp_packet

BOUND = (f"ListenAddress {SERVER4}",)  # sshd's options for a listener bound to one address
SEQ = 1000  # our first sequence number


# -- rulesets with a fix taken out


def rules(pair: Pair) -> Iterator[dict[str, Any]]:
    """Every rule of our table in the kernel."""
    listed = json.loads(pair.server.sh("nft", "-j", "list", "table", "inet", "quietgate"))
    return (x["rule"] for x in listed["nftables"] if "rule" in x)


def without(pair: Pair, *ids: str) -> None:
    """Take the rules with these ids out of the kernel; each must be there."""
    found = {r["comment"].removeprefix("qg:"): r for r in rules(pair) if "comment" in r}
    pair.server.nft("".join(f"delete rule inet quietgate {found[i]['chain']} handle {found[i]['handle']}\n" for i in ids))


def instead(pair: Pair, id_: str, text: str) -> None:
    """Put another rule in the place of the one with this id."""
    found = next(r for r in rules(pair) if r.get("comment") == f"qg:{id_}")
    pair.server.nft(f"replace rule inet quietgate {found['chain']} handle {found['handle']} {text}\n")


def first(pair: Pair, chain: str, *texts: str) -> None:
    """Put rules, in this order, at the head of a chain of the generation in force."""
    name = next(r["chain"] for r in rules(pair) if r["chain"].endswith(f"_{chain}"))
    pair.server.nft("".join(f"insert rule inet quietgate {name} {text}\n" for text in reversed(texts)))


def trust_conntrack(pair: Pair) -> None:
    """The classic order: what conntrack calls established passes before anything is asked."""
    first(pair, "in", "ct state established,related accept")


def slots(pair: Pair) -> list[str]:
    """The names of the IPv4 slot sets, in order."""
    listed = json.loads(pair.server.sh("nft", "-j", "list", "sets", "table", "inet", "quietgate"))
    return sorted(x["set"]["name"] for x in listed["nftables"] if "set" in x and x["set"]["name"].startswith("slot4_"))


# -- hand-made connections


def strangers(pair: Pair) -> None:
    """Give the attacker 198.18.64.0/18: the server sends there, and no kernel answers."""
    pair.server.sh("ip", "route", "add", "198.18.64.0/18", "via", CLIENT4)
    pair.client.sysctl("net.ipv4.ip_forward", 0)


def stranger(number: int) -> str:
    """An address of `strangers`."""
    return f"198.18.{64 + number // 250}.{1 + number % 250}"


@dataclass
class Hand:
    """A TCP connection made by hand, packet by packet; nothing is ever answered by itself."""

    wire: Wire
    source: str
    sport: int
    theirs: int = 0  # the server's first sequence number, once it was heard
    dport: int = 22

    def packet(self, flags: str, seq: int = SEQ + 1, data: bytes = b"") -> bytes:
        """A packet of this connection; all but the SYN acknowledge the server's SYN."""
        return tcp_packet(self.source, SERVER4, self.sport, self.dport, flags, seq, self.theirs + 1 if "ack" in flags else 0, data)

    def send(self, flags: str, seq: int = SEQ + 1, data: bytes = b"") -> None:
        """Send such a packet."""
        self.wire.send(self.packet(flags, seq, data))

    def syn(self) -> Hand:
        """Send the SYN alone."""
        self.send("syn", SEQ)
        return self

    def open(self, within: float = 1.0) -> bool:
        """Send the SYN and hear the SYN-ACK; the ACK is left to the attack."""
        self.syn()
        return bool(hear_all([self], within))

    def finish(self) -> None:
        """Close as one should: our FIN, the server's FIN, our ACK."""
        self.send("fin ack")
        heard = self.wire.hear(self._closes)
        assert heard is not None, "the server closes too"
        segment = Segment.parse(heard)
        assert segment is not None
        length = int.from_bytes(heard[2:4], "big") - 20 - (heard[32] >> 4) * 4
        self.wire.send(tcp_packet(self.source, SERVER4, self.sport, 22, "ack", SEQ + 2, segment.seq + length + 1))

    def _closes(self, packet: bytes) -> bool:
        heard = Segment.parse(packet)
        return heard is not None and heard.dport == self.sport and "fin" in heard.flags


def hear_all(hands: list[Hand], within: float = 2.0) -> int:
    """Hear the SYN-ACKs to all of these; how many came."""
    waiting = {(h.source, h.sport): h for h in hands}

    def wanted(packet: bytes) -> bool:
        heard = Segment.parse(packet)
        if heard is None or heard.flags != {"syn", "ack"} or (hand := waiting.pop((heard.dst, heard.dport), None)) is None:
            return False
        hand.theirs = heard.seq
        return not waiting

    hands[0].wire.hear(wanted, within)
    return len(hands) - len(waiting)


def opened(hands: list[Hand], batch: int = 100) -> None:
    """SYNs and their SYN-ACKs for many connections, a batch at a time."""
    for start in range(0, len(hands), batch):
        some = hands[start : start + batch]
        for hand in some:
            hand.syn()
        assert hear_all(some) == len(some)


def settled(sshd: Sshd, quiet: float = 0.4) -> int:
    """Forks, when none has been added for a while."""
    last, since = sshd.forks(), time.monotonic()
    while time.monotonic() - since < quiet:
        time.sleep(0.02)
        if (now := sshd.forks()) != last:
            last, since = now, time.monotonic()
    return last


def half_open(pair: Pair) -> int:
    """Sockets of the server that wait for the third packet of a handshake."""
    return len(pair.server.sh("ss", "-Htan", "state", "syn-recv").splitlines())


@contextlib.contextmanager
def mute(pair: Pair) -> Iterator[None]:
    """The client's kernel sends no RST while this lasts: its address is forged, or it is held by an attacker."""
    pair.client.nft("table inet mute {\nchain out { type filter hook output priority 0; tcp flags & rst == rst drop\n}\n}\n")
    try:
        yield
    finally:
        pair.client.sh("nft", "delete", "table", "inet", "mute")


# -- sessions


class Session:
    """A real ssh session in which `cat` runs: what is said comes back while it lives."""

    def __init__(self, pair: Pair, sshd: Sshd, source: str) -> None:
        words = ["ip", "netns", "exec", pair.client.name, *sshd.arguments(source, SERVER4, 5), "cat"]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.pair = pair
        self.sport = 0

    def opened(self) -> None:
        """Await the login."""
        assert self.echoes(10.0), "the session opens"
        self.sport = self._port()

    def echoes(self, within: float = 3.0) -> bool:
        """True if a line comes back."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(b"still here\n")
        except OSError:
            return False
        ready, _, _ = select.select([self.child.stdout], [], [], within)
        return bool(ready) and b"still here" in os.read(self.child.stdout.fileno(), 4096)

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()

    def _port(self) -> int:
        """The port that the ssh client connects from."""
        for line in self.pair.client.sh("ss", "-Htnp", "state", "established").splitlines():
            if f"pid={self.child.pid}," in line:
                return int(line.split()[2].rsplit(":", 1)[1])
        raise AssertionError("no socket of the session")


@contextlib.contextmanager
def sessions(pair: Pair, sshd: Sshd, source: str, count: int) -> Iterator[list[Session]]:
    """Open sessions of one source."""
    open_now: list[Session] = []
    try:
        for _ in range(count):
            open_now.append(Session(pair, sshd, source))
        for session in open_now:
            session.opened()
        yield open_now
    finally:
        for session in open_now:
            session.close()
