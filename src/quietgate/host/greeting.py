"""Does an SSH server answer there? It speaks first (RFC 4253 4.2), so nothing has to be said to it."""

from __future__ import annotations

import socket

WITHIN = 0.5  # seconds


def speaks_ssh(address: str, port: int) -> bool:
    """True if what answers begins with SSH-. For addresses of this host's own containers and guests."""
    try:
        with socket.create_connection((address, port), WITHIN) as s:
            s.settimeout(WITHIN)
            return s.recv(4) == b"SSH-"
    except OSError:
        return False
