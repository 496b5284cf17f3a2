"""Lines that wrap a server's words: the journal's exports, and the files that container runtimes keep of what a container printed.

    journalctl, json        one object a line, with journald's own fields
    journalctl, export      FIELD=value lines, an empty line between entries
    docker's json-file      {"log": "...\\n", "stream": "stderr", "time": "2026-11-24T12:11:39.123456789Z"}
    CRI (containerd, CRI-O) 2026-11-24T12:11:39.123456789Z stderr F ...

What a container printed holds no program's name: whose words they are must be declared. What `sshd -e` prints leaves line ends as they are
(log.c), so that a stranger's user name can make a line of its own: such a log is worth less, and its logins nothing, as in any file.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from quietgate.sshlog.headers import Header

_CRI = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(?:Z|[+-]\d\d:\d\d)) (?:stdout|stderr) ([FP]) (.*)", re.ASCII | re.DOTALL)
LONGEST = 1 << 16
_OWN = ("sshd", "sshd-session", "sshd-auth", "dropbear")


class Piece(NamedTuple):
    """One printed line of a container: its stamp and its text."""

    stamp: str
    text: str


def printed(line: str) -> Piece | None:
    """A line of docker's json-file or of CRI's; None for anything else. A CRI line that is cut in pieces (P) is read as far as it goes."""
    if line.startswith("{"):
        try:
            raw = json.loads(line[:LONGEST])
            text, at = raw["log"], raw["time"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return Piece(at, text.rstrip("\r\n")) if isinstance(text, str) and isinstance(at, str) else None
    found = _CRI.match(line)
    return Piece(found[1], found[3].rstrip("\r")) if found is not None else None


def of_journal(line: str) -> Header | None:
    """A line of journalctl's json form that root's SSH server wrote by syslog, as far as its fields tell."""
    try:
        raw = json.loads(line[:LONGEST])
        return _entry({k: v for k, v in raw.items() if isinstance(v, (str, list))})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _entry(raw: dict[str, str | list[int]]) -> Header | None:
    program = str(raw.get("SYSLOG_IDENTIFIER") or raw.get("_COMM") or "")
    if raw.get("_UID", "0") != "0" or raw.get("_TRANSPORT") == "stdout" or raw.get("_COMM", program) not in _OWN or program not in _OWN:
        return None
    message = raw.get("MESSAGE", "")
    if isinstance(message, list):  # not UTF-8: journalctl writes the bytes as numbers
        message = bytes(message).decode("utf-8", "replace")
    stamp, pid = str(raw.get("__REALTIME_TIMESTAMP", "")), str(raw.get("_PID") or raw.get("SYSLOG_PID") or "0")
    if not stamp.isdecimal() or not pid.isdecimal():
        return None
    return Header(f"{int(stamp) // 1_000_000}.{int(stamp) % 1_000_000:06d}", str(raw.get("_HOSTNAME", "")), program, int(pid), message)


class Export:
    """Takes the lines of journalctl's export form one by one and gives an entry's header at its end. Fields with binary values are passed over."""

    def __init__(self) -> None:
        self._fields: dict[str, str | list[int]] = {}

    def take(self, line: str) -> Header | None:
        """One line without its end."""
        if line:
            name, found, value = line.partition("=")
            if found and len(self._fields) < 256 and re.fullmatch(r"[A-Z0-9_]{1,64}", name):
                self._fields[name] = value[:LONGEST]
            return None
        fields, self._fields = self._fields, {}
        return _entry(fields)


def is_export(text: str) -> bool:
    """True where a text begins as journalctl's export form does."""
    return text.startswith("__CURSOR=")
