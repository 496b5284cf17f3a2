"""TCP sockets and addresses of this network namespace, asked of the kernel (sock_diag, rtnetlink), not of a program."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from quietgate.net import Prefix, parse_address
from quietgate.values import Flow, Listener

SOCK_DIAG_BY_FAMILY = 20
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
ESTABLISHED, LISTEN = 1, 10
RTM_GETADDR = 22
IFA_ADDRESS, IFA_LOCAL = 1, 2


def listeners() -> list[Listener]:
    """Every listening TCP socket."""
    found = []
    for version, _state, sport, _dport, src, _dst, inode in _sockets(1 << LISTEN):
        found.append(Listener(version, sport, not any(src[: 4 if version == 4 else 16]), inode))
    return found


def flows(ports: frozenset[int]) -> list[Flow]:
    """Every established TCP connection to one of these local ports, IPv4-mapped ones as IPv4."""
    found = []
    for version, _state, sport, dport, src, dst, _inode in _sockets(1 << ESTABLISHED):
        if sport in ports:
            found.append(Flow(_address(version, dst), dport, _address(version, src), sport))
    return found


def own_addresses() -> list[Prefix]:
    """Every address of this host."""
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as s:
        s.bind((0, 0))
        s.send(struct.pack("<IHHII", 24, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes(8))
        for kind, body in _dump(s):
            if kind != 20 or len(body) < 8:  # RTM_NEWADDR
                continue
            attributes = dict(_attributes(body[8:]))
            raw = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
            if raw and len(raw) in (4, 16):
                found.append(Prefix(4 if len(raw) == 4 else 6, int.from_bytes(raw, "big"), len(raw) * 8))
    return found


def process_of(inodes: frozenset[int], command: str) -> frozenset[int]:
    """Those of these socket inodes that a process named `command` holds (reads /proc; needs root for all)."""
    wanted = {f"socket:[{i}]": i for i in inodes}
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if (process / "comm").read_text().strip() != command:
                continue
            for descriptor in (process / "fd").iterdir():
                target = str(descriptor.readlink())
                if target in wanted:
                    found.add(wanted[target])
        except OSError:
            continue  # it ended meanwhile, or is not ours to see
    return frozenset(found)


def _sockets(states: int) -> Iterator[tuple[int, int, int, int, bytes, bytes, int]]:
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as s:
            s.bind((0, 0))
            # struct inet_diag_req_v2: family, protocol, ext, pad, states, then an empty socket id
            body = struct.pack("<BBBBI", family, socket.IPPROTO_TCP, 0, 0, states) + bytes(48)
            s.send(struct.pack("<IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
            for kind, reply in _dump(s):
                if kind == SOCK_DIAG_BY_FAMILY and len(reply) >= 72:
                    _, state = struct.unpack_from("<BB", reply)
                    sport, dport = struct.unpack_from(">HH", reply, 4)
                    inode = struct.unpack_from("<I", reply, 68)[0]
                    yield version, state, sport, dport, reply[8:24], reply[24:40], inode


def _address(version: int, raw: bytes) -> Prefix:
    if version == 4:
        return Prefix(4, int.from_bytes(raw[:4], "big"), 32)
    return parse_address(socket.inet_ntop(socket.AF_INET6, raw))


def _dump(s: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = s.recv(1 << 18)
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("<IH", data, at)
            if length < 16 or kind in (NLMSG_DONE, NLMSG_ERROR):
                return
            yield kind, data[at + 16 : at + length]
            at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3
