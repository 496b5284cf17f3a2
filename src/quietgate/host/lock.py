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
from quietgate.host.files import is_regular, set_aside


@contextlib.contextmanager
def locked(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock. Raises Busy when somebody else holds it for longer than `wait` seconds. Ends with the process.

    What lies there and is no file is set aside: it could hold up everybody.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        descriptor = _opened(path)
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
                    said = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    holder = said if said.isascii() and said.isdigit() else "unknown"
                    raise Busy(f"another quietgate (process {holder}) is changing the firewall",
                               "wait for it to end, then try again; nothing was changed") from None  # fmt: skip
                time.sleep(0.05)
        with contextlib.suppress(OSError):  # a full disk: who holds it is a courtesy
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    if is_regular(path) is False:
        # One at a time, and only what is no file: two that make room would each have a lock of their own.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if is_regular(path) is False:
                set_aside(path)
        finally:
            os.close(folder)
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        if path.parent.stat().st_mode & stat.S_ISGID:  # it has the directory's group, which is the guard's
            os.fchmod(descriptor, 0o660)
        return descriptor
