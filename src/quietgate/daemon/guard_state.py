"""Whether the guard works, and if it does not: why, as far as this host can tell. Only looks.

The guard's own answer comes first, then its lock (one that runs and does not answer holds it), then what the service left
behind: the unit's state and journal under systemd, the kept output (`host/systemd.service_log`) elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quietgate.control.client import ask
from quietgate.errors import InputError, NotPermitted, QuietgateError
from quietgate.host.paths import Paths
from quietgate.host.systemd import LAST, service_log, unit_state
from quietgate.policy.model import Policy

UNIT = "quietgate-guard"
DISABLED = "the policy switches the guard off (enabled = false in [guard])"
GUARDS = "quietgate guards: "  # the guard's first line, when it is ready
STOPS = "quietgate stops: it was told to"  # its last one, unless it died
_START = re.compile(r"== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d start\Z")  # packaging/quietgate-guard.init writes it before each start
_TAIL = 8192  # bytes of the kept output that are looked at
_ENDED = {"exit-code": "it ended with an error", "signal": "it was killed", "core-dump": "it crashed", "oom-kill": "it was killed for want of memory",
          "timeout": "it was not ready in time", "watchdog": "it hung, and was killed", "protocol": "it ended before it was ready",
          "start-limit-hit": "it failed too often in a row"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GuardState:
    """`state`: answers, silent (it runs and does not answer), disabled (by the policy) or off. `why`: "" where it answers, and
    where nothing can be told. `pid`: its process, 0 where none is known.
    """

    state: str
    why: str = ""
    pid: int = 0


ANSWERS = GuardState("answers")


def guard_state(paths: Paths, policy: Policy | None) -> GuardState:
    """Ask the guard, and where it does not answer find out why. Raises NotPermitted."""
    try:
        return GuardState("answers", pid=int(ask(paths.control, {"ask": "status"}, 2.0)["pid"]))
    except NotPermitted:
        raise
    except QuietgateError as error:
        said = error.message
    except (KeyError, TypeError, ValueError):
        said = "its answer is not what this version understands"
    if (pid := _holder(paths.guard_lock)) is not None:
        return GuardState("silent", f"it runs as process {pid}: {said}", pid)
    if policy is not None and not policy.values["guard.enabled"]:
        return GuardState("disabled", DISABLED)
    return GuardState("off", _why(paths.root))


def is_expected(paths: Paths) -> bool:
    """True where a service of ours is to run the guard: below another root only if it is installed there."""
    installed = (
        "etc/systemd/system/quietgate-guard.service",
        "usr/lib/systemd/system/quietgate-guard.service",
        "etc/init.d/quietgate-guard",
    )
    return paths.root == Path("/") or any((paths.root / place).exists() for place in installed)


def _holder(lock: Path) -> int | None:
    """The process that holds the guard's lock; None if nobody does.

    From proc_locks(5): who tried the lock to find out would hold it for a moment, and a guard that starts then would give up.
    """
    try:
        inode = str(lock.stat().st_ino)
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    for line in locks.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode and words[4].isdigit() and words[4] != "0":
            return int(words[4])
    return None


def _why(root: Path) -> str:
    if root == Path("/") and (unit := unit_state(UNIT)) is not None:
        if not unit.loaded:
            return "its unit is not installed"
        if unit.again or unit.active == "failed":
            again = ", and systemd starts it again" if unit.again else ""
            return f"{_ENDED.get(unit.result, 'it ended')}{again}{_last(unit.said)}"
        if unit.active != "inactive":
            return "systemd is starting it, or stopping it"
        return "it was stopped, or was not started since the boot"
    try:
        with (root / service_log(UNIT).relative_to("/")).open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            text = stream.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return "it was not started since it was installed" if (root / "etc/init.d" / UNIT).exists() else ""
    return of_output(text)


def of_output(text: str) -> str:
    """Why the guard ended, from the end of its kept output: what it reported since its last start."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    start = max((n for n, line in enumerate(lines) if _START.match(line)), default=-1)
    since = lines[start + 1 :]
    when = f" after its start at {lines[start][3:22]}" if start >= 0 else ""
    if since and since[-1] == STOPS:
        return f"it was stopped{when}"
    if not since or since[-1].startswith(GUARDS):
        return f"it was killed, or the host went down{when}"
    return f"it ended{when}{_last(since)}"


def _last(said: Sequence[str]) -> str:
    words = [line for line in said if not line.startswith(GUARDS)][-LAST:]
    return f": {'; '.join(words)}" if words else ""


def missing_log(wanted: object, paths: Paths) -> InputError | None:
    """What is wrong if none of the sources that the policy names is on this host; None if one is."""
    # Here, since the guard's own modules are heavy and most commands need none of them.
    from quietgate.daemon.sources import FileSource, JournalSource, find
    from quietgate.host import journal

    try:
        found = find(wanted, paths)
    except InputError as error:
        return error
    gone = [s.name for s in found if (isinstance(s, FileSource) and not s.path.exists())
            or (isinstance(s, JournalSource) and not journal.there(s.directory))]  # fmt: skip
    if not found or len(gone) < len(found):
        return None
    return InputError(f"none of the sources of sshd's lines that the policy names is here: {', '.join(gone)}",
                      'write sources = "auto" in [guard], or the file that sshd\'s lines go to')  # fmt: skip
