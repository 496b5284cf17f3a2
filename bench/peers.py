"""Debian's packages of other guards, as peers. Unpacked below a directory of our own, never installed: no service starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PLACE = Path(os.environ.get("QUIETGATE_PEERS", "/var/tmp/quietgate-peers"))
PACKAGES = ("fail2ban", "sshguard", "python3-pyinotify", "python3-systemd")
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's fail2ban is made for


def unpacked() -> Path:
    """The root of what the packages hold. Raises CalledProcessError where Debian cannot be reached."""
    root = PLACE / "root"
    if not (root / "usr/bin/fail2ban-server").exists():
        PLACE.mkdir(parents=True, exist_ok=True, mode=0o700)
        subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=PLACE, check=True, capture_output=True)
        for package in PLACE.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


def fail2ban(program: str) -> list[str]:
    """The command of one of fail2ban's programs. It needs `environment()`."""
    return [SYSTEM_PYTHON, str(unpacked() / "usr/bin" / program)]


def environment() -> dict[str, str]:
    """With the unpacked modules on Python's path."""
    return {**os.environ, "PYTHONPATH": str(unpacked() / "usr/lib/python3/dist-packages"), "PYTHONDONTWRITEBYTECODE": "1"}


def fail2ban_config(into: Path) -> Path:
    """A copy of the package's configuration, to be changed; no jail is on."""
    subprocess.run(["cp", "-r", str(unpacked() / "etc/fail2ban"), str(into)], check=True)
    for extra in (into / "jail.d").glob("*"):
        extra.unlink()
    return into


def sshg_parser() -> str:
    """sshguard's parser, a C program."""
    return str(unpacked() / "usr/libexec/sshguard/sshg-parser")
