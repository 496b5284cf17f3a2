"""Broken policies and what `check` says of each: every mistake, its line, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.regenerate import broken, broken_cases


@pytest.mark.parametrize("case", [c for c in broken_cases() if c.with_suffix(".expected").exists()], ids=lambda c: c.name)
def test_every_mistake_is_named_with_its_line_and_remedy(case: Path) -> None:
    assert broken(case) == case.with_suffix(".expected").read_text()
