"""TOML documents for property tests: some whose lines are known, some that are only nearly TOML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from quietgate.policy.positions import Path

PLAIN = ("1", "-7", "0x1F", "1_000", "3.5", "1e3", "inf", "true", "false", "1979-05-27", "1979-05-27 07:32:00", "07:32:00",
         '""', "''", '"text"', "'C:\\'", '"#, ] } [ {"', '"\\" \\\\ \\u00e9"', "'\"'")  # fmt: skip
ON_LINES = ('"""a\nb"""', "'''\na\n'''", '"""\n"quoted"\n"""', '"""a""b\\"""\n"""', '"""x\n"""""', "'''\n'''''", '"""\\\n   on\n"""')
KEYS = ("{}", '"{}"', "'{}'", '"{} \\u00e9 x"', "'{} . ='")
SPELT = {3: "{} é x", 4: "{} . ="}
# Pieces that meet each other in all the wrong ways.
TOKENS = ("[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", "\n", "\r\n", "\r", " ", "\t", '"', "'", '"""', "'''", "\\", "a", "b", "ssh",
          "firewall", "rule", "groups", "limit", "ports", "name", "1", "22", "5 per 60s", "@a", "true", "\x00", "\ufeff", "é")  # fmt: skip


class Writer:
    """Text with the line of each path, as the document grows."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Path, int] = {}
        self.names = 0

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def put(self, text: str) -> None:
        self.text += text

    def one(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def chance(self) -> bool:
        return self.draw(st.booleans())

    def key(self) -> str:
        """Write a fresh key; return what it is called."""
        self.names += 1
        index = self.draw(st.integers(0, len(KEYS) - 1))
        self.put(KEYS[index].format(f"k{self.names}"))
        return SPELT.get(index, "{}").format(f"k{self.names}")

    def pair(self, table: Path, depth: int) -> None:
        path = table
        for part in range(self.draw(st.integers(1, 3))):
            if part:
                self.put(self.one(".", " . "))
            path = (*path, self.key())
            self.lines[path] = self.line
        self.put(self.one("=", " = ", "\t= "))
        self.value(path, depth)

    def value(self, path: Path, depth: int) -> None:
        kind = self.draw(st.integers(0, 3 if depth < 3 else 1))
        if kind == 0:
            self.put(self.one(*PLAIN))
        elif kind == 1:
            self.put(self.one(*ON_LINES))
        elif kind == 2:
            self.array(path, depth)
        else:
            self.inline_table(path, depth)

    def array(self, path: Path, depth: int) -> None:
        self.put("[")
        for index in range(self.draw(st.integers(0, 3))):
            self.put(self.one("", " ", "\n", "\n  # ] comment\n\n\t"))
            self.lines[(*path, index)] = self.line
            self.value((*path, index), depth + 1)
            self.put(self.one(",", " ,", "\n,"))
        self.put(self.one("", "\n", " # [\n") + "]")

    def inline_table(self, path: Path, depth: int) -> None:
        self.put("{")
        for index in range(self.draw(st.integers(0, 3))):
            self.put(", " if index else " ")
            self.pair(path, depth + 1)
        self.put(" }")

    def body(self, table: Path) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.put(self.one("", "  ", "\n", "# comment = [\n"))
            self.pair(table, 0)
            self.put(self.one("\n", " # comment\n", "\t\n\n"))

    def header(self, table: Path, *, repeated: bool) -> Path:
        """A header for a fresh table below `table`, or for another element of the array at `table`."""
        line = self.line
        self.put("[[" if repeated else "[")
        self.put(" . ".join(f"'{k}'" for k in table if isinstance(k, str)) + ("." if table else ""))
        path = (*table, self.key())
        self.put("]]\n" if repeated else "] # header\n")
        self.lines[path] = line
        return path

    def array_of_tables(self, table: Path) -> None:
        array = self.header(table, repeated=True)
        spelt = " . ".join(f"'{k}'" for k in array if isinstance(k, str))
        for index in range(self.draw(st.integers(1, 3))):
            if index:
                self.lines[(*array, index)] = self.line
                self.put(f"[[{spelt}]]\n")
            else:
                self.lines[(*array, 0)] = self.lines[array]
            self.body((*array, index))
            if self.chance():
                self.body(self.header((*array, index), repeated=False))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A valid document and the line of everything in it."""
    writer = Writer(draw)
    writer.body(())
    for _ in range(draw(st.integers(0, 3))):
        if writer.chance():
            writer.array_of_tables(())
            continue
        table = writer.header((), repeated=False)
        writer.body(table)
        if writer.chance():
            writer.body(writer.header(table, repeated=False))
        if writer.chance():
            writer.array_of_tables(table)
    return writer.text, writer.lines


def nearly_toml() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(TOKENS), max_size=25).map("".join)


def paths(data: Any, above: Path = ()) -> Iterator[Path]:
    """Every path in what tomllib returned."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from paths(value, (*above, key))
