"""The guard's side of a message: it is handed to a process without privileges, which sends it (`ways.py`).

Who talks to the network reads what strangers answer. Where systemd runs, a unit of its own does that (`quietgate-deliver.socket`):
one connection, a job in, an answer out. Elsewhere it is a child that gives its privileges up before the first byte leaves.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WITHIN = 60.0  # seconds for one message
LONGEST = 1 << 20  # bytes of a job, or of an answer


@dataclass(frozen=True, slots=True)
class Job:
    """One message for one route: its way, where to, the opened secret, and the message's public form."""

    to: str
    url: str
    secret: str
    message: dict[str, Any]


def hand_over(job: Job, unit: Path) -> str:
    """Give the job to the unit, or to a child of ours; what went wrong, or "" if it arrived. Blocks for at most WITHIN seconds."""
    asked = json.dumps(asdict(job)).encode() + b"\n"
    try:
        said = _unit(asked, unit)
        if said is None:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "quietgate", "deliver"], input=asked, capture_output=True, timeout=WITHIN, check=False
            )
            said = done.stdout or done.stderr[-300:]
        found = json.loads(said)
        return str(found["failed"])[:500]
    except (OSError, subprocess.SubprocessError) as error:
        return f"the sender does not run: {type(error).__name__}"
    except (ValueError, KeyError, TypeError):
        return f"the sender ended without an answer: {ascii(said)[:200]}"


def _unit(asked: bytes, unit: Path) -> bytes | None:
    until = time.monotonic() + WITHIN
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(str(unit))
        except OSError:
            return None
        s.settimeout(WITHIN)
        s.sendall(asked)
        s.shutdown(socket.SHUT_WR)
        while len(data) < LONGEST and (left := until - time.monotonic()) > 0:
            s.settimeout(left)
            if not (more := s.recv(65536)):
                break
            data += more
    return data
