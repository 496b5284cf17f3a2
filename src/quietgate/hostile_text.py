"""The only place where text from elsewhere is made safe to show or to log.

User names, ban reasons, log lines and nft's messages may hold anything: terminal escapes that rewrite the screen,
bidirectional overrides, line ends that forge a second line.
"""

from __future__ import annotations

import unicodedata

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
