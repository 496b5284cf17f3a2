"""A name server on the cable: it knows the names it is told, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from tests.boot.machine import OUTSIDE, Machine

NXDOMAIN = 3
A = 1


class NameServer:
    """`addresses`: what it answers, by name; the test may change it at any time (RFC 1035, section 4.1)."""

    def __init__(self, machine: Machine, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        with machine.outside.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((OUTSIDE, 53))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                query, peer = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(query), peer)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = query[12 : at + 5]
        address = self.addresses.get(".".join(labels).lower())
        asked = struct.unpack("!H", question[-4:-2])[0]
        answers = []
        if address is not None and asked == A:
            answers.append(struct.pack("!HHHIH", 0xC00C, A, 1, 0, 4) + IPv4Address(address).packed)
        flags = 0x8180 | (NXDOMAIN if address is None else 0)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 0, 0) + question + b"".join(answers)
