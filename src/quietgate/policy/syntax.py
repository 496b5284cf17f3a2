"""tomllib's refusals in the words of whoever wrote the line: where the mistake began, what it is, what to write.

tomllib names the place where it could not go on. For a list that was never closed that is some later line, and for
a key written twice the end of its value; here it becomes the line where the statement begins.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quietgate.policy.positions import Path, Scan
from quietgate.policy.readers import LONGEST_SHOWN, quoted

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_LONG_NUMBER = re.compile(r"[0-9_]{4000,}")
_EXAMPLE = 'a setting is written like this: limit = "5 per 60s"'
_QUOTES = "texts, addresses and names stand in quotes"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document's data, and the line of each of its parts."""

    data: dict[str, Any]
    lines: Mapping[Path, int]


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why a document is no TOML: where, what is wrong, what to do."""

    line: int
    what: str
    remedy: str


def parse(text: str) -> Parsed | Mistake:
    """Read one document. Never raises."""
    try:
        data = tomllib.loads(text)
        scan = Scan(text)
        scan.run()
    except RecursionError:
        return Mistake(1, "lists or tables are nested too deep", "a policy needs three levels at most")
    except tomllib.TOMLDecodeError as error:
        return Mistake(*_plain(text.replace("\r\n", "\n"), str(error)))
    except ValueError:  # Python reads no decimal number of more than 4,300 digits
        long = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, long.start()) + 1 if long else 1
        return Mistake(line, "a number has thousands of digits", "write a shorter one")
    return Parsed(data, scan.found)


def _plain(text: str, error: str) -> tuple[int, str, str]:
    place = _PLACE.search(error)
    message = _PLACE.sub("", error)
    lines = text.split("\n")
    if place and place[1]:
        line, column = int(place[1]), int(place[2])
        end = sum(len(x) + 1 for x in lines[: line - 1]) + column - 1
    else:
        line, end = text.rstrip("\n").count("\n") + 1, len(text)
    begun = _last_statement(text[:end])
    here = text[end : end + LONGEST_SHOWN].split("\n", 1)[0].strip()
    there = f"at {quoted(here)}" if here else "at the end of the line" if end < len(text) else "at the end of the file"
    return _explained(message, begun, line, there, text)


def _explained(message: str, begun: Scan, line: int, there: str, text: str) -> tuple[int, str, str]:
    start = begun.statement
    far = there if line == start else f"{there} in line {line}"
    twice = message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate", "Cannot redefine", "Duplicate inline"))
    match message:
        case _ if twice:
            return start, *_twice(begun, text)
        case "Invalid value" if there.startswith("at the end"):
            return start, "the value is missing", _EXAMPLE
        case "Invalid value":
            return line, f"no value TOML knows {there}", f"{_QUOTES}; true and false are lower case, without"
        case "Unclosed array":
            return start, f"the list is not closed, or lacks a comma, {far}", f"close it with a ]; {_QUOTES}"
        case "Unclosed inline table":
            return start, f"the table is not closed {far}", "close it with a }, on the same line; its parts are joined by commas"
        case "Expected '=' after a key in a key/value pair":
            return line, f"a key needs an = and a value, {there}", _EXAMPLE
        case "Expected newline or end of document after a statement":
            return line, f"the line should end {there}", f"one setting a line; {_QUOTES}; a comment begins with #"
        case "Expected ']' at the end of a table declaration" | "Expected ']]' at the end of an array declaration":
            return line, f"the section's name is not closed {there}", "write it like [ssh] or [[firewall.rule]], on a line of its own"
        case "Illegal character '\\n'" | "Found invalid character '\\n'":
            return line, "the text is not closed", "end it with the same quote on this line"
        case "Unterminated string" | 'Expected "\'"' | "Expected \"'''\"" | 'Expected \'"""\'':
            return start, "the text is not closed", "end it with the same quote it begins with"
        case "Unescaped '\\' in a string":
            return line, "a \\ in a text has a meaning of its own", "write \\\\ for one \\, or use single quotes: 'text'"
        case "Invalid date or datetime":
            return line, f"no date there is {there}", _QUOTES
        case "Invalid statement" | "Invalid initial character for a key part":
            return line, f"neither a key nor a section {there}", _EXAMPLE
        case _:
            return line, f"no valid TOML: {message[:1].lower()}{message[1:]} {there}", _EXAMPLE


def _twice(begun: Scan, text: str) -> tuple[str, str]:
    """A key or section that stands twice in one file. It is looked for among the statements before it."""
    before = _last_statement("\n".join(text.split("\n")[: begun.statement - 1]))
    path = begun.path
    while path and path not in before.found:
        path = path[:-1]
    name = ".".join(str(p) for p in begun.path if isinstance(p, str)) or "a key"
    header = text.split("\n")[begun.statement - 1].lstrip().startswith("[")
    shown = f"[{name}]" if header else name
    first = f", first in line {before.found[path]}" if path else ""
    if header:
        return f"{shown} is written twice in this file{first}", "keep one of them, and put the keys of both below it"
    return f"{shown} is written twice in this file{first}", "keep one of them"


def _last_statement(text: str) -> Scan:
    scan = Scan(text)
    with contextlib.suppress(IndexError, ValueError, RecursionError):  # it stops where the text does
        scan.run()
    return scan
