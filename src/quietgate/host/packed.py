"""A log as it lies on a disk: plain, or packed by gzip, xz, bzip2 or zstd, told by its first bytes rather than by its name."""

from __future__ import annotations

import bz2
import gzip
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
    (Python 3.11 has no zstd of its own).
    """
    with path.open("rb") as file:
        first = file.read(6)
    for magic, program in _MAGIC:
        if first.startswith(magic):
            packed: BinaryIO = program(path, "rb")
            return packed
    if not first.startswith(_ZSTD):
        return path.open("rb")
    zstd = shutil.which("zstd")
    if zstd is None:
        raise HostError(f"{path} is packed by zstd, and zstd is not installed", "apt install zstd")
    child = subprocess.Popen([zstd, "-dcq", "--", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    return child.stdout  # type: ignore[return-value]
