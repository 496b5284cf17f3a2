"""What README.md tells a newcomer to type, taken out of it, so that the page and the tests cannot drift apart."""

from __future__ import annotations

import re

from tests.boot.tree import CHECKOUT

LEFT_OUT = "..."  # in the page's output: any lines, or none
# What differs from host to host and from day to day.
_VARIES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+\.\d+\.\d+\.\d+|\d+[dhms]\d*[hms]?|\d+")


def blocks() -> list[list[str]]:
    """The indented blocks, each as its lines without the indent."""
    found: list[list[str]] = [[]]
    for line in (CHECKOUT / "README.md").read_text().splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif found[-1] and line:
            found.append([])
    return [b for b in found if b]


def to_type(word: str) -> list[str]:
    """The lines of the first block that has a line with that word: what one types."""
    return next(b for b in blocks() if any(word in line for line in b))


def sessions() -> dict[str, list[str]]:
    """What the page shows of root's terminal: each command, and the lines that it is said to print."""
    found: dict[str, list[str]] = {}
    for block in blocks():
        lines: list[str] = []
        for line in block:
            if line.startswith("# "):
                found[line[2:]] = lines = []
            else:
                lines.append(line)
    return found


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines that the page shows and that were not printed there, in that order, apart from addresses, times and numbers.

    Between two lines of the page nothing else is printed, unless it says so (`LEFT_OUT`).
    """
    real = [_VARIES.sub("N", line).rstrip() for line in printed.splitlines() if line.strip()]
    at, free, lost = 0, False, []
    for line in shown:
        if line.strip() == LEFT_OUT:
            free = True
            continue
        wanted = _VARIES.sub("N", line).rstrip()
        here = next((i for i in range(at, len(real) if free else min(at + 1, len(real))) if real[i] == wanted), None)
        if here is None:
            lost.append(f"{line}   (printed: {real[at:]})")
            free = True
        else:
            at, free = here + 1, False
    if at < len(real) and not free:
        lost.append(f"not shown: {real[at]}")
    return lost
