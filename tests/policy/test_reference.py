"""The reference page says what the schema says."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.policy import schema
from quietgate.policy.build import default_of
from quietgate.policy.load import load
from quietgate.policy.reference import reference, toml
from quietgate.values import File

ALL = (*schema.SETTINGS, *schema.RULE, *schema.ROUTE)
PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "python -m quietgate.policy.reference > docs/policy.md"


@pytest.mark.parametrize("setting", [s for s in ALL if s.default is not None], ids=lambda s: s.path)
def test_every_default_reads(setting: schema.Setting) -> None:
    default_of(setting)


@pytest.mark.parametrize("setting", ALL, ids=lambda s: s.path)
def test_every_setting_says_what_it_means(setting: schema.Setting) -> None:
    assert len(setting.doc) > 10
    assert setting.doc.endswith((".", '"'))
    assert "|" not in setting.doc, "it would end the table's cell"


@pytest.mark.parametrize("setting", schema.SETTINGS, ids=lambda s: s.path)
def test_every_default_as_printed_is_the_default(setting: schema.Setting) -> None:
    loaded = load([File("p", f"{setting.path} = {toml(setting.default)}\n".encode())])
    assert loaded.problems == ()
    assert loaded.warnings == ()


def test_every_section_is_described() -> None:
    assert {s.path.partition(".")[0] for s in schema.SETTINGS if "." in s.path} == set(schema.SECTIONS)
