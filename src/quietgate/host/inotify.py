"""inotify(7) by ctypes: three calls. asyncinotify does the same and more, and would be a second dependency of what runs as root."""

from __future__ import annotations

import ctypes
import os
import struct

MODIFY, ATTRIB, MOVED_TO, CREATE, DELETE_SELF, MOVE_SELF = 0x2, 0x4, 0x80, 0x100, 0x400, 0x800
IN_NONBLOCK, IN_CLOEXEC = 0o4000, 0o2000000
_EVENT = struct.Struct("iIII")


class Inotify:
    """A queue of events; `fd` is readable when there are some. Raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def watch(self, path: str, mask: int) -> int:
        """Watch a path; its number in events. Idempotent for the same file."""
        number: int = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        return number

    def unwatch(self, number: int) -> None:
        """Stop watching. Idempotent."""
        self._libc.inotify_rm_watch(self.fd, number)

    def drain(self) -> None:
        """Throw the queued events away: whoever looks at the files anyway needs no more than the waking."""
        try:
            while os.read(self.fd, 65536):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Let it go."""
        os.close(self.fd)
