"""Which ports sshd uses: what listens now, and what its configuration says."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from quietgate.host import sockets

DEFAULT_PORT = 22
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class SshPorts:
    """The ports, why these, and whether one of their listeners is bound to a single address."""

    ports: tuple[int, ...]
    why: str
    bound: bool


def find_ports(named: tuple[int, ...] | None) -> SshPorts:
    """The policy's ports, or with None those that sshd listens on or is configured for; 22 where neither is known.

    Never fewer than sshd really uses: what listens and what is configured are joined.
    """
    listening = sockets.listeners()
    if named is None:
        held = sockets.process_of(frozenset(x.inode for x in listening), "sshd")
        now = {x.port for x in listening if x.inode in held}
        configured = set(_configured())
        ports = now | configured
        reasons = [f"sshd listens on {_ports(now)}"] if now else []
        reasons += [f"its configuration says {_ports(configured)}"] if configured else []
        why = "; ".join(reasons) or f"nothing known of sshd here, so its default {DEFAULT_PORT}"
        found = tuple(sorted(ports or {DEFAULT_PORT}))
    else:
        found, why = named, "named in the policy"
    bound = any(x.port in found and not x.wildcard for x in listening)
    return SshPorts(found, why, bound)


def _configured() -> list[int]:
    program = shutil.which("sshd", path=_PATH)
    if program is None:
        return []
    try:
        done = subprocess.run([program, "-T"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    words = (line.split() for line in done.stdout.splitlines())
    return [int(w[1]) for w in words if len(w) == 2 and w[0] == "port" and w[1].isdigit()]


def _ports(ports: set[int]) -> str:
    return ", ".join(str(p) for p in sorted(ports))
