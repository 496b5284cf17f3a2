"""Whatever a netlink socket receives: a result or an error of ours, and never for ever.

An input is one byte that chooses the question, then datagrams: two bytes of length (of which the highest bit
says that receiving fails) and the bytes. When they are used up, receiving fails, as on a socket that times out.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from unittest import mock

import atheris

with atheris.instrument_imports(include=["quietgate"]):
    from quietgate.errors import QuietgateError
    from quietgate.host import conntrack, netlink, ruleset_changes, sockets
    from quietgate.net import parse_address
    from quietgate.values import Flow

from fuzz.run import fuzz

FLOW = Flow(parse_address("203.0.113.9"), 40000, parse_address("198.51.100.1"), 22, 7, 9)
FLOW6 = Flow(parse_address("2001:db8::9"), 40000, parse_address("2001:db8::1"), 22, 7, 9)
KEY = bytes((203, 0, 113, 9))
FAILS = 0x8000  # in a datagram's length


class Kernel:
    """What stands for a socket: it answers with the datagrams of `said`, and fails after them."""

    said = b""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def bind(self, _where: object) -> None:
        pass

    def setsockopt(self, *_: object) -> None:
        pass

    def settimeout(self, _seconds: float) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, data: bytes) -> int:
        if len(Kernel.said) == 1:  # one odd byte is left: sending fails
            Kernel.said = b""
            raise OSError(errno.ENOBUFS, "no buffers")
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if len(Kernel.said) < 2:
            raise BlockingIOError(errno.EAGAIN, "nothing") if flags & socket.MSG_DONTWAIT else OSError(errno.ENOBUFS, "no buffers")
        (length,) = struct.unpack_from("<H", Kernel.said)
        if length & FAILS:
            Kernel.said = Kernel.said[2:]
            raise OSError(errno.ENOBUFS, "no buffers")
        found, Kernel.said = Kernel.said[2 : 2 + min(length, size)], Kernel.said[2 + length :]
        return found


def _writes(deed: Callable[[netlink.SetWriter], Any]) -> Callable[[], Any]:
    def ask() -> Any:
        with netlink.SetWriter() as sets:
            return deed(sets)

    return ask


QUESTIONS: tuple[Callable[[], Any], ...] = (
    _writes(lambda s: s.get("ban4", KEY)),
    _writes(lambda s: s.generation()),
    _writes(lambda s: s.add("ban4", [(KEY, 1000)])),
    _writes(lambda s: s.delete("ban4", [KEY])),
    _writes(lambda s: s.replace("ban4", [(KEY, None)])),
    _writes(lambda s: ruleset_changes.Changes(s).new()),
    sockets.listeners,
    sockets.udp_listeners,
    lambda: sockets.flows(frozenset(range(65536))),
    sockets.own_addresses,
    lambda: sockets.destroy(FLOW),
    lambda: sockets.destroy(FLOW6),
    lambda: conntrack.entry_id(FLOW),
    lambda: conntrack.entry_id(FLOW6),
)


def one(data: bytes) -> None:
    """One question, and these answers."""
    if not data:
        return
    Kernel.said = data[1:]
    ask = QUESTIONS[data[0] % len(QUESTIONS)]
    with mock.patch.object(socket, "socket", Kernel):
        try:
            found = ask()
        except QuietgateError:
            return
    if ask in QUESTIONS[-2:]:
        assert found is None or len(found) == 4, "a conntrack id has four bytes"


# -- what a kernel says


def _datagram(*messages: bytes) -> bytes:
    body = b"".join(messages)
    return struct.pack("<H", len(body)) + body


def _message(kind: int, body: bytes, sequence: int) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, 0, sequence, 0) + body + bytes(-len(body) % 4)


def _attr(kind: int, payload: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def seeds() -> Iterator[bytes]:
    """For each question, which is the first or the second of its socket: a true answer, refusals, and nothing."""
    first, second = answers(1), answers(2)
    for question in range(len(QUESTIONS)):
        for answer in (*first, *second, *(a + b for a, b in zip(first, second, strict=True))):
            yield bytes((question,)) + answer


def answers(sequence: int) -> list[bytes]:
    """What the kernel says to the request of that number."""

    def message(kind: int, body: bytes) -> bytes:
        return _message(kind, body, sequence)

    done, ok = message(3, bytes(4)), message(2, bytes(20))
    nfnl, data = bytes(4), _attr(1, _attr(1, KEY)) + _attr(5, struct.pack(">Q", 60_000))
    elements = nfnl + _attr(1, b"quietgate\0") + _attr(2, b"ban4\0") + _attr(3, _attr(1, data))
    diag = bytes((2, 10, 0, 0)) + struct.pack(">HH", 22, 40000) + KEY + bytes(12) + KEY + bytes(12) + bytes(32)
    diag6 = bytes((10, 1, 0, 0)) + struct.pack(">HH", 22, 40000) + bytes(32) + bytes(32)
    address = bytes((2, 24, 0, 0)) + bytes(4) + _attr(1, KEY) + _attr(2, KEY)
    entry = nfnl + _attr(1, _attr(1, _attr(1, KEY) + _attr(2, KEY))) + _attr(12, b"\1\2\3\4")
    return [
        _datagram(message(10 << 8 | 12, elements)) + _datagram(ok), _datagram(message(10 << 8 | 15, nfnl + _attr(1, bytes(4)))) + _datagram(ok),
        _datagram(ok), _datagram(message(20, diag), message(20, diag)) + _datagram(done) + _datagram(message(20, diag6)) + _datagram(done),
        _datagram(message(20, address), done), _datagram(message(1 << 8, entry)), b"", struct.pack("<H", FAILS), b"x",
        *(_datagram(message(2, struct.pack("<i", -code) + bytes(16))) for code in (errno.ENOENT, errno.EEXIST, errno.EPERM, errno.ENFILE)),
    ]  # fmt: skip


if __name__ == "__main__":
    fuzz("netlink", one, seeds())
