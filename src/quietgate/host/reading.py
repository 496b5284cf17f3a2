"""Read files that other programs made, within a bound of size, and never wait for their makers.

A FIFO in a file's place blocks whoever opens or reads it until somebody writes: pam_systemd keeps one in /run/systemd/sessions for
each session (seen with systemd 252 and 257). So what is no regular file is not opened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST = 1 << 20  # bytes of a file that are read unless the caller says otherwise


def read_regular(path: Path | str, most: int = MOST) -> bytes:
    """Return up to `most` bytes of a regular file, or of the one that a link leads to. Raises OSError, also for what is none.

    Files of /proc and /sys are regular ones.
    """
    with opened(path, follow=True) as stream:
        return stream.read(most)


def read_text(path: Path | str, most: int = MOST) -> str:
    """Return the same as text; bytes that are no UTF-8 become U+FFFD. Raises OSError."""
    return read_regular(path, most).decode("utf-8", "replace")


def read_whole(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Return all bytes of a regular file. Raises OSError, also where it is none, is a link (unless `follow`), or has more than `most`
    bytes.
    """
    with opened(path, follow=follow) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return content


def opened(path: Path | str, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading, at once whatever lies there. Raises OSError, also where it is none, or (unless `follow`) a link."""
    _refuse_special(os.stat(path, follow_symlinks=follow).st_mode)  # before it is opened: opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    stream = open(descriptor, "rb")  # noqa: SIM115  for the caller
    try:
        _refuse_special(os.fstat(descriptor).st_mode)
    except OSError:
        stream.close()
        raise
    return stream


def _refuse_special(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "it is a symbolic link")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
