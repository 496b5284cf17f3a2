"""What messages, units and pages name is there: in the checkout, and by install.sh on a host."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.pages import PLACE, page

TOP = Path(__file__).parents[1]
SOURCES = sorted((TOP / "src").rglob("*.py"))
UNITS = sorted(p for p in (TOP / "packaging").iterdir() if p.suffix in (".service", ".socket", ".timer", ".path"))


def strings(file: Path) -> Iterator[str]:
    """Each string of a source that is no docstring."""
    tree = ast.parse(file.read_text())
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    yield from (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs)


def test_a_message_names_a_page_by_its_path_on_the_host() -> None:
    for file in SOURCES:
        for said in strings(file) if file.name != "forms_reference.py" else ():  # it writes a page
            assert not re.search(r"\bdocs/", said), f"{file}: {said}"


def test_each_page_that_the_program_names_exists() -> None:
    names = [name for file in SOURCES for name in re.findall(r"""\bpage\(["'](.*?)["']\)""", file.read_text())]
    assert len(names) >= 5
    for name in names:
        assert (TOP / f"docs/{name}.md").exists(), name
    assert page("guard") == f"{PLACE}/guard.md"


def test_install_puts_the_pages_where_messages_say() -> None:
    assert f"\npages={PLACE}\n" in (TOP / "install.sh").read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_each_unit_names_its_documentation(unit: Path) -> None:
    (named,) = re.findall(r"^Documentation=(.+)$", unit.read_text(), re.MULTILINE)
    for one in named.split():
        assert one.startswith(f"file:{PLACE}/")
        assert (TOP / "docs" / one.rpartition("/")[2]).exists(), one


@pytest.mark.parametrize(
    "file", [TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), *sorted((TOP / "examples").iterdir())], ids=lambda p: p.name
)
def test_each_page_that_a_page_names_exists(file: Path) -> None:
    text = file.read_text()
    for name in re.findall(rf"(?:\bdocs/|{re.escape(PLACE)}/)([\w-]+\.(?:md|svg|png))", text):
        assert (TOP / "docs" / name).exists(), name
