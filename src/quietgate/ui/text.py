"""Text for people: tables, times, mail headers, pages. What comes from elsewhere goes through `safe` (`hostile_text.py`)."""

from __future__ import annotations

from html import escape

from quietgate.clock import moment
from quietgate.hostile_text import LONGEST, safe

__all__ = ["LONGEST", "header", "html", "moment", "plural", "safe"]


def plural(count: int, what: str) -> str:
    """`1 ban`, `2 bans`, `10,000 bans`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def header(text: str) -> str:
    """`text` for a mail's header: one line of ASCII, so that nothing can begin another header or another encoding."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in safe(text))[:200]


def html(text: str) -> str:
    """`text` for an HTML page, in an element or in quotes: made safe, then escaped."""
    return escape(safe(text), quote=True)
