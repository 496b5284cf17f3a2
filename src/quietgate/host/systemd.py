"""systemd, where it runs: it is told how we do, the timer's interval follows the policy; and what to type where it does not run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietgate.errors import StateError
from quietgate.host.files import write_durably
from quietgate.host.paths import Paths
from quietgate.host.reading import read_text

RUNNING = Path("/run/systemd/system")
TIMER = "quietgate-refresh.timer"
USUAL = 300  # seconds; what the unit itself says
LAST = 3  # lines of a service's output that tell why it ended
_SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
_DEBIAN_SSH = ("/lib/systemd/system/ssh.service", "/etc/systemd/system/ssh.service", "/etc/init.d/ssh")


def start_words(unit: str, do: str = "start") -> str:
    """What an administrator types on this host to `do` something with a service: every remedy that names a service asks here.

    `do`: start, stop, restart, reload, status; `disable`: stop it and keep it from starting with the host; `edit`: change its
    command line; `log`: read what it reported last. Without systemd a log is a file: see `service_log`.
    """
    if RUNNING.is_dir():
        return {
            "disable": f"systemctl disable --now {unit}",
            "edit": f"systemctl edit --full {unit}",
            "log": f"journalctl -u {unit} -n 20",
        }.get(do, f"systemctl {do} {unit}")
    program = "service " if shutil.which("service", path=_SBIN) else "/etc/init.d/"
    return {
        "disable": f"{program}{unit} stop && update-rc.d {unit} disable",
        "edit": f"editor /etc/default/{unit}",
        "log": f"tail -n 20 {service_log(unit)}",
    }.get(do, f"{program}{unit} {do}")


def service_log(unit: str) -> Path:
    """Where the output of a service of ours goes without systemd: its init script writes it there."""
    return Path("/var/log") / f"{unit}.log"


def credential_words(name: str) -> str:
    """What makes a credential reach the helper here: systemd alone has them (systemd.exec(5), LoadCredential=)."""
    if RUNNING.is_dir():
        return f"write LoadCredential={name}:/PATH under [Service] in a drop-in: systemctl edit quietgate-helper"
    return 'credentials need systemd; name a file of root\'s instead: secret = "file:/PATH"'


def ssh_unit() -> str:
    """The name of sshd's service on this host: `ssh` (Debian and its kin) or `sshd`."""
    return "ssh" if any(Path(place).exists() for place in _DEBIAN_SSH) else "sshd"


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as systemd tells of it (systemctl(1), show). `said`: the last lines that its processes wrote. `again`: it
    failed, and systemd starts it again.
    """

    loaded: bool
    active: str
    result: str
    said: tuple[str, ...] = ()
    again: bool = False


def unit_state(unit: str) -> UnitState | None:
    """How a unit does; None where systemd does not run, or does not answer."""
    if not RUNNING.is_dir():
        return None
    shown = _output("systemctl", "show", "-p", "LoadState,ActiveState,SubState,Result,InvocationID,NRestarts", unit)
    fields = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if not fields:
        return None
    said: tuple[str, ...] = ()
    # Of this invocation; one that has only begun wrote nothing yet, and the one before it tells more.
    for match in (f"_SYSTEMD_INVOCATION_ID={fields.get('InvocationID')}", f"_SYSTEMD_UNIT={unit}.service"):
        # Not -u: that adds what systemd itself writes about the unit.
        lines = _output("journalctl", "-b", "-q", "--no-pager", "-o", "cat", "-n", str(LAST), match)
        said = said or tuple(line for line in lines.splitlines() if line.strip())
    again = fields.get("SubState") == "auto-restart" or (fields.get("ActiveState") == "activating" and fields.get("NRestarts", "0") != "0")
    return UnitState(fields.get("LoadState") == "loaded", fields.get("ActiveState", ""), fields.get("Result", ""), said, again)


def _output(program: str, *words: str) -> str:
    path = shutil.which(program, path="/usr/bin:/bin")
    if path is None:
        return ""
    try:
        return subprocess.run([path, *words], capture_output=True, text=True, errors="replace", timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def notify(*words: str) -> None:
    """Tell systemd, if it wants to hear (sd_notify(3)). One that is busy is not waited for."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.sendto("\n".join(words).encode(), socket.MSG_DONTWAIT, "\0" + address[1:] if address[0] == "@" else address)


def follow(paths: Paths, refresh: int, services: Mapping[str, Mapping[str, object]]) -> None:
    """What the policy says to our other units: how often the refresh timer fires, and what each of these services goes by. Idempotent;
    below another root it only writes it down.
    """
    fresh = note(paths, services)
    if paths.root != Path("/") or not RUNNING.is_dir():
        return
    refresh_every(refresh)
    program = shutil.which("systemctl", path="/usr/bin:/bin")
    for unit in (f"quietgate-{name}.service" for name in fresh):
        if program is not None and Path("/etc/systemd/system", unit).exists():
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run([program, "--no-block", "restart", unit], capture_output=True, timeout=30, check=False)


def note(paths: Paths, services: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Write down what services go by that may not read the policy. The names of those for which that has changed."""
    fresh = []
    for name, wanted in services.items():
        text = json.dumps(wanted)
        with contextlib.suppress(OSError, StateError):
            if paths.noted(name).exists() and read_text(paths.noted(name), 1 << 16) == text:
                continue
            write_durably(paths.noted(name), text, 0o644)
        fresh.append(name)
    return fresh


def noted(paths: Paths, name: str) -> dict[str, Any] | None:
    """The same, read; None where nothing was put in force since the boot."""
    try:
        found = json.loads(read_text(paths.noted(name), 1 << 16))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def refresh_every(seconds: int) -> None:
    """Let the refresh timer fire so often. Idempotent; does nothing where there is no such timer.

    A drop-in below /run: it is gone after a boot, and the timer's own interval holds until the first `up` or refresh.
    """
    if not Path("/etc/systemd/system", TIMER).exists():
        return
    file = RUNNING / f"{TIMER}.d" / "interval.conf"
    wanted = f"[Timer]\nOnUnitInactiveSec=\nOnActiveSec={seconds}s\nOnUnitInactiveSec={seconds}s\n" if seconds != USUAL else ""
    try:
        found = read_text(file, 8192)
    except OSError:
        found = ""
    program = shutil.which("systemctl", path="/usr/bin:/bin")
    if found == wanted or program is None:
        return
    with contextlib.suppress(OSError, StateError, subprocess.SubprocessError):
        if wanted:
            write_durably(file, wanted, 0o644)
        else:
            file.unlink(missing_ok=True)
        for words in (["daemon-reload"], ["try-restart", TIMER]):
            subprocess.run([program, *words], capture_output=True, timeout=30, check=False)
