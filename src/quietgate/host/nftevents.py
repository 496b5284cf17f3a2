"""What others do to our table, as the kernel tells it (nf_tables' multicast group; linux/netfilter/nf_tables.h).

Messages of one transaction are followed by NEWGEN, which names the process that made it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from quietgate.errors import HostError
from quietgate.firewall import names

NETLINK_NETFILTER, NFNLGRP_NFTABLES = 12, 7
SUBSYS = 10
DELTABLE, NEWRULE, DELCHAIN, DELRULE, DELSET, DELSETELEM, NEWGEN = 2, 6, 5, 8, 11, 14, 15
TABLE, PROC_PID = 1, 2
NETLINK_ADD_MEMBERSHIP = 1
_OURS = names.TABLE.encode() + b"\0"


class TableWatch:
    """A socket that is readable when something happened to any table; `read` says what happened to ours."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
            self._socket.bind((0, 0))
            self._socket.setsockopt(270, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)  # SOL_NETLINK
        except OSError as error:
            raise HostError(f"nf_tables' events cannot be heard: {error.strerror}", "a flushed table is seen by the timer only") from None
        self._rules = self._elements = False

    def fileno(self) -> int:
        """For the loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self, ours: Callable[[int], bool]) -> tuple[bool, bool]:
        """Whether a process that is not `ours` changed rules, chains or sets of our table, and whether it removed elements.

        Where events were lost (ENOBUFS) both may have happened.
        """
        rules = elements = False
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                return rules, elements
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                rules = elements = True
                continue
            for kind, body in _messages(data):
                if kind == NEWGEN:
                    if (self._rules or self._elements) and not ours(_process(body)):
                        rules, elements = rules or self._rules, elements or self._elements
                    self._rules = self._elements = False
                elif _is_ours(body):
                    self._rules |= kind in (DELTABLE, DELCHAIN, DELRULE, DELSET, NEWRULE)
                    self._elements |= kind == DELSETELEM


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 20 <= len(data):
        length, kind = struct.unpack_from("<IH", data, at)
        if length < 20 or at + length > len(data):
            break
        if kind >> 8 == SUBSYS:
            found.append((kind & 0xFF, data[at + 20 : at + length]))
        at += (length + 3) & ~3
    return found


def _attribute(body: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("<HH", body, at)
        if length < 4 or at + length > len(body):
            break
        if kind & 0x3FFF == wanted:
            return body[at + 4 : at + length]
        at += (length + 3) & ~3
    return b""


def _is_ours(body: bytes) -> bool:
    return _attribute(body, TABLE) == _OURS


def _process(body: bytes) -> int:
    pid = _attribute(body, PROC_PID)
    return struct.unpack(">I", pid)[0] if len(pid) == 4 else 0
