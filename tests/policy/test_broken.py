"""Broken policies and what `check` says of each: every mistake, its line, and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy.regenerate import BROKEN, broken, broken_cases, check


@pytest.mark.parametrize("case", broken_cases(), ids=lambda c: c.name)
def test_every_mistake_is_named_with_its_line_and_remedy(case: Path) -> None:
    assert broken(case) == case.with_suffix(".expected").read_text()


@pytest.mark.parametrize("case", broken_cases(), ids=lambda c: c.name)
def test_each_line_has_place_what_and_remedy_and_fits_a_terminal_row_or_three(case: Path) -> None:
    said = broken(case)
    assert "Traceback" not in said
    assert "bug of ours" not in said
    for line in said.splitlines():
        if line.startswith((case.stem, "warning: ")) and ": right" not in line:
            place, what = line.removeprefix("warning: ").split(": ", 1)
            assert place.rpartition(":")[2].isdigit(), line
            assert "; " in what, line
            assert len(what) <= 240, line


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    policy = tmp_path / "quietgate.toml"
    policy.write_text("# nothing\n")
    policy.chmod(0o666)

    assert check(tmp_path, [policy]) == (
        "quietgate.toml:1: others than its owner may write this file; chmod go-w quietgate.toml\n"
        "1 mistake; nothing was changed\n"
        "exit 2\n"
    )  # fmt: skip


def test_the_command_says_the_same() -> None:
    quietgate = Path(sys.executable).with_name("quietgate")
    words = [str(quietgate), "--root", "/nonexistent", "check", "many.toml"]
    done = subprocess.run(words, cwd=BROKEN, capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert f"{done.stderr}exit {done.returncode}\n" == (BROKEN / "many.expected").read_text()
