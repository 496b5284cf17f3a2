"""What people name to `ban` and `unban`: arguments, or lines on standard input."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quietgate.bans.writer import Request, source_prefix
from quietgate.clock import parse_duration
from quietgate.errors import InputError
from quietgate.net import AddressError, Counting
from quietgate.ui.lists import Nothing, targets
from quietgate.ui.text import plural, safe

LONGEST_GRANT = 366 * 86400


@dataclass(frozen=True, slots=True)
class Mistake:
    """One target that is none: where it stood, what is wrong, what to do."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def read_targets(arguments: tuple[str, ...], counting: Counting) -> tuple[list[Request], list[Mistake], Counter[str]]:
    """All targets, all mistakes, and how many lines of a list were left out for which reason. "-", or no argument with input piped in, reads a
    list from standard input, in any of the forms of `lists.py`.
    """
    if not arguments and sys.stdin.isatty():
        raise InputError("no address was named", "name one or more, or pipe them in, one a line")
    rows: Iterable[tuple[str, str]] = (("argument", a) for a in arguments)
    if is_list(arguments):
        rows = _lines()
    requests, mistakes, left_out = list[Request](), list[Mistake](), Counter[str]()
    for where, text in rows:
        try:
            found = targets(text)
        except Nothing as error:
            left_out[str(error)] += 1
            continue
        except AddressError as error:
            mistakes.append(Mistake(where, safe(str(error)), error.remedy))
            continue
        requests += [Request(source_prefix(prefix, counting, exact="/" in asked), asked) for prefix, asked in found]
    if not requests and not mistakes and not left_out:
        raise InputError("no address was named", "name one or more, or pipe them in, one a line")
    return requests, mistakes, left_out


def grant_seconds(text: str) -> int:
    """The length of something that is granted for a time. Raises InputError."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--for: {error}", "write it like 2h, 1d or 30d") from None
    if not 1 <= seconds <= LONGEST_GRANT:
        raise InputError("--for: it lasts from a second to a year", "for ever is written into the policy: ssh.trusted, guard.never_ban")
    return seconds


def say_left_out(left_out: Counter[str]) -> None:
    """How many lines of a list were passed over, and why."""
    for why, count in sorted(left_out.items()):
        print(f"left out: {plural(count, 'line')}: {why}", file=sys.stderr)


def is_list(arguments: tuple[str, ...]) -> bool:
    """True if the targets come from standard input."""
    return not arguments or arguments == ("-",)


def _lines() -> Iterator[tuple[str, str]]:
    for number, raw in enumerate(sys.stdin.buffer, 1):
        yield f"-:{number}", raw.decode("utf-8", "replace").rstrip("\r\n")
