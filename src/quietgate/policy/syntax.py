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
_LIST = "put texts and addresses in quotes, a comma between them, and a ] at the end"
_TABLE = "close it with a } on the same line; commas stand between its parts, none after the last"
_VALUE = re.compile(r"=\s*([\[{])")


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
    twice = message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate", "Cannot redefine"))
    if twice:
        rest = len(text[end:].split("\n", 1)[0])
        begun = _last_statement(text[: end + rest])
        return begun.statement, *_twice(begun, text)
    begun = _last_statement(text[:end])
    here = text[end : end + LONGEST_SHOWN].split("\n", 1)[0].strip()
    there = f"at {quoted(here)}" if here else "at the end of the line" if end < len(text) else "at the end of the file"
    return _explained(message, begun, line, there, text)


def _explained(message: str, begun: Scan, line: int, there: str, text: str) -> tuple[int, str, str]:
    start = begun.statement
    far = there if line == start else f"{there} in line {line}"
    value = "".join(_VALUE.findall("\n".join(text.split("\n")[start - 1 : start])))
    match message:
        case "Invalid value" | "Invalid initial character for a key part" if value == "[" and there == "at the end of the file":
            return start, f"the list is not closed, or lacks a comma, {far}", _LIST
        case "Invalid initial character for a key part" if value == "{":
            return start, f"the table is not closed {far}", _TABLE
        case _ if message.startswith("Duplicate inline table key"):
            return line, f"{message[27:]} is written twice in one table", "keep one of them"
        case "Invalid value" if there.startswith("at the end"):
            return start, "the value is missing", _EXAMPLE
        case "Invalid value":
            return line, f"no value that TOML knows {there}", f"{_QUOTES}; true and false are in lower case, without quotes"
        case "Unclosed array":
            return start, f"the list is not closed, or lacks a comma, {far}", _LIST
        case "Unclosed inline table":
            return start, f"the table is not closed {far}", _TABLE
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
    lines = text.split("\n")
    before = _last_statement("\n".join(lines[: begun.statement - 1]))
    header = lines[begun.statement - 1].lstrip().startswith("[")
    path = begun.path
    while path and path not in before.found:
        path = path[:-1]
    shown = _shown(begun.path, header=header)
    if path == begun.path and path:
        remedy = "keep one of them, and put the keys of both below it" if header else "keep one of them"
        return f"{shown} is written twice in this file, first in line {before.found[path]}", remedy
    where = f" in line {before.found[path]}" if path else ""
    return f"{shown} does not fit what stands{where}", "write all keys of one section in one place, and each once"


def _shown(path: Path, *, header: bool) -> str:
    name = ".".join(str(p) for p in path if isinstance(p, str)) or "this key"
    return f"[{name}]" if header else name


def _last_statement(text: str) -> Scan:
    scan = Scan(text)
    with contextlib.suppress(IndexError, ValueError, RecursionError):  # it stops where the text does
        scan.run()
    return scan
