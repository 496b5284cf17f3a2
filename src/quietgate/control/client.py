"""Ask the guard at its socket, listen to it, tell it that something was changed. See `server.py` for what may be asked."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from quietgate.errors import Exit, NotPermitted, QuietgateError
from quietgate.host.systemd import start_words


class NeedsDaemon(QuietgateError):
    """The guard is not running."""

    id = "daemon"
    exit = Exit.NEEDS_DAEMON


class Hangs(NeedsDaemon):
    """The guard is there and does not answer."""

    id = "daemon-hangs"


def ask(path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Ask the guard one thing. Raises NeedsDaemon when it does not run or answer, NotPermitted."""
    with connected(path, timeout) as stream:
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        return _reply(stream.readline())


@contextlib.contextmanager
def connected(path: Path, timeout: float | None):  # type: ignore[no-untyped-def]  # noqa: ANN201  a file object
    """A connection to the guard, as a file."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(timeout)
            s.connect(str(path))
            with s.makefile("rwb") as stream:
                yield stream
    except PermissionError:
        raise NotPermitted(
            "the guard's socket may not be used by this user", "run this as root, or join the group that control.group names"
        ) from None
    except (TimeoutError, BlockingIOError):  # the second: so many wait already that the kernel takes no more
        raise Hangs(
            "the guard is there, but does not answer",
            f"see its log, or start it again: {start_words('quietgate-guard', 'restart')}",
        ) from None
    except OSError as error:
        raise NeedsDaemon(f"the guard does not run ({error.strerror or error})", f"start it: {start_words('quietgate-guard')}") from None


def _reply(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NeedsDaemon("the guard did not answer", f"see its log: {start_words('quietgate-guard', 'log')}")
    return found


def tell(path: Path, what: str) -> None:
    """Tell a guard that runs that "bans", the "policy", "alerts", "messages" or the "history" were changed; nothing happens if none does."""
    if path.exists():
        with contextlib.suppress(NeedsDaemon, NotPermitted):
            ask(path, {"ask": "changed", "what": what}, 1.0)
