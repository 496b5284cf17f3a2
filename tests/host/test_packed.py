"""A log is unpacked by what it is, not by what it is called; what is cut off or damaged is said."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quietgate.host.packed import BROKEN, opened

TEXT = b"".join(b"Nov 24 17:00:05 gate sshd[%d]: x\n" % n for n in range(20_000))


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-cq"], input=data, capture_output=True, check=True).stdout


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd, "plain": bytes}
needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")


@pytest.mark.parametrize("kind", [pytest.param(k, marks=needs_zstd) if k == "zst" else k for k in PACK])
def test_it_is_unpacked_whatever_its_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "log"
    file.write_bytes(PACK[kind](TEXT))
    with opened(file) as stream:
        assert stream.read() == TEXT


@pytest.mark.parametrize("kind", [pytest.param(k, marks=needs_zstd) if k == "zst" else k for k in PACK if k != "plain"])
def test_one_that_is_cut_off_is_no_whole_one(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "log"
    file.write_bytes(PACK[kind](TEXT)[:-40])
    with pytest.raises(BROKEN), opened(file) as stream:
        stream.read()


def test_a_pipe_loses_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(TEXT))
    writer.start()
    with opened(pipe) as stream:
        assert stream.read() == TEXT
    writer.join()
