"""The systemd journal, through `journalctl -o json` as a child: python-systemd is source only, cysystemd needs a new glibc.

Only fields that journald itself writes are trusted (systemd.journal-fields(7), those with a leading underscore): any
user can log a line that says "sshd", but not one whose _COMM is sshd and whose _UID is 0. What sshd printed (`sshd -D -e`)
instead of logging does not count: there it leaves line ends as they are (log.c LOG_STDERR_VIS), so that a user name with one
makes an entry of its own, which says whatever a stranger likes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMES = ("sshd", "sshd-session", "sshd-auth")  # sshd-session since OpenSSH 9.8, sshd-auth since 10.0
LONGEST = 8192  # characters of one message that are looked at


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a trusted sshd, with journald's own time (wall seconds)."""

    at: float
    message: str
    pid: int


def journalctl() -> str | None:
    """The program, if this system has one."""
    return shutil.which("journalctl", path="/usr/bin:/bin:/usr/local/bin")


def accepted_since(since: float, directory: Path | None = None, timeout: float = 60) -> Iterator[Entry]:
    """Messages of sshd that begin with "Accepted", since wall time `since`, oldest first. Nothing where there is no journal.

    `directory` reads the journal files there instead of this system's.
    """
    program = journalctl()
    if program is None:
        return
    words = [program, "-o", "json", "--no-pager", "-q", f"--since=@{int(since)}", "--output-fields=MESSAGE,_UID,_COMM,_PID,_TRANSPORT"]
    words += ["--grep=^Accepted ", "--case-sensitive=yes"] + ([f"--directory={directory}"] if directory is not None else [])
    words += [f"_COMM={name}" for name in NAMES]
    try:
        done = subprocess.run(words, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in done.stdout.splitlines():
        found = entry(line)
        if found is not None:
            yield found


def entry(line: bytes) -> Entry | None:
    """One line of `-o json`; None unless root's sshd wrote it."""
    try:
        raw = json.loads(line)
        message = raw["MESSAGE"]
        if raw.get("_UID") != "0" or raw.get("_COMM") not in NAMES:
            return None
        if raw.get("_TRANSPORT") == "stdout":
            return None
        if isinstance(message, list):  # not UTF-8: journalctl writes the bytes as numbers
            message = bytes(message).decode("utf-8", "replace")
        return Entry(int(raw["__REALTIME_TIMESTAMP"]) / 1e6, str(message)[:LONGEST], int(raw.get("_PID", 0)))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def follow_words(cursor: str | None, since: float, directory: Path | None = None, machine: str = "") -> list[str] | None:
    """The command that prints sshd's messages after `cursor`, or since wall second `since`, and then as they come; None where
    there is no journalctl.

    `-f` alone means this boot only (measured: systemd 252, and `--boot=all` does not change it), and what was logged before
    a reboot is evidence as well. `-m` means all of them, those of other hosts too: so the machine's id is asked for.
    """
    program = journalctl()
    if program is None:
        return None
    start = [f"--after-cursor={cursor}"] if cursor else [f"--since=@{int(since)}"]
    words = [
        program,
        "-o",
        "json",
        "--no-pager",
        "-q",
        "-f",
        "-m",
        "--no-tail",
        *start,
        "--output-fields=MESSAGE,_UID,_COMM,_PID,_TRANSPORT",
    ]
    words += [f"--directory={directory}"] if directory is not None else []
    words += [f"_MACHINE_ID={machine}"] if machine else []
    return words + [f"_COMM={name}" for name in NAMES]


def cursor_of(line: bytes) -> str | None:
    """The place of one line of `-o json`."""
    try:
        found = json.loads(line).get("__CURSOR")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def there(directory: Path | None = None) -> bool:
    """True if this system has a journal that can be followed."""
    if directory is not None:
        return directory.is_dir() and journalctl() is not None
    return Path("/run/systemd/journal/socket").exists() and journalctl() is not None
