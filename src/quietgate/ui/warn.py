"""What went wrong beside a deed that was done."""

from __future__ import annotations

import sys

from quietgate.generations.installation import Parts
from quietgate.ui.text import safe


def warn(parts: Parts) -> None:
    """Print it on standard error, once."""
    for said in parts.warnings:
        print(f"warning: {safe(said)}", file=sys.stderr)
    parts.warnings.clear()
