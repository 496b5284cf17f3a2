"""Where each key and each list element of a TOML document stands.

tomllib gives values without lines, and an error without a line is no use to an administrator. This scanner runs
over a document that tomllib has already accepted, so it only has to find things, never to judge them. Over one that
tomllib refused, `Scan` still tells where the last statement began.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_TO_LINE_END = re.compile(r"[^\n]*")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_SPACE = re.compile(r"[ \t]*")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_WIDE = {"u": 4, "U": 8}


def positions(text: str) -> dict[Path, int]:
    """Line (from 1) of each table, key and array element, by its path; `text` must be valid TOML.

    `[[firewall.rule]]` tables and array elements are numbered from 0 in their path. What is mentioned before it is
    written (`log` in `log.rate = ...`) stands where it is mentioned first, unless it has a header of its own.
    """
    scan = Scan(text)
    scan.run()
    return scan.found


class Scan:
    """One pass over a document: `found` is complete after `run`, `statement` and `path` tell of the last one begun."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.found: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.statement = 1
        self.path: Path = ()

    def run(self) -> None:
        """Scan to the end. Over invalid TOML this may raise IndexError, ValueError or RecursionError."""
        table: Path = ()
        while self._skip_blank():
            self.statement, self.path = self.line, ()
            if self.text.startswith("[[", self.at):
                table = self._header(2, repeated=True)
            elif self.text[self.at] == "[":
                table = self._header(1, repeated=False)
            else:
                self._pair(table, outermost=True)

    def _header(self, width: int, *, repeated: bool) -> Path:
        line = self.line
        self.at += width
        path: Path = ()
        keys = self._keys("]")
        for depth, key in enumerate(keys, 1):
            path = (*path, key)
            self.path = path
            if depth < len(keys):
                self.found.setdefault(path, line)
            if path in self.counts and not (repeated and depth == len(keys)):
                path = (*path, self.counts[path] - 1)
        self.at += width
        if repeated:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            self.found.setdefault(path, line)
            path = (*path, index)
        self.found[path] = line
        return path

    def _pair(self, table: Path, *, outermost: bool = False) -> None:
        line = self.line
        path = table
        for key in self._keys("="):
            path = (*path, key)
            self.found.setdefault(path, line)
        if outermost:
            self.path = path
        self.at += 1
        self._value(path)

    def _keys(self, end: str) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip_space()
            char = self.text[self.at]
            if char == end:
                return keys
            if char == ".":
                self.at += 1
            elif char in "\"'":
                keys.append(self._string())
            else:
                match = _BARE.match(self.text, self.at)
                if match is None:
                    raise ValueError("a key that is none")
                keys.append(match[0])
                self.at = match.end()

    def _value(self, path: Path) -> None:
        self._skip_space()
        char = self.text[self.at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:
            before = self.at
            self._skip(_BARE_VALUE)
            if self.at == before:
                raise ValueError("a value that is none")

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip_blank() and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.found[(*path, index)] = self.line
            self._value((*path, index))
            index += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self._skip_blank() and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1

    def _string(self) -> str:
        """Pass a string; its text is returned exactly for one-line strings, which alone can be keys."""
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            start = self.at
            end = start + 3
            while not self.text.startswith(quote * 3, end):
                if end >= len(self.text):
                    raise IndexError
                end += 2 if quote == '"' and self.text[end] == "\\" else 1
            end += 3
            for _ in range(2):  # up to two quotes may stand before the closing three
                end += self.text.startswith(quote, end)
            self.line += self.text.count("\n", start, end)
            self.at = end
            return self.text[start:end]
        out = []
        self.at += 1
        while (char := self.text[self.at]) != quote:
            self.at += 1
            if quote == '"' and char == "\\":
                char = self._escaped()
            out.append(char)
        self.at += 1
        return "".join(out)

    def _escaped(self) -> str:
        letter = self.text[self.at]
        self.at += 1
        width = _WIDE.get(letter)
        if width is None:
            return _ESCAPES.get(letter, letter)
        self.at += width
        return chr(int(self.text[self.at - width : self.at], 16))

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        assert match is not None, "every such pattern matches the empty text"
        self.at = match.end()

    def _skip_space(self) -> None:
        self._skip(_SPACE)

    def _skip_blank(self) -> bool:
        """Pass white space, line ends and comments; True if something is left."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\n":
                self.line += 1
                self.at += 1
            elif char == "#":
                self._skip(_TO_LINE_END)
            elif char in " \t":
                self._skip_space()
            else:
                return True
        return False
