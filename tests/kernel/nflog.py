"""Reads an NFLOG group of a namespace (linux/netfilter/nfnetlink_log.h)."""

from __future__ import annotations

import select
import socket
import struct

from tests.kernel.lab import Host

NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG = 0, 1
CFG_CMD, CFG_MODE = 1, 2
CMD_BIND, COPY_PACKET = 1, 2
PREFIX = 10


def _attr(kind: int, payload: bytes) -> bytes:
    return struct.pack("<HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


class Group:
    """A listener of one group."""

    def __init__(self, host: Host, group: int = 5) -> None:
        with host.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 0))
        for attribute in (_attr(CFG_CMD, struct.pack("B", CMD_BIND)), _attr(CFG_MODE, struct.pack(">IBx", 128, COPY_PACKET))):
            body = struct.pack(">BBH", 0, 0, group) + attribute
            self.socket.send(struct.pack("<IHHII", 16 + len(body), 4 << 8 | NFULNL_MSG_CONFIG, 5, 0, 0) + body)
            answer = self.socket.recv(4096)
            assert struct.unpack_from("<i", answer, 16)[0] == 0, "bound"

    def prefixes(self, within: float = 1.5) -> list[str]:
        """The prefixes of all lines that come until none has come for `within` seconds (the kernel batches for 1 s)."""
        found = []
        while select.select([self.socket], [], [], within)[0]:
            data = self.socket.recv(1 << 18)
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("<IH", data, at)
                if kind == 4 << 8 | NFULNL_MSG_PACKET:
                    found += self._prefix(data[at + 20 : at + length])
                at += (length + 3) & ~3
        return found

    @staticmethod
    def _prefix(body: bytes) -> list[str]:
        at = 0
        while at + 4 <= len(body):
            length, kind = struct.unpack_from("<HH", body, at)
            if kind & 0x3FFF == PREFIX:
                return [body[at + 4 : at + length].rstrip(b"\0").decode()]
            at += (max(length, 4) + 3) & ~3
        return []
