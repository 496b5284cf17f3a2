"""Read small files that other programs made, within a bound of size, and never wait for their makers.

A FIFO in a file's place blocks whoever opens or reads it until somebody writes: pam_systemd keeps one in /run/systemd/sessions for
each session (seen with systemd 252 and 257). So what is no regular file is not read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST = 1 << 20  # bytes of a file that are read unless the caller says otherwise


def read_regular(path: Path | str, most: int = MOST) -> bytes:
    """Return up to `most` bytes of a regular file. Raises OSError, also for what is no regular file.

    Files of /proc and /sys are regular ones.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(most)
    finally:
        os.close(descriptor)


def read_text(path: Path | str, most: int = MOST) -> str:
    """Return the same as text; bytes that are no UTF-8 become U+FFFD. Raises OSError."""
    return read_regular(path, most).decode("utf-8", "replace")
