"""Does the guard understand what it reads? Asked of the guard itself; each finding as id, severity, what, remedy."""

from __future__ import annotations

from collections.abc import Iterator

from quietgate.control.client import ask
from quietgate.errors import QuietgateError
from quietgate.generations.installation import Parts
from quietgate.sshlog.unread import REMEDIES, Why

Row = tuple[str, str, str, str]


def of_log(parts: Parts) -> Iterator[Row]:
    """Kinds of lines that name an SSH server and were not understood, with an example of each."""
    try:
        sources = ask(parts.paths.control, {"ask": "status"}, 2.0)["sources"]
        for source in sources:
            for kind, (count, example) in source.get("unread", {}).items():
                yield _row(str(source["name"]), Why(kind), int(count), str(example), deaf=not source.get("lines"))
    except (QuietgateError, KeyError, TypeError, ValueError, AttributeError):
        return  # that it does not answer is told elsewhere


def _row(name: str, kind: Why, count: int, example: str, *, deaf: bool) -> Row:
    severity = "problem" if deaf and kind is not Why.MESSAGE else "advice"
    what, _, remedy = REMEDIES[kind].partition(": ")
    lines = f"{count:,} line{'' if count == 1 else 's'}"
    return ("unread", severity, f"{name}: {lines} of an SSH server could not be understood: {what} (such as {example!r})",
            remedy or "quietgate parse --explain with that line says where reading ends; please report it")  # fmt: skip
