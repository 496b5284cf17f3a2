"""A place for the administrator in sshd itself, whatever two hundred bots within their limits do."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator

from tests.kernel.lab import SERVER4, Pair, wait_for

KNOWN = "198.19.200.1"
STARTUPS = "MaxStartups 10:30:60"


class Bots(threading.Thread):
    """Sources, most of them in a /24 of their own, that each hold as many connections to sshd as they get, and open a new one whenever one ends, though no sooner
    than after `pause` seconds.
    """

    def __init__(self, pair: Pair, count: int = 200, each: int = 1, pause: float = 1.0) -> None:
        super().__init__(daemon=True)
        self.pair, self.sources, self.each = pair, [f"198.19.{n % 190}.{n // 190 + 1}" for n in range(count)], each
        self.pause = pause
        self.stop = threading.Event()
        self.opened = 0

    def run(self) -> None:
        watch = selectors.DefaultSelector()
        made: dict[str, list[float]] = {s: [] for s in self.sources}
        begin = {s: time.monotonic() + (self.pause - 1) * n / len(made) for n, s in enumerate(made)}  # with a pause, one by one
        with self.pair.client.inside():
            while not self.stop.is_set():
                now = time.monotonic()
                for source, times in made.items():
                    times[:] = [t for t in times if now - t < 61]
                    if now >= begin[source] and len(times) < 5 and sum(1 for t in times if now - t < self.pause) < self.each:
                        times.append(now)
                        watch.register(self._open(source), selectors.EVENT_READ, now)
                for key, _ in watch.select(0.02):
                    self._heard(watch, key, now)
        for key in list(watch.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def _open(self, source: str) -> socket.socket:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.IPPROTO_IP, 15, 1)
        s.bind((source, 0))
        s.setblocking(False)
        s.connect_ex((SERVER4, 22))
        return s

    def _heard(self, watch: selectors.BaseSelector, key: selectors.SelectorKey, now: float) -> None:
        s = key.fileobj
        assert isinstance(s, socket.socket)
        try:
            data = s.recv(256)
        except OSError:
            data = b""
        if data.startswith(b"SSH-"):
            self.opened += 1  # sshd spoke: the bot sits in one of its places until it is thrown out, or a while
        if not data.startswith(b"SSH-") or now - key.data > 8:
            watch.unregister(s)
            s.close()


@contextlib.contextmanager
def attacked(pair: Pair, pause: float = 1.0) -> Iterator[Bots]:
    bots = Bots(pair, pause=pause)
    bots.start()
    try:
        wait_for(lambda: bots.opened >= 6, "the bots are in", 20)
        yield bots
    finally:
        bots.stop.set()
        bots.join(20)


def known(pair: Pair, address: str = KNOWN) -> None:
    """As if somebody had logged in from there."""
    pair.server.sh("nft", "add element inet quietgate known4_32 { " + address + " timeout 1h }")


def tries(pair: Pair, count: int = 20) -> list[bool]:
    return [pair.client.banner(KNOWN, SERVER4, timeout=2) for _ in range(count)]


def test_a_known_administrator_gets_in_twenty_times_out_of_twenty(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("")
    known(pair)
    with attacked(pair):
        assert all(tries(pair))
    assert pair.counters()["ssh_reserved"] > 50, "the bots did hammer"


def test_without_a_reserve_he_does_not(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("[ssh]\nreserve = 0\n")
    known(pair)
    with attacked(pair):
        assert not all(tries(pair))


def test_a_stranger_gets_a_place_when_one_is_free_again(pair: Pair) -> None:
    pair.sshd(STARTUPS)
    pair.up("")
    held = [pair.client.connect(f"198.19.{n}.1", SERVER4, 22) for n in range(1, 7)]
    assert all(s is not None and s.recv(8) for s in held)
    assert not pair.client.banner("198.19.0.50", SERVER4, timeout=0.5)
    assert held[0] is not None
    held[0].close()
    wait_for(lambda: pair.client.banner("198.19.0.51", SERVER4, timeout=0.3), "a place is free", 3)


def test_who_leaves_by_a_reset_frees_the_place(pair: Pair) -> None:
    import struct

    pair.sshd(STARTUPS)
    pair.up("")
    held = [pair.client.connect(f"198.19.{n}.1", SERVER4, 22) for n in range(1, 7)]
    for s in held:
        assert s is not None
        assert s.recv(8)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    begin = time.monotonic()
    wait_for(lambda: pair.client.banner(f"198.19.1.{int(time.monotonic() - begin)}", SERVER4, timeout=0.3), "free again", 5)


def test_forged_packets_take_no_place(pair: Pair) -> None:
    from tests.kernel.lab import Wire, tcp_packet

    pair.sshd(STARTUPS)
    pair.up("")
    with Wire(pair) as wire:
        for n in range(200):
            wire.send(tcp_packet(f"198.19.3.{n + 1}", SERVER4, 40000 + n, 22, "syn", seq=n))
            wire.send(tcp_packet(f"198.19.3.{n + 1}", SERVER4, 40000 + n, 22, "ack", seq=n + 1, ack=n))
    assert pair.client.banner("198.19.0.50", SERVER4, timeout=2)


def test_known_sources_have_a_limit_of_their_own(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nknown_limit = "12 per 1m"\n')
    known(pair)
    got = tries(pair, 14)
    assert got[:12] == [True] * 12
    assert not all(got[12:])
    assert pair.counters()["ssh_known_over"] >= 1
