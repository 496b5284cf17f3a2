"""Set elements over nf_tables netlink, packed here.

One ban is one message of about 100 bytes and takes microseconds; a million go in a few seconds, where one `nft`
process per ban takes hours. The layout is that of linux/netfilter/nf_tables.h; tests hold it against what nft lists.

A batch is one transaction: all of it or nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from quietgate.errors import KernelError, NotPermitted
from quietgate.net import BITS
from quietgate.values import TABLE, Element, Flow

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWSETELEM, GETSETELEM, DELSETELEM, GETGEN = 12, 13, 14, 16
GEN_ID = 1
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_DUMP, NLM_F_CREATE = 1, 4, 0x200, 0x300, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
MAX_ERRNO = 4095
NFPROTO_INET = 1
NESTED = 0x8000
# linux/netfilter/nf_tables.h
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = 1
ELEM_KEY, ELEM_FLAGS, ELEM_TIMEOUT, ELEM_EXPIRATION = 1, 3, 4, 5
DATA_VALUE = 1
INTERVAL_END = 1
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER = 256 << 20
MESSAGE = 60_000  # bytes of elements in one message: an attribute's length has 16 bits
A_LITTLE = 1000  # elements: a few milliseconds
ANSWER = 10  # seconds
PER_BATCH = 65_536  # elements in one transaction: bounds the kernel's memory

KEY_AT = 12  # of the key in an element: after the headers of LIST_ELEM, ELEM_KEY and DATA_VALUE

# An element to add: packed key, and its timeout in milliseconds (None: none).
Item = tuple[bytes, int | None]


def _attr(kind: int, payload: bytes) -> bytes:
    length = len(payload) + 4
    return struct.pack("<HH", length, kind) + payload + bytes(-length % 4)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _header(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def element(key: bytes, timeout_ms: int | None = None, *, end: bool = False) -> bytes:
    """One element: its key, a timeout in milliseconds, or the exclusive end of an interval."""
    body = _attr(ELEM_KEY | NESTED, _attr(DATA_VALUE, key))
    if timeout_ms is not None:
        body += _attr(ELEM_TIMEOUT, struct.pack(">Q", timeout_ms))
    if end:
        body += _attr(ELEM_FLAGS, struct.pack(">I", INTERVAL_END))
    return _attr(LIST_ELEM | NESTED, body)


def pack(items: Iterable[Item]) -> list[bytes]:
    """One element for each item. Elements differ in their key and timeout alone: what stands around them is made once for each shape."""
    around: dict[tuple[int, bool], tuple[bytes, bytes]] = {}
    packed = []
    for key, timeout in items:
        shape = (len(key), timeout is None)
        if shape not in around:
            one = element(bytes(len(key)), None if timeout is None else 0)
            around[shape] = one[:KEY_AT], one[KEY_AT + len(key) : len(one) if timeout is None else -8]
        head, tail = around[shape]
        packed.append(head + key + tail if timeout is None else head + key + tail + timeout.to_bytes(8, "big"))
    return packed


def interval(version: int, first: int, last: int, timeout_ms: int | None) -> bytes:
    """The elements of one interval, both ends included: its start, and the address after its end (if there is one)."""
    size = 4 if version == 4 else 16
    packed = element(first.to_bytes(size, "big"), timeout_ms)
    if last + 1 < 1 << (8 * size):
        packed += element((last + 1).to_bytes(size, "big"), end=True)
    return packed


def ends(flow: Flow) -> bytes:
    """The key of an inbound connection in a set of both ends: source, source port, destination, destination port."""
    size = BITS[flow.peer.version] // 8
    port = struct.Struct(">Hxx")  # a port fills 32 bits in a concatenated key
    far = flow.peer.value.to_bytes(size, "big") + port.pack(flow.peer_port)
    return far + flow.local.value.to_bytes(size, "big") + port.pack(flow.local_port)


class SetWriter:
    """A netlink socket of this network namespace for elements of the sets in our table.

    `add`, `replace`, `delete` raise KernelError (ENOENT: no such table or set; ENFILE: the set is full) or
    NotPermitted. Within one batch nothing is half done.
    """

    def __init__(self, table: str = TABLE) -> None:
        self._table = table.encode() + b"\0"
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as error:
            raise _failure(error.errno or errno.EIO) from None
        self._socket.bind((0, 0))
        # The kernel answers before `send` returns: an answer that is not there was lost.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", ANSWER, 0))
        self._sequence = 0
        self.made = 0  # transactions
        for option, fallback in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, fallback, BUFFER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def add(self, name: str, items: Sequence[Item]) -> None:
        """Add elements, in transactions of PER_BATCH. Idempotent; a new timeout replaces the old one."""
        for start in range(0, len(items), PER_BATCH):
            part = items[start : start + PER_BATCH]
            packed = pack(part)
            try:
                self._batch(list(self._messages(NEWSETELEM, name, packed, NLM_F_EXCL)))
            except KernelError as error:
                if error.errno != errno.EEXIST:
                    raise
                self._again(name, part, packed)

    def renew(self, name: str, items: Sequence[Item]) -> None:
        """The same for elements most of which are there: it spares the refusal, after which the kernel waits about ten
        milliseconds for its readers (`synchronize_rcu` in an aborted transaction).
        """
        for start in range(0, len(items), PER_BATCH):
            part = items[start : start + PER_BATCH]
            self._again(name, part, pack(part))

    def top_up(self, name: str, items: Sequence[Item]) -> None:
        """Add what is not there; whether the rest get the new timeout is the kernel's affair. In small transactions: while one
        is at work, nobody else's begins. Idempotent.
        """
        for start in range(0, len(items), A_LITTLE):
            self._batch(list(self._messages(NEWSETELEM, name, pack(items[start : start + A_LITTLE]))))

    def _again(self, name: str, part: Sequence[Item], packed: Sequence[bytes]) -> None:
        # Older kernels leave the timeout of an element alone that is there: add, delete, add makes it new.
        bare = pack((key, None) for key, _ in part)
        self._batch([*self._messages(NEWSETELEM, name, packed), *self._messages(DELSETELEM, name, bare),
                     *self._messages(NEWSETELEM, name, packed)])  # fmt: skip

    def delete(self, name: str, keys: Sequence[bytes]) -> None:
        """Delete elements, there or not. Idempotent."""
        for start in range(0, len(keys), PER_BATCH):
            packed = pack((key, None) for key in keys[start : start + PER_BATCH])
            # Deleting what has expired fails; what was just added is there.
            self._batch([*self._messages(NEWSETELEM, name, packed), *self._messages(DELSETELEM, name, packed)])

    def replace(self, name: str, items: Iterable[Item]) -> None:
        """Give a hash set exactly these elements, in one transaction."""
        packed = pack(items)
        self._batch([self._flush(name), *self._messages(NEWSETELEM, name, packed)])

    def replace_intervals(self, name: str, version: int, intervals: Iterable[tuple[int, int, int | None]]) -> None:
        """Give an interval set exactly these (first, last, timeout in ms), disjoint, in one transaction."""
        packed = [interval(version, first, last, timeout) for first, last, timeout in intervals]
        self._batch([self._flush(name), *self._messages(NEWSETELEM, name, packed)])

    def get(self, name: str, key: bytes) -> Element | None:
        """What a set holds for this key; None for nothing, or no such set. Looks up one element, dumps nothing."""
        body = self._target(name) + _attr(LIST_ELEMENTS | NESTED, element(key))
        reply = self._ask(GETSETELEM, body)
        return None if reply is None else _parse_element(reply)

    def keys(self, name: str) -> set[bytes]:
        """Every key of a small hash set. Raises KernelError (ENOENT: no such table or set)."""
        self._send(self._request(GETSETELEM, self._target(name), NLM_F_DUMP))
        found: set[bytes] = set()
        while True:
            for kind, number, body in parsed(self._receive()):
                if number != self._sequence:
                    continue  # it answers an earlier request, whose answer was given up
                if kind == NLMSG_ERROR:
                    raise _failure(refusal(body))
                if kind == NLMSG_DONE:
                    return found
                found.update(_parse_keys(body))

    def generation(self) -> int:
        """The number of the ruleset's generation in this namespace: one more after each transaction that changed something (32 bits)."""
        reply = self._ask(GETGEN, _header(0))
        number = dict(attributes(reply[4:])).get(GEN_ID) if reply is not None else None
        if number is None or len(number) != 4:
            raise _failure(errno.EPROTO)
        return int.from_bytes(number, "big")

    def _target(self, name: str) -> bytes:
        return _header(NFPROTO_INET) + _attr(LIST_TABLE, self._table) + _attr(LIST_SET, name.encode() + b"\0")

    def _flush(self, name: str) -> bytes:
        return self._request(DELSETELEM, self._target(name), 0)

    def _messages(self, kind: int, name: str, packed: Sequence[bytes], more: int = 0) -> Iterator[bytes]:
        target = self._target(name)
        flags = (NLM_F_CREATE if kind == NEWSETELEM else 0) | more
        chunk: list[bytes] = []
        size = 0
        for one in packed:
            chunk.append(one)
            size += len(one)
            if size >= MESSAGE:
                yield self._request(kind, target + _attr(LIST_ELEMENTS | NESTED, b"".join(chunk)), flags)
                chunk, size = [], 0
        if chunk:
            yield self._request(kind, target + _attr(LIST_ELEMENTS | NESTED, b"".join(chunk)), flags)

    def _request(self, kind: int, body: bytes, flags: int) -> bytes:
        self._sequence += 1
        return _message(NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST | flags, self._sequence, body)

    def _batch(self, messages: list[bytes]) -> None:
        if not messages:
            return
        edge = _header(0, NFNL_SUBSYS_NFTABLES)
        first = struct.unpack_from("<I", messages[0], 8)[0]
        self._sequence += 1
        begin = _message(BATCH_BEGIN, NLM_F_REQUEST, self._sequence, edge)
        # Only the last message asks for an acknowledgement: errors come unasked, and each ends the batch.
        last = bytearray(messages[-1])
        flags, sequence = struct.unpack_from("<HI", last, 6)
        struct.pack_into("<H", last, 6, flags | NLM_F_ACK)
        end = _message(BATCH_END, NLM_F_REQUEST, self._sequence + 1, edge)
        self._sequence += 1
        self._send(b"".join([begin, *messages[:-1], bytes(last), end]))
        while True:
            for kind, number, body in parsed(self._receive()):
                # What answers an earlier request, whose answer was given up, is passed over.
                if kind == NLMSG_ERROR and first <= number <= self._sequence:
                    code = refusal(body)
                    if code:
                        self._drain()
                        raise _failure(code)
                    if number == sequence:
                        self._drain()
                        self.made += 1
                        return

    def _ask(self, kind: int, body: bytes) -> bytes | None:
        self._send(self._request(kind, body, NLM_F_ACK))
        found = None
        while True:
            for reply, number, payload in parsed(self._receive()):
                if number != self._sequence:
                    continue  # it answers an earlier request, whose answer was given up
                if reply == NLMSG_ERROR:
                    code = refusal(payload)
                    if code in (0, errno.ENOENT):
                        return found
                    raise _failure(code)
                found = payload

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise _failure(error.errno or errno.EIO) from None

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 20)
        except OSError as error:
            raise _failure(error.errno or errno.EIO) from None

    def _drain(self) -> None:
        """Throw away further errors of a batch that has failed."""
        try:
            while self._socket.recv(1 << 20, socket.MSG_DONTWAIT):
                pass
        except OSError:
            return


