"""One connection's entry in conntrack, over netlink (linux/netfilter/nfnetlink_conntrack.h): its id, which keys a stranger's place;
and how full it is.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from quietgate.net import BITS
from quietgate.values import Flow

NFNL_SUBSYS_CTNETLINK, CT_GET = 1, 1
TUPLE_ORIG, ID = 1, 12
TUPLE_IP, TUPLE_PROTO = 1, 2
V4_SRC, V4_DST, V6_SRC, V6_DST = 1, 2, 3, 4
PROTO_NUM, PROTO_SRC, PROTO_DST = 1, 2, 3
NESTED = 0x8000


PROC = Path("/proc/sys/net/netfilter")


def fill() -> tuple[int, int] | None:
    """How many connections this host tracks, and how many it can (nf_conntrack-sysctl.rst); None where it tracks none."""
    try:
        count, most = (int((PROC / f).read_text()) for f in ("nf_conntrack_count", "nf_conntrack_max"))
    except (OSError, ValueError):
        return None
    return count, most


def _attr(kind: int, payload: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def entry_id(flow: Flow) -> bytes | None:
    """The four bytes by which nft's `ct id` knows an inbound connection; None if conntrack does not know it. Needs root."""
    size = BITS[flow.peer.version] // 8
    src, dst = (V4_SRC, V4_DST) if flow.peer.version == 4 else (V6_SRC, V6_DST)
    ip = _attr(src, flow.peer.value.to_bytes(size, "big")) + _attr(dst, flow.local.value.to_bytes(size, "big"))
    proto = (
        _attr(PROTO_NUM, b"\x06")
        + _attr(PROTO_SRC, struct.pack(">H", flow.peer_port))
        + _attr(PROTO_DST, struct.pack(">H", flow.local_port))
    )
    body = struct.pack(">BBH", socket.AF_INET if flow.peer.version == 4 else socket.AF_INET6, 0, 0)
    body += _attr(TUPLE_ORIG | NESTED, _attr(TUPLE_IP | NESTED, ip) + _attr(TUPLE_PROTO | NESTED, proto))
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12) as s:
            s.bind((0, 0))
            s.settimeout(1)
            s.send(struct.pack("<IHHII", 16 + len(body), NFNL_SUBSYS_CTNETLINK << 8 | CT_GET, 1, 1, 0) + body)
            reply = s.recv(65536)
    except OSError:
        return None
    if len(reply) < 20 or struct.unpack_from("<H", reply, 4)[0] == 2:  # NLMSG_ERROR
        return None
    at = 20
    while at + 4 <= len(reply):
        length, attribute = struct.unpack_from("<HH", reply, at)
        if length < 4:
            return None
        if attribute & 0x3FFF == ID:
            found = reply[at + 4 : at + length]
            return found if len(found) == 4 else None
        at += (length + 3) & ~3
    return None
