"""The guard's side of a message: it is handed to a process without privileges, which sends it (`ways.py`).

Who talks to the network reads what strangers answer. Where systemd runs, a unit of its own does that (`quietgate-deliver.socket`):
one connection, a job in, an answer out. Elsewhere it is a child that gives its privileges up before the first byte leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
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


async def hand_over(job: Job, unit: Path, *, child: bool = True) -> str:
    """Give the job to the unit, or to a `child` of ours; what went wrong, or "" if it arrived. Takes at most WITHIN seconds; a guard
    that stops does not wait for it.
    """
    return await _asked(asdict(job), unit, WITHIN, child=child)


async def through_root(route: str, message: dict[str, Any], helper: Path) -> str:
    """Let root's helper hand over a message for a route of the policy in force, by its name: it opens the secret, and whoever asks
    learns nothing of it. What went wrong, or "".
    """
    return await _asked({"ask": "deliver", "route": route, "message": message}, helper, WITHIN + 5, child=False)


async def _asked(what: dict[str, Any], unit: Path, within: float, *, child: bool) -> str:
    asked = json.dumps(what).encode() + b"\n"
    said = b""
    try:
        async with asyncio.timeout(within):
            said = await _by_unit(asked, unit) or (await _by_child(asked) if child else b'{"failed": "nobody listens who would send it"}')
        return str(json.loads(said)["failed"])[:500]
    except TimeoutError:
        return f"no answer within {within:.0f} s"
    except OSError as error:
        return f"the sender does not run: {type(error).__name__}"
    except (ValueError, KeyError, TypeError):
        return f"the sender ended without an answer: {ascii(said)[:200]}"


async def _by_unit(asked: bytes, unit: Path) -> bytes:
    """Its answer; nothing where no unit listens."""
    try:
        reader, writer = await asyncio.open_unix_connection(unit, limit=LONGEST)
    except OSError:
        return b""
    try:
        writer.write(asked)
        writer.write_eof()
        return await reader.readline() or b"nothing"  # said: it was there
    finally:
        writer.close()


async def _by_child(asked: bytes) -> bytes:
    words = (sys.executable, "-I", "-m", "quietgate", "deliver")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        said, wrong = await child.communicate(asked)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
    return said or wrong[-300:]
