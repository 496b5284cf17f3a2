"""The systemd journal, through `journalctl -o json` as a child: python-systemd is source only, cysystemd needs a new glibc.

A line is sshd's when journald itself says that it came from root's sshd program in a unit of sshd's: _UID, _EXE and _SYSTEMD_UNIT
(systemd.journal-fields(7)) are read from the kernel about the sender. _COMM names whatever file was executed, a user's link too; and
_UID alone is 0 for every set-uid program that complains on a socket which a user gave it. Where sshd runs outside any unit of this
system's, the journal cannot tell who wrote a line: it is worth what a file is worth.

What sshd printed (`sshd -D -e`) instead of logging does not count: there it leaves line ends as they are (log.c LOG_STDERR_VIS), so
that a user name with one makes an entry of its own, which says whatever a stranger likes.

Only this machine's own journal is read, by its directory: those of containers and other hosts, which may lie beside it, say of
themselves what they like.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietgate.host.sshd_units import Writers

NAMES = ("sshd", "sshd-session", "sshd-auth")  # sshd-session since OpenSSH 9.8, sshd-auth since 10.0
_JSON = ("-o", "json", "--no-pager", "-q", "--output-fields=MESSAGE,_UID,_COMM,_EXE,_SYSTEMD_UNIT,_PID,_TRANSPORT")
LONGEST = 8192  # characters of one message that are looked at


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of sshd's, with journald's own time (wall seconds)."""

    at: float
    message: str
    pid: int


def journalctl() -> str | None:
    """The program, if this system has one."""
    return shutil.which("journalctl", path="/usr/bin:/bin:/usr/local/bin")


def accepted_since(since: float, directory: Path | None = None, timeout: float = 60) -> Iterator[Entry]:
    """Yield messages that begin with "Accepted" and look like sshd's, since wall time `since`, the oldest first; nothing where there is
    no journal. They earn nobody anything: who wrote them is not asked.

    `directory` reads the journal files there instead of this system's.
    """
    program = journalctl()
    if program is None:
        return
    words = [program, *_JSON, f"--since=@{int(since)}"]
    words += ["--grep=^Accepted ", "--case-sensitive=yes"] + ([f"--directory={directory}"] if directory is not None else [])
    yield from _printed([*words, *(f"_COMM={name}" for name in NAMES)], timeout)


def last(lines: int, timeout: float = 10) -> Iterator[Entry]:
    """Yield the last messages that look like sshd's, the oldest first; nothing where there is no journal. Who wrote them is not asked."""
    program = journalctl()
    if program is not None:
        yield from _printed([program, *_JSON, f"--lines={lines}", *(f"_COMM={name}" for name in NAMES)], timeout)


def _printed(words: list[str], timeout: float) -> Iterator[Entry]:
    """The entries that a journalctl prints; none where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in done.stdout.splitlines():
        found = entry(line, None)
        if found is not None:
            yield found


def entry(line: bytes, writers: Writers | None) -> Entry | None:
    """Return one line of `-o json` as an entry; None unless these writers wrote it (None: some program of root's that is called sshd)."""
    try:
        raw = json.loads(line)
        message = raw["MESSAGE"]
        if raw.get("_UID") != "0" or raw.get("_TRANSPORT") == "stdout" or not _from(raw, writers):
            return None
        if isinstance(message, list):  # not UTF-8: journalctl writes the bytes as numbers
            message = bytes(message).decode("utf-8", "replace")
        return Entry(int(raw["__REALTIME_TIMESTAMP"]) / 1e6, str(message)[:LONGEST], int(raw.get("_PID", 0)))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _from(raw: dict[str, Any], writers: Writers | None) -> bool:
    if writers is None:
        return raw.get("_COMM") in NAMES
    return writers.wrote(raw.get("_SYSTEMD_UNIT"), raw.get("_EXE"))


def own(machine: str, root: Path = Path("/")) -> Path | None:
    """Return the directory in which journald keeps this machine's own journal (systemd-journald.service(8)): the lasting one, else the one
    that is gone after a boot; None where there is neither.
    """
    for place in ("var/log/journal", "run/log/journal"):
        directory = root / place / machine
        if machine and directory.is_dir():
            return directory
    return None


def follow_words(cursor: str | None, since: float, directory: Path, writers: Writers | None) -> list[str] | None:
    """Return the command that prints what may be sshd's messages after `cursor`, or since wall second `since`, and then as they come; None
    where there is no journalctl.

    -m, since without it -f prints this boot only (measured: systemd 252, and `--boot=all` does not change it), and what was logged before a
    reboot is evidence as well; in a container it even prints nothing, where the unit sees another boot's id. What other machines' journals
    say is kept out by the directory.
    """
    program = journalctl()
    if program is None:
        return None
    start = [f"--after-cursor={cursor}"] if cursor else [f"--since=@{int(since)}"]
    words = [program, *_JSON, "-f", "-m", "--no-tail", *start, f"--directory={directory}", "_UID=0"]
    return words + ([f"_COMM={name}" for name in NAMES] if writers is None else [f"_EXE={path}" for path in sorted(writers.programs)])


def cursor_of(line: bytes) -> str | None:
    """The place of one line of `-o json`."""
    try:
        found = json.loads(line).get("__CURSOR")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def there(directory: Path | None = None) -> bool:
    """Return whether this system has a journal that can be followed."""
    if directory is not None:
        return directory.is_dir() and journalctl() is not None
    return Path("/run/systemd/journal/socket").exists() and journalctl() is not None


def keeps(machine: str, directory: Path | None = None) -> bool:
    """Return whether journald stores anything of this machine's: with Storage=none, or forwarding alone, there is a socket and no journal."""
    place = directory if directory is not None else own(machine)
    return place is not None and any(place.rglob("*.journal"))
