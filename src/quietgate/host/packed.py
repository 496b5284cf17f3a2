"""A log as it lies on a disk: plain, or packed by gzip, xz, bzip2 or zstd, told by its first bytes rather than by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from quietgate.errors import HostError

_MAGIC: tuple[tuple[bytes, Callable[..., Any]], ...] = ((b"\x1f\x8b", gzip.open), (b"\xfd7zXZ\x00", lzma.open), (b"BZh", bz2.open))
_ZSTD = b"\x28\xb5\x2f\xfd"
SUFFIXES = (".gz", ".xz", ".bz2", ".zst")
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, HostError)  # a file that is gone, cut off, or not what it seems


def opened(path: Path) -> BinaryIO:
    """The unpacked bytes. Raises OSError, and while reading what `BROKEN` holds; HostError for zstd where its program is not installed
    (Python 3.11 has no zstd of its own). A pipe is read as it is: what was looked at could not be read again.
    """
    if not path.is_file():
        return path.open("rb")
    with path.open("rb") as file:
        first = file.read(6)
    for magic, program in _MAGIC:
        if first.startswith(magic):
            packed: BinaryIO = program(path, "rb")
            return packed
    if first.startswith(_ZSTD):
        return io.BufferedReader(_Zstd(path))
    return path.open("rb")


class _Zstd(io.RawIOBase):
    """What `zstd -d` prints; its end is an end only where it says that all was well."""

    def __init__(self, path: Path) -> None:
        program = shutil.which("zstd")
        if program is None:
            raise HostError(f"{path} is packed by zstd, and zstd is not installed", "apt install zstd")
        self._child = subprocess.Popen([program, "-dcq", "--", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)  # fmt: skip

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert self._child.stdout is not None
        data = self._child.stdout.read(len(buffer))
        buffer[: len(data)] = data
        if not data and self._child.wait() != 0:
            raise OSError("zstd cannot unpack it")
        return len(data)

    def close(self) -> None:
        if not self.closed:
            assert self._child.stdout is not None
            self._child.stdout.close()
            self._child.kill()
            self._child.wait()
        super().close()
