"""docs/json.md and docs/forms/ say what the code has."""

from __future__ import annotations

import json
import re

from quietgate.ui.forms_reference import FORMS, file_of, page, schema
from quietgate.values import What
from tests.boot.tree import CHECKOUT

SOURCES = {p: p.read_text() for p in (CHECKOUT / "src/quietgate").rglob("*.py") if p.name != "forms_reference.py"}


def test_the_pages_are_those_of_the_code() -> None:
    assert (CHECKOUT / "docs/json.md").read_text() == page(), "python -m quietgate.ui.forms_reference"
    for name in FORMS:
        assert json.loads((CHECKOUT / "docs/forms" / file_of(name)).read_text()) == schema(name)
    assert len(list((CHECKOUT / "docs/forms").iterdir())) == len(FORMS)


def test_every_form_of_the_code_is_documented() -> None:
    names = {n for text in SOURCES.values() for n in re.findall(r'form\("([a-z-]+)"', text)}
    names |= {n for text in SOURCES.values() for n in re.findall(r'"form": "quietgate/([a-z-]+)"', text)} - {"event"}
    names |= {f"event {n}" for text in SOURCES.values() for n in re.findall(r'publish\(\s*"([a-z-]+)"', text)}
    names |= {f"event {w.value}" for w in What}
    assert names - {"message", "digest"} == set(FORMS), "the messages of alerts are in docs/alerts.md"
