"""Hostile text becomes harmless, and stays readable."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from quietgate.ui.text import LONGEST, plural, safe


def test_escapes_of_a_terminal_are_written_out() -> None:
    assert safe("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07"


def test_text_cannot_run_backwards_or_forge_a_line() -> None:
    assert safe("a\u202eb\nc\u2028d") == "a\\u202eb\\x0ac\\u2028d"


def test_names_of_all_the_world_stay() -> None:
    assert safe("Zoë 東京 مرحبا") == "Zoë 東京 مرحبا"


@given(st.text())
def test_nothing_that_acts_gets_through(text: str) -> None:
    assert not {unicodedata.category(c) for c in safe(text)} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_a_long_text_is_cut() -> None:
    assert len(safe("x" * 10 * LONGEST)) == LONGEST + 1


def test_counts_read_as_people_write_them() -> None:
    assert [plural(n, "ban") for n in (0, 1, 10_000)] == ["0 bans", "1 ban", "10,000 bans"]
