"""What people name to `ban` and `unban`: arguments, or lines on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quietgate.app.bans import Request, source_prefix
from quietgate.errors import InputError
from quietgate.net import AddressError, Counting, parse_prefix
from quietgate.ui.text import safe

LONGEST = 256  # characters of one line


@dataclass(frozen=True, slots=True)
class Mistake:
    """One target that is none: where it stood, what is wrong, what to do."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def read_targets(arguments: tuple[str, ...], counting: Counting) -> tuple[list[Request], list[Mistake]]:
    """All targets, and all mistakes. "-", or no argument with input piped in, reads a line each from standard input."""
    if not arguments and sys.stdin.isatty():
        raise InputError("no address was named", "name one or more, or pipe them in, one a line")
    rows: Iterable[tuple[str, str]] = (("argument", a) for a in arguments)
    if is_list(arguments):
        rows = _lines()
    requests, mistakes = [], []
    for where, text in rows:
        try:
            prefix = parse_prefix(text)
        except AddressError as error:
            mistakes.append(Mistake(where, safe(str(error)), error.remedy))
            continue
        requests.append(Request(source_prefix(prefix, counting, exact="/" in text), text))
    if not requests and not mistakes:
        raise InputError("no address was named", "name one or more, or pipe them in, one a line")
    return requests, mistakes


def is_list(arguments: tuple[str, ...]) -> bool:
    """True if the targets come from standard input."""
    return not arguments or arguments == ("-",)


def _lines() -> Iterator[tuple[str, str]]:
    for number, raw in enumerate(sys.stdin.buffer, 1):
        text = raw.decode("utf-8", "replace").split("#", 1)[0].strip()
        if text:
            yield f"-:{number}", text[:LONGEST]
