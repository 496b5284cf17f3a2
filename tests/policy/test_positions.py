"""Lines of keys and elements, over documents that tomllib accepts."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings

from quietgate.policy.positions import Path, positions
from tests.policy.documents import documents, nearly_toml, paths


@settings(max_examples=200, deadline=None)
@given(documents())
def test_everything_in_a_document_stands_where_it_was_written(document: tuple[str, dict[Path, int]]) -> None:
    text, lines = document
    assert set(paths(tomllib.loads(text))) == set(lines)
    assert positions(text) == lines
    assert positions(text.replace("\n", "\r\n")) == lines


@settings(max_examples=1000, deadline=None)
@given(nearly_toml())
def test_whatever_tomllib_accepts_is_found_whole(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # refused: test_fuzz.py sees to what is said then
    found = positions(text)
    assert set(found) == set(paths(data))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("\n[a.b.c]\nd = 1\n", ("a",), 2),
        ("[a.b]\n[a]\nx = 1\n", ("a",), 2),  # a header of its own beats a mention
        ("[[a]]\n[[a]]\n[[a.b]]\n[a.b.c]\nd = 1\n", ("a", 1, "b", 0, "c", "d"), 5),
        ('a = [\n  1,\n\n  # two\n  { b = """\n\n""", c = 3 } ]\n', ("a", 1, "c"), 7),
        ('"\\u0061\\t" = 1\n', ("a\t",), 1),
        ("\n\n'' = 1\n", ("",), 3),
    ],
)
def test_places(text: str, path: Path, line: int) -> None:
    assert positions(text)[path] == line
