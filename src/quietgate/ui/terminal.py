"""How lines stand on a terminal: its width, wrapping, columns, colour.

In a pipe or a file nothing is wrapped or coloured, so that grep finds a whole record in one line. `click.style` and this
file, not rich: importing rich takes most of the time that importing click and Python itself do together.
Text is made safe first, then measured, then wrapped, and styled last: no text brings a colour or a line end of its own,
and a name in wide or combining characters takes the columns that a terminal gives it.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TextIO

import click

from quietgate.ui.text import safe

USUAL = 80  # columns, where a terminal does not tell
FEWEST = 20  # columns: less is not believed
NARROW = 18  # columns: where a column that wraps would have less, its cells stand below their rows
BELOW = 4  # columns by which what stands below is indented

# What is not broken: a moment; a command in backticks; a command with its first arguments; what has no space. Commands are
# copied from the terminal, where a line end would run the first half. The bounds: log lines are hostile.
_WORD = re.compile(
    r"""\d{4}-\d\d-\d\d\ \d\d:\d\d\S*
      | [^\s`]*`[^`]{1,100}`\S*
      | \(?(?:sudo\ )?quietgate\ [a-z]+(?:(?<![,;:.)])\ (?:-\S+|\d\S*|[0-9a-f]*:\S*|[A-Z]{2,}\S*|(?:ack|test|all)\b)){0,4}\S*
      | \(?(?:systemctl|service|ufw)\ [a-z-]+(?:\ -\S+){0,4}\ \S+
      | \(?(?:sysctl|journalctl|firewall-cmd)(?:\ -\S+){0,4}\ \S+
      | \S+""",
    re.VERBOSE,
)
# How our lines begin: with what they are about, or when it was. The line goes on under what follows that.
_LABEL = re.compile(r"( *)([a-z][a-z ]{0,14}: +|[-+] |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2})?")


class Tone(StrEnum):
    """What a colour means. The words beside it say the same."""

    BAD = "red"  # something is wrong, or shut out
    ADVICE = "yellow"  # trial, stale, advice
    GOOD = "green"  # up, let in
    DIM = "dim"  # when, and why


class Cell(NamedTuple):
    """A text, and its tone."""

    text: str
    tone: Tone | None = None


Row = Sequence[str | Cell]


@dataclass(frozen=True, slots=True)
class Screen:
    """Where lines are shown. `width`: its columns; None: nothing is wrapped."""

    width: int | None = None
    colour: bool = False

    def line(self, text: str, tone: Tone | None = None, *, label: Tone | None = None) -> str:
        """One line, which may begin with spaces and a label (`next: `, a moment); `label` is the tone of that, `tone` of the rest."""
        found = _LABEL.match(text)
        assert found is not None
        indent, head, rest = len(found[1]), found[2], Cell(safe(text[found.end() :]), tone)
        if head:
            name = head.rstrip()
            return self.table([(Cell(name, label), rest)], indent=indent, gap=len(head) - len(name))
        return "\n".join(self._paragraph(rest, indent, BELOW))

    def table(self, rows: Sequence[Row], *, free: Collection[int] = (-1,), head: bool = False, indent: int = 0, gap: int = 2) -> str:
        """Rows in columns. Where these are too wide, the cells of the `free` columns wrap, the widest first; the others (addresses,
        times, numbers) never do. Where that is not enough, the last cell of a row stands below it, then each row is a block of
        lines. `head`: the first row is titles.
        """
        made = [[_cell(c) for c in row] for row in rows]
        if head:
            made[0] = [Cell(c.text, Tone.DIM) for c in made[0]]
        soft = sorted({f % len(made[0]) for f in free})
        widths = self._fit(made, soft, indent, gap)
        if widths is not None:
            return "\n".join(line for row in made for line in self._row(row, widths, soft, indent, gap))
        if len(made[0]) - 1 in soft and len(made[0]) > 2:
            widths = self._fit([row[:-1] for row in made], soft[:-1], indent, gap)
        if widths is not None:
            return "\n".join(line for row in made for line in self._two_rows(row, widths, soft[:-1], indent, gap))
        return "\n".join(self._blocks(made[1:] if head else made, made[0] if head else None, indent))

    def _fit(self, rows: list[list[Cell]], soft: list[int], indent: int, gap: int) -> list[int] | None:
        """Columns of each column; None if they do not fit."""
        widths = [max(columns(c.text) for c in column) for column in zip(*rows, strict=True)]
        if self.width is None:
            return widths
        room = self.width - indent - gap * (len(widths) - 1)
        least = {i: min(widths[i], NARROW) for i in soft}
        for i in soft:
            if i < len(widths) - 1:  # only the last column has room at its side for a word that is longer
                least[i] = max(least[i], *(columns(w) for row in rows for w in words(row[i].text) or [""]))
            widths[i] = max(least[i], min(widths[i], self.width))
        while sum(widths) > room:
            wide = [i for i in soft if widths[i] > least[i]]
            if not wide:
                return None
            widths[max(wide, key=widths.__getitem__)] -= 1
        return widths

    def _row(self, row: list[Cell], widths: list[int], soft: list[int], indent: int, gap: int) -> Iterator[str]:
        cells = [_wrap(c.text, widths[i], widths[i]) if self.width is not None and i in soft else [c.text] for i, c in enumerate(row)]
        starts = [indent + sum(widths[:i]) + gap * i for i in range(len(row))]
        for k in range(max(map(len, cells))):
            pieces = [(starts[i], Cell(lines[k], row[i].tone)) for i, lines in enumerate(cells) if k < len(lines) and lines[k]]
            if len(pieces) > 1 and self._over(*pieces[-1]):
                yield self._put(pieces[:-1])
                pieces = pieces[-1:]
            yield self._put(pieces)

    def _two_rows(self, row: list[Cell], widths: list[int], soft: list[int], indent: int, gap: int) -> Iterator[str]:
        yield from self._row(row[:-1], widths, soft, indent, gap)
        if row[-1].text:
            yield from self._paragraph(row[-1], indent + BELOW, 0)

    def _blocks(self, rows: list[list[Cell]], heads: list[Cell] | None, indent: int) -> Iterator[str]:
        for row in rows:
            yield from self._paragraph(row[0], indent, BELOW)
            if heads is None:
                texts = [c.text for c in row[1:] if c.text]
                yield from self._paragraph(Cell("  ".join(texts), row[-1].tone), indent + BELOW, 0) if texts else ()
            else:
                named = [(Cell(h.text.lower(), Tone.DIM), c) for h, c in zip(heads[1:], row[1:], strict=True) if c.text]
                if named:
                    yield self.table(named, indent=indent + BELOW)

    def _paragraph(self, cell: Cell, indent: int, hang: int) -> Iterator[str]:
        room = None if self.width is None else self.width - indent
        lines = [cell.text] if room is None else _wrap(cell.text, room, room - hang)
        for k, line in enumerate(lines):
            yield self._put([(indent + (hang if k else 0), Cell(line, cell.tone))])

    def _over(self, start: int, cell: Cell) -> bool:
        return self.width is not None and start + columns(cell.text) > self.width

    def _put(self, pieces: list[tuple[int, Cell]]) -> str:
        if len(pieces) == 1 and self.width is not None and self._over(*pieces[0]):  # a word that is too long here: it begins further left
            pieces = [(max(0, self.width - columns(pieces[0][1].text)), pieces[0][1])]
        out, at = "", 0
        for start, cell in pieces:
            out += " " * (start - at) + self._styled(cell)
            at = start + columns(cell.text)
        return out

    def _styled(self, cell: Cell) -> str:
        if not self.colour or cell.tone is None or not cell.text:
            return cell.text
        return click.style(cell.text, dim=True) if cell.tone is Tone.DIM else click.style(cell.text, fg=cell.tone.value)


PLAIN = Screen()  # a pipe, a file, a mail


def here(stream: TextIO | None = None) -> Screen:
    """The screen behind a stream, standard output unless named. NO_COLOR (no-color.org) and TERM=dumb are obeyed; FORCE_COLOR
    and CLICOLOR_FORCE, unless 0, colour a pipe as well.
    """
    stream = sys.stdout if stream is None else stream
    terminal = stream.isatty()
    forced = any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    colour = forced or (terminal and os.environ.get("TERM", "") not in ("", "dumb"))
    return Screen(_width(stream) if terminal else None, colour and not os.environ.get("NO_COLOR"))


def _width(stream: TextIO) -> int:
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and 0 < len(said) < 6 and int(said) > 0:
        return max(FEWEST, int(said))
    try:
        return max(FEWEST, os.get_terminal_size(stream.fileno()).columns or USUAL)
    except OSError:
        return USUAL


def columns(text: str) -> int:
    """How many columns a terminal gives to `text`, which is safe: none to combining characters, two to wide ones (UAX #11)."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    # U+1160 to U+11FF: the vowels and finals of Hangul syllables, which stand in the two columns of their first consonant
    if unicodedata.category(char) in ("Mn", "Me") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def words(text: str) -> list[str]:
    """What is not broken."""
    return _WORD.findall(text)


def _cell(cell: str | Cell) -> Cell:
    text, tone = cell if isinstance(cell, Cell) else (cell, None)
    return Cell(safe(text).rstrip(), tone)


def _wrap(text: str, first: int, rest: int) -> list[str]:
    """Lines of at most `first`, then `rest` columns; a word that is longer is a line by itself."""
    if columns(text) <= first:
        return [text]
    lines: list[str] = []
    line, end = "", 0
    for found in _WORD.finditer(text):
        between = text[end : found.start()]
        end = found.end()
        if line and columns(line) + len(between) + columns(found[0]) > (rest if lines else first):
            lines.append(line)
            line = found[0]
        else:
            line += (between if line else "") + found[0]
    return [*lines, line]
