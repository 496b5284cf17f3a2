"""The golden pairs of the reader: lines of a log beside what `quietgate parse --json` says, and `python -m tests.guard.regenerate`.

Regenerate, then look at `git diff`: every changed line is somebody who is blamed, or is not.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

from quietgate.ui.cli import main as command

GOLDEN = Path(__file__).parent / "golden"


def cases() -> list[Path]:
    return sorted(GOLDEN.glob("*.log"))


def parsed(case: Path) -> str:
    """What `quietgate parse --json` prints of this log."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", ["quietgate", "parse", "--json", str(case)]), contextlib.redirect_stdout(out):
        with contextlib.suppress(SystemExit):
            command()
    return out.getvalue()


def main() -> None:
    for case in cases():
        case.with_suffix(".jsonl").write_text(parsed(case))


if __name__ == "__main__":
    main()
