"""Files that other programs made: a FIFO, a device, a directory or a huge file holds nobody up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quietgate.host.reading import read_regular, read_text


def test_a_regular_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc\xff" * 10)
    assert read_regular(file) == b"abc\xff" * 10
    assert read_regular(file, 3) == b"abc"
    assert read_text(file, 4) == "abc�"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "missing"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "path"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"file|directory"):
        read_regular(path)


def test_a_fifo_that_somebody_keeps_open_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "1.ref"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(OSError, match="regular"):
            read_regular(path)
    finally:
        os.close(writer)


def test_files_of_proc_are_read() -> None:
    assert read_text("/proc/self/comm").strip()
