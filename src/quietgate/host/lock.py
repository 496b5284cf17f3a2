"""One at a time: whoever changes the firewall holds this lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from quietgate.errors import Busy, NotPermitted, StateError


@contextlib.contextmanager
def locked(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock. Raises Busy when somebody else holds it for longer than `wait` seconds. Ends with the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if path.parent.stat().st_mode & stat.S_ISGID:  # it has the directory's group, which is the guard's
                os.fchmod(descriptor, 0o660)
    except PermissionError:
        raise NotPermitted(f"{path} may not be opened", "run this as root, with sudo") from None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", "see that the directory can be written") from None
    try:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise Busy(f"another quietgate (process {holder}) is changing the firewall",
                               "wait for it to end, then try again; nothing was changed") from None  # fmt: skip
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
