"""The guard's output in a file is bounded, and its last part is kept."""

from __future__ import annotations

import os
from pathlib import Path

from quietgate.host.output import bound


def test_a_file_that_is_full_begins_anew_and_what_it_held_lies_beside(tmp_path: Path) -> None:
    log = tmp_path / "guard.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for n in range(1000):
            bound(descriptor, 1000)
            os.write(descriptor, f"line {n}\n".encode())
            assert log.stat().st_size <= 1020
        beside = tmp_path / "guard.log.1"
        assert beside.stat().st_size <= 1000
        assert beside.stat().st_mode & 0o077 == 0
        assert log.read_text().endswith("line 999\n")
        last = int(beside.read_text().splitlines()[-1].split()[1])
        assert log.read_text().startswith(f"line {last + 1}\n"), "nothing is lost between the two"
    finally:
        os.close(descriptor)


def test_a_pipe_and_a_terminal_are_left_alone() -> None:
    read, write = os.pipe()
    os.write(write, b"x" * 2000)
    bound(write, 1000)
    assert len(os.read(read, 4000)) == 2000
    os.close(read)
    os.close(write)
