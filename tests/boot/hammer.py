"""An attacker who never pauses: packets from a banned address and from a free one, and who of them is answered."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

from tests.boot.machine import INSIDE, Machine

PORT = 7007
ECHO = """
import socket
heard = set()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("", 7007))
    while True:
        data, peer = s.recvfrom(64)
        if peer[0] not in heard:
            heard.add(peer[0])
            print("heard", peer[0], flush=True)
        try:
            s.sendto(data, peer)
        except OSError:
            pass
"""
# As early as a program of a host can be: it listens before any interface is up.
UNIT = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/echo.py
[Install]
WantedBy=sysinit.target
"""


INIT = """#!/bin/sh
### BEGIN INIT INFO
# Provides:          echo
# Required-Start:    $local_fs
# Required-Stop:
# X-Start-Before:    networking
# Default-Start:     S
# Default-Stop:
### END INIT INFO
[ "$1" != start ] || python3 /usr/local/lib/echo.py >>/var/log/echo 2>&1 </dev/null &
"""


def place_echo(machine: Machine) -> None:
    """A service in the machine that answers whoever reaches it, and writes into the journal (/var/log/echo) whom it heard."""
    machine.write("/usr/local/lib/echo.py", ECHO)
    if not machine.exists("/lib/systemd/systemd"):
        machine.write("/etc/init.d/echo", INIT, 0o755)
        machine.offline("update-rc.d echo defaults")
        return
    machine.write("/etc/systemd/system/echo.service", UNIT)
    machine.offline("systemctl -q enable echo.service")


class Hammer:
    """About two thousand packets a second from each of two addresses. `answered` counts; `gap` is the free one's longest wait."""

    def __init__(self, machine: Machine, *, banned: str, free: str) -> None:
        self.sources = (banned, free)
        self.answered = dict.fromkeys(self.sources, 0)
        self.sent = 0
        self.gap = 0.0
        self._sockets: dict[str, socket.socket] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for source in self.sources:
            with machine.outside.inside():
                self._sockets[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets[source].setblocking(False)
            self._sockets[source].bind((source, 0))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        for s in self._sockets.values():
            s.close()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            for source in self.sources:
                s = self._sockets[source]
                with contextlib.suppress(OSError):  # no route while the machine boots
                    s.sendto(b"x", (INSIDE, PORT))
                    self.sent += 1
                with contextlib.suppress(OSError):
                    while s.recv(64):
                        self.answered[source] += 1
                        if source == self.sources[1]:
                            now = time.monotonic()
                            self.gap, last = max(self.gap, now - last), now
            time.sleep(0.0004)
