"""Sockets and addresses of this network namespace, asked of the kernel (sock_diag, rtnetlink), not of a program.

All raise KernelError where it does not answer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from quietgate.errors import KernelError, NotPermitted
from quietgate.host.reading import read_text
from quietgate.net import MAPPED, Prefix, parse_address
from quietgate.values import Flow, Listener

SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
NO_COOKIE = (1 << 64) - 1  # INET_DIAG_NOCOOKIE in both halves
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
ESTABLISHED, SYN_RECV, CLOSE, CLOSE_WAIT, LISTEN = 1, 3, 7, 8, 10
RTM_GETADDR = 22
IFA_ADDRESS, IFA_LOCAL = 1, 2
INFO = 2  # INET_DIAG_INFO: struct tcp_info (linux/tcp.h)
RECEIVED_AT = 128  # of tcpi_bytes_received in it


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KernelError(
            f"the kernel does not tell of its sockets: {error.strerror or error}", error.errno or errno.EIO, "try again"
        ) from None


def listeners() -> list[Listener]:
    """Every listening TCP socket."""
    found = []
    for version, sport, _dport, src, _dst, inode, _cookie in _sockets(1 << LISTEN):
        found.append(Listener(version, sport, not any(src[: 4 if version == 4 else 16]), inode, _address(version, src)))
    return found


def udp_listeners() -> list[Listener]:
    """Every UDP socket that is not connected to one peer."""
    found = []
    for version, sport, dport, src, _dst, inode, _cookie in _sockets(1 << CLOSE, socket.IPPROTO_UDP):
        if dport == 0:
            found.append(Listener(version, sport, not any(src[: 4 if version == 4 else 16]), inode, _address(version, src)))
    return found


def raw_protocols() -> list[tuple[int, int]]:
    """IP protocol and inode of each raw socket: who speaks VRRP, OSPF and the like has one."""
    found = []
    for name in ("raw", "raw6"):
        with contextlib.suppress(OSError):
            for line in read_text(Path("/proc/thread-self/net", name)).splitlines()[1:]:
                words = line.split()  # the port's place holds the protocol (net/ipv4/raw.c, raw_sock_seq_show)
                found.append((int(words[1].rsplit(":", 1)[1], 16), int(words[9])))
    return found


def flows(ports: frozenset[int]) -> list[Flow]:
    """Every established TCP connection to one of these local ports, IPv4-mapped ones as IPv4."""
    found = []
    for version, sport, dport, src, dst, inode, cookie in _sockets(1 << ESTABLISHED):
        if sport in ports:
            found.append(Flow(_address(version, dst), dport, _address(version, src), sport, inode, cookie))
    return found


def sitting(ports: frozenset[int]) -> list[tuple[Flow, int]]:
    """Every connection to one of these local ports that this side has not closed, in the middle of its handshake too, with the bytes
    that came in over it.
    """
    found = []
    for version, reply in _replies(1 << ESTABLISHED | 1 << SYN_RECV | 1 << CLOSE_WAIT, socket.IPPROTO_TCP, 1 << (INFO - 1)):
        sport, dport, src, dst, inode, cookie = _parsed(reply)
        if sport in ports:
            info = dict(_attributes(reply[72:])).get(INFO, b"")
            received = struct.unpack_from("<Q", info, RECEIVED_AT)[0] if len(info) >= RECEIVED_AT + 8 else 0
            found.append((Flow(_address(version, dst), dport, _address(version, src), sport, inode, cookie), received))
    return found


def destroy(flow: Flow) -> bool:
    """End one TCP connection at once, for both sides (sock_diag's SOCK_DESTROY). False if it was gone already.

    Raises NotPermitted without CAP_NET_ADMIN. Reaches sockets of this network namespace only.
    """
    for family in (socket.AF_INET, socket.AF_INET6):  # a dual-stack socket holds its IPv4 peer as ::ffff:a.b.c.d
        if family == socket.AF_INET and flow.peer.version == 6:
            continue
        ends = (_raw(flow.local, family), _raw(flow.peer, family))
        body = struct.pack("<BBBBI", family, socket.IPPROTO_TCP, 0, 0, 1 << ESTABLISHED) + struct.pack(
            ">HH", flow.local_port, flow.peer_port
        )
        body += ends[0] + ends[1] + struct.pack("<IQ", 0, flow.cookie or NO_COOKIE)
        with _asking(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as s:
            s.bind((0, 0))
            s.send(struct.pack("<IHHII", 16 + len(body), SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
            reply = s.recv(1 << 16)
        code = -struct.unpack_from("<i", reply, 16)[0] if len(reply) >= 20 else errno.EIO
        if code == 0:
            return True
        if code in (errno.EPERM, errno.EACCES):
            raise NotPermitted("the kernel does not let this user end connections", "run this as root, with sudo")
    return False


def _raw(address: Prefix, family: int) -> bytes:
    if family == socket.AF_INET:
        return address.value.to_bytes(4, "big") + bytes(12)
    return (address.value | MAPPED if address.version == 4 else address.value).to_bytes(16, "big")


def own_addresses() -> list[Prefix]:
    """Every address of this host."""
    found = []
    with _asking(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as s:
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


def holders(inodes: frozenset[int], *commands: str) -> dict[int, frozenset[int]]:
    """Process -> which of these socket inodes it holds; only root's processes that bear one of the names `commands`, if any is given.

    Reads /proc; needs root for all.
    """
    wanted = {f"socket:[{i}]": i for i in inodes}
    found: dict[int, frozenset[int]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if commands and (process.stat().st_uid != 0 or read_text(process / "comm", 64).strip() not in commands):
                continue
            held = {wanted[t] for d in (process / "fd").iterdir() if (t := os.readlink(d)) in wanted}
        except OSError:
            continue  # it ended meanwhile, or is not ours to see
        if held:
            found[int(process.name)] = frozenset(held)
    return found


def _sockets(states: int, protocol: int = socket.IPPROTO_TCP) -> Iterator[tuple[int, int, int, bytes, bytes, int, int]]:
    """IP version, local and peer port, local and peer address, inode and cookie of each socket in these states."""
    for version, reply in _replies(states, protocol):
        yield version, *_parsed(reply)


def _replies(states: int, protocol: int, more: int = 0) -> Iterator[tuple[int, bytes]]:
    """IP version and struct inet_diag_msg of each socket in these states, with the attributes that `more` asks for."""
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with _asking(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as s:
            s.bind((0, 0))
            # struct inet_diag_req_v2: family, protocol, ext, pad, states, then an empty socket id
            body = struct.pack("<BBBBI", family, protocol, more, 0, states) + bytes(48)
            s.send(struct.pack("<IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
            for kind, reply in _dump(s):
                if kind == SOCK_DIAG_BY_FAMILY and len(reply) >= 72:
                    yield version, reply


def _parsed(reply: bytes) -> tuple[int, int, bytes, bytes, int, int]:
    """Local and peer port, local and peer address, inode and cookie out of struct inet_diag_msg."""
    sport, dport = struct.unpack_from(">HH", reply, 4)
    cookie = struct.unpack_from("<Q", reply, 44)[0]
    inode = struct.unpack_from("<I", reply, 68)[0]
    return sport, dport, reply[8:24], reply[24:40], inode, cookie


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
