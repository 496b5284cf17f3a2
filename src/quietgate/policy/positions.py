"""Where each key and each list element of a TOML document stands.

tomllib gives values without lines, and an error without a line is no use to an administrator. This scanner runs
over a document that tomllib has already accepted, so it only has to find things, never to judge them.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def positions(text: str) -> dict[Path, int]:
    """Line (from 1) of each table, key and array element, by its path; `text` must be valid TOML.

    `[[firewall.rule]]` tables and array elements are numbered from 0 in their path.
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.found: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_blank():
            if self.text.startswith("[[", self.at):
                table = self._header(2, repeated=True)
            elif self.text[self.at] == "[":
                table = self._header(1, repeated=False)
            else:
                self._pair(table)
        return self.found

    def _header(self, width: int, *, repeated: bool) -> Path:
        line = self.line
        self.at += width
        path: Path = ()
        for key in self._keys("]"):
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        self.at += width
        if repeated:
            # The last step may have entered the newest existing element: step back to the array itself.
            array = path[:-1] if path and isinstance(path[-1], int) else path
            index = self.counts.get(array, 0)
            self.counts[array] = index + 1
            path = (*array, index)
            self.found.setdefault(array, line)
        self.found.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self.line
        path = table
        for key in self._keys("="):
            path = (*path, key)
            self.found.setdefault(path, line)
        self.found[path] = line
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
                assert match is not None, "tomllib accepted a key that is none"
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
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

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
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            start = self.at + 3
            end = start
            while not self.text.startswith(quote * 3, end):
                end += 2 if quote == '"' and self.text[end] == "\\" else 1
            while self.text.startswith(quote, end + 3):  # up to two quotes may stand before the closing three
                end += 1
            self.line += self.text.count("\n", self.at, end)
            self.at = end + 3
            return self.text[start:end]
        out = []
        self.at += 1
        while (char := self.text[self.at]) != quote:
            if quote == '"' and char == "\\":
                self.at += 1
                out.append(_ESCAPES.get(self.text[self.at], self.text[self.at]))
            else:
                out.append(char)
            self.at += 1
        self.at += 1
        return "".join(out)

    def _skip_space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def _skip_blank(self) -> bool:
        """Pass white space, line ends and comments; True if something is left."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\n":
                self.line += 1
            elif char == "#":
                while self.at < len(self.text) and self.text[self.at] != "\n":
                    self.at += 1
                continue
            elif char not in " \t":
                return True
            self.at += 1
        return False
