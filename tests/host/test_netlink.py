"""What a netlink socket receives, from a stand-in for the kernel: cut, malformed or refused, it is an error of ours or nothing."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Self

import pytest

from quietgate.errors import HostError, KernelError, NotPermitted
from quietgate.host import conntrack, netlink, sockets
from quietgate.host.netlink import SetWriter
from quietgate.net import parse_address
from quietgate.values import Flow

FLOW = Flow(parse_address("203.0.113.9"), 40000, parse_address("198.51.100.1"), 22, 7, 9)
KEY = bytes((203, 0, 113, 9))


class Kernel:
    """A socket that receives these datagrams one after the other, then fails; with `deaf` it cannot even be asked."""

    def __init__(self, *said: bytes, deaf: bool = False) -> None:
        self.said, self.deaf = list(said), deaf

    def __call__(self, *_: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, *_: object) -> None:
        pass

    setsockopt = settimeout = close = bind

    def send(self, data: bytes) -> int:
        if self.deaf:
            raise OSError(errno.ENOBUFS, "no buffers")
        return len(data)

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        if not self.said:
            raise OSError(errno.ENOBUFS, "no buffers")
        return self.said.pop(0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def says(*said: bytes, deaf: bool = False) -> None:
        monkeypatch.setattr(socket, "socket", Kernel(*said, deaf=deaf))

    return says


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, 0, 1, 0) + body


def refused(code: int) -> bytes:
    return message(netlink.NLMSG_ERROR, struct.pack("<i", -code) + bytes(16))


CUT = message(netlink.NLMSG_ERROR, b"\0\0")
WRITES: list[Callable[[SetWriter], Any]] = [
    lambda s: s.get("ban4", KEY),
    lambda s: s.generation(),
    lambda s: s.add("ban4", [(KEY, 1000)]),
    lambda s: s.delete("ban4", [KEY]),
]
ASKS: list[Callable[[], Any]] = [
    sockets.listeners, sockets.udp_listeners, sockets.own_addresses, lambda: sockets.flows(frozenset({22})), lambda: sockets.destroy(FLOW),
]  # fmt: skip


@pytest.mark.parametrize("deed", WRITES)
@pytest.mark.parametrize("said", [CUT, message(netlink.NLMSG_ERROR, b""), refused(-5), refused((1 << 31) - 1), refused(5000)])
def test_a_refusal_that_is_none_is_a_failure_of_the_kernel(
    kernel: Callable[..., None], deed: Callable[[SetWriter], Any], said: bytes
) -> None:
    kernel(said)
    with SetWriter() as sets, pytest.raises(KernelError) as failed:
        deed(sets)
    assert failed.value.errno == errno.EPROTO


@pytest.mark.parametrize("deed", WRITES)
def test_who_cannot_be_asked_is_a_failure_of_the_kernel(kernel: Callable[..., None], deed: Callable[[SetWriter], Any]) -> None:
    kernel(deaf=True)
    with SetWriter() as sets, pytest.raises(KernelError) as failed:
        deed(sets)
    assert failed.value.errno == errno.ENOBUFS


def test_what_a_batch_failed_of_is_told_even_if_the_rest_is_lost(kernel: Callable[..., None]) -> None:
    kernel(refused(errno.EPERM))
    with SetWriter() as sets, pytest.raises(NotPermitted):
        sets.delete("ban4", [KEY])


@pytest.mark.parametrize("ask", ASKS)
def test_sockets_that_cannot_be_asked_for_are_this_hosts_failure(kernel: Callable[..., None], ask: Callable[[], Any]) -> None:
    for deaf in (False, True):
        kernel(deaf=deaf)
        with pytest.raises(HostError):
            ask()


@pytest.mark.parametrize(
    "said",
    [b"", b"\0", bytes(5), bytes(16), message(1 << 8, bytes(4)), refused(errno.ENOENT), message(1 << 8, bytes(4) + struct.pack("<HH", 8, conntrack.ID)),
     message(1 << 8, bytes(4) + struct.pack("<HH", 4, conntrack.ID) + bytes(4)), message(1 << 8, bytes(4) + struct.pack("<HH", 0, 7))],
)  # fmt: skip
def test_a_connection_whose_id_is_not_told_has_none(kernel: Callable[..., None], said: bytes) -> None:
    kernel(said)
    assert conntrack.entry_id(FLOW) is None


def test_an_id_is_four_bytes(kernel: Callable[..., None]) -> None:
    kernel(message(1 << 8, bytes(4) + struct.pack("<HH", 8, conntrack.ID) + b"\1\2\3\4"))
    assert conntrack.entry_id(FLOW) == b"\1\2\3\4"
