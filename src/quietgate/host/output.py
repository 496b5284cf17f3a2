"""The guard's own output where it goes to a file: bounded, so that no fault that repeats fills the disk.

Under systemd the journal bounds it. Without, the init script appends it to a file (`host/systemd.service_log`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

MOST = 1_000_000  # bytes; as many more are kept beside it, in FILE.1


def bound(descriptor: int = 2, most: int = MOST) -> None:
    """Begin the file behind `descriptor` anew when it has more than `most` bytes; what it held is in FILE.1 then. Does nothing for
    what is no regular file. The descriptor must append (O_APPEND), as `>>` does.
    """
    with contextlib.suppress(OSError):
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size <= most:
            return
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        held = path.read_bytes()[-most:]
        before = path.with_name(path.name + ".1.new")
        before.touch(mode=0o600)
        before.write_bytes(held)
        before.replace(path.with_name(path.name + ".1"))
        os.ftruncate(descriptor, 0)
