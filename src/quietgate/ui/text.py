"""The only place where text from elsewhere is made safe to show.

User names, ban reasons, log lines and nft's messages may hold anything: terminal escapes that rewrite the screen,
bidirectional overrides, line ends that forge a second line.
"""

from __future__ import annotations

import datetime
import unicodedata
from html import escape

# Cc controls, Cf format (bidi overrides, zero width), Cs surrogates, Co private, Cn unassigned, Zl/Zp line ends
_HOSTILE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
LONGEST = 4000


def safe(text: str, *, lines: bool = False) -> str:
    """`text` with everything that a terminal would act on written as \\x.. or \\u....; with `lines`, line ends stay."""
    cut = text if len(text) <= LONGEST or lines else text[:LONGEST] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(c if (c == "\n" and lines) or unicodedata.category(c) not in _HOSTILE else _escaped(c) for c in cut)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def moment(wall: float | None) -> str:
    """A wall time as local ISO date and time; "for ever" for None."""
    if wall is None:
        return "for ever"
    return datetime.datetime.fromtimestamp(wall).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def plural(count: int, what: str) -> str:
    """`1 ban`, `2 bans`, `10,000 bans`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def header(text: str) -> str:
    """`text` for a mail's header: one line of ASCII, so that nothing can begin another header or another encoding."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in safe(text))[:200]


def html(text: str) -> str:
    """`text` for an HTML page, in an element or in quotes: made safe, then escaped."""
    return escape(safe(text), quote=True)
