"""systemd, where it runs: it is told how we do, the timer's interval follows the policy; and what to type where it does not run."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

RUNNING = Path("/run/systemd/system")
TIMER = "quietgate-refresh.timer"
METRICS = "quietgate-metrics.service"
USUAL = 300  # seconds; what the unit itself says


def start_words(unit: str, do: str = "start") -> str:
    """What an administrator types here to start (or restart) one of our services."""
    return f"systemctl {do} {unit}" if RUNNING.is_dir() else f"/etc/init.d/{unit} {do}"


def notify(*words: str) -> None:
    """Tell systemd, if it wants to hear (sd_notify(3)). One that is busy is not waited for."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.sendto("\n".join(words).encode(), socket.MSG_DONTWAIT, "\0" + address[1:] if address[0] == "@" else address)


def follow(root: Path, refresh: int, metrics: tuple[str, str]) -> None:
    """What the policy says to our other units: how often the refresh timer fires, and where metrics go. Idempotent; does nothing below
    another root.
    """
    if root != Path("/") or not RUNNING.is_dir():
        return
    refresh_every(refresh)
    metrics_at(metrics)


def metrics_at(wanted: tuple[str, str]) -> None:
    """Where metrics are served, and into which file they are written ("": neither): the unit begins anew when that has changed."""
    marker = Path("/run/quietgate/metrics")
    program = shutil.which("systemctl", path="/usr/bin:/bin")
    if program is None or not Path("/etc/systemd/system", METRICS).exists():
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = marker.read_text() if marker.exists() else str(("", ""))
        if told != str(wanted):
            marker.write_text(str(wanted))
            subprocess.run([program, "--no-block", "restart", METRICS], capture_output=True, timeout=30, check=False)


def refresh_every(seconds: int) -> None:
    """Let the refresh timer fire so often. Idempotent; does nothing where there is no such timer.

    A drop-in below /run: it is gone after a boot, and the timer's own interval holds until the first `up` or refresh.
    """
    if not Path("/etc/systemd/system", TIMER).exists():
        return
    file = RUNNING / f"{TIMER}.d" / "interval.conf"
    wanted = f"[Timer]\nOnUnitInactiveSec=\nOnActiveSec={seconds}s\nOnUnitInactiveSec={seconds}s\n" if seconds != USUAL else ""
    try:
        found = file.read_text()
    except OSError:
        found = ""
    program = shutil.which("systemctl", path="/usr/bin:/bin")
    if found == wanted or program is None:
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted)
        else:
            file.unlink(missing_ok=True)
        for words in (["daemon-reload"], ["try-restart", TIMER]):
            subprocess.run([program, *words], capture_output=True, timeout=30, check=False)
