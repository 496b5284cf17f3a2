"""Lines for this system's log: to journald with fields of their own, or to the syslog daemon where there is none.

Each line is one datagram. Who calls this has done something already: nothing raises, and nothing waits longer than `patience`. A
line that the log does not take is dropped and counted.

Sources: systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd.journal-fields(7); RFC 3164 as syslog(3) writes it to /dev/log.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "quietgate"
DAEMON = 3  # the facility: what is told of here belongs beside sshd's lines in no file
NOTICE, WARNING = 5, 4
LONGEST = 4000  # characters of one value
JOURNALD, SYSLOG = "run/systemd/journal/socket", "dev/log"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale


@dataclass(frozen=True, slots=True)
class Line:
    """One line: words for people, which must be a single line already; `id` says what kind it is (sd_journal_get_catalog(3)).
    `fields`: more for programs, in any text.
    """

    message: str
    priority: int
    id: str
    fields: Mapping[str, str]


class Log:
    """The log of the system below `root`; never that of the host around it."""

    def __init__(self, root: Path, patience: float = 0.0) -> None:
        """`patience`: seconds that one call of `write` may wait for a log that is behind."""
        self._root = root
        self._patience = patience
        self.dropped = 0  # lines

    def write(self, lines: Iterable[Line]) -> None:
        """Write these, in order."""
        until = time.monotonic() + self._patience
        ways = [(str(path), datagram) for place, datagram in ((JOURNALD, native), (SYSLOG, rfc3164)) if (path := self._below_root(place))]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                for line in lines:
                    self.dropped += not any(_sent(s, path, datagram(line), until) for path, datagram in ways)
        except OSError:  # not even a socket
            self.dropped += sum(1 for _ in lines)

    def _below_root(self, place: str) -> Path | None:
        """The socket; None where there is none, or (a tree's /dev/log may be a link) one outside of `root`."""
        path = self._root / place
        try:
            real = path.resolve(strict=True)
            return real if real.is_relative_to(self._root.resolve()) else None
        except (OSError, RuntimeError):
            return None


def _sent(s: socket.socket, path: str, datagram: bytes, until: float) -> bool:
    try:
        s.settimeout(max(0.0, until - time.monotonic()))  # 0: it does not wait at all
        s.sendto(datagram, path)
    except OSError:
        return False
    return True


def native(line: Line) -> bytes:
    """As journald takes it. A value may hold anything: with a line end in it, its length goes before it."""
    fields = {"MESSAGE": line.message, "PRIORITY": str(line.priority), "SYSLOG_IDENTIFIER": NAME, "SYSLOG_FACILITY": str(DAEMON),
              "SYSLOG_PID": str(os.getpid()), "MESSAGE_ID": line.id, **line.fields}  # fmt: skip
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    raw = value[:LONGEST].encode("utf-8", "backslashreplace")
    if b"\n" in raw:
        return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


def rfc3164(line: Line) -> bytes:
    """As the daemon behind /dev/log takes it: without the host, which it adds itself."""
    now = time.localtime()
    stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
    text = f"<{DAEMON * 8 + line.priority}>{stamp} {NAME}[{os.getpid()}]: {line.message[:LONGEST]}"
    return text.encode("utf-8", "backslashreplace")