def refusal(body: bytes) -> int:
    """The error number in the body of an NLMSG_ERROR; 0 for an acknowledgement, EPROTO for what is neither (linux/err.h: MAX_ERRNO)."""
    code = -struct.unpack_from("<i", body)[0] if len(body) >= 4 else errno.EPROTO
    return code if 0 <= code <= MAX_ERRNO else errno.EPROTO


def parsed(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and body of each message; a cut or malformed tail is left out."""
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("<IHHII", data, at)
        if length < 16 or at + length > len(data):
            return
        yield kind, sequence, data[at + 16 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind (without its flags) and payload of each attribute; a cut or malformed tail is left out."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _parse_element(body: bytes) -> Element | None:
    """The first element in the reply to GETSETELEM."""
    for kind, payload in attributes(body[4:]):
        if kind == LIST_ELEMENTS:
            for _, one in attributes(payload):
                parts = dict(attributes(one))
                left = parts.get(ELEM_EXPIRATION)
                return Element(struct.unpack(">Q", left)[0] / 1000 if left and len(left) == 8 else None)
    return None


def _parse_keys(body: bytes) -> Iterator[bytes]:
    """The keys in one part of a dump of elements."""
    for kind, payload in attributes(body[4:]):
        if kind == LIST_ELEMENTS:
            for _, one in attributes(payload):
                value = dict(attributes(dict(attributes(one)).get(ELEM_KEY, b""))).get(DATA_VALUE)
                if value:
                    yield value


def _failure(code: int) -> KernelError | NotPermitted:
    if code in (errno.EPERM, errno.EACCES):
        return NotPermitted("the kernel does not let this user change the firewall", "run this as root, with sudo")
    hints = {
        errno.ENOENT: "the firewall is not up: quietgate up",
        errno.ENFILE: "the set is full; raise bans.max or ban prefixes",
        errno.ENOBUFS: "the kernel is short of buffers; try again",
        errno.ENOMEM: "the kernel is short of memory",
    }
    return KernelError(f"the kernel refused a change of a set: {os.strerror(code)}", code, hints.get(code, "nothing was changed"))
