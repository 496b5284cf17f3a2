"""The harnesses of fuzz/ still fit the code: what they begin with passes. (Without atheris, which a run needs and the tests do not.)"""

from __future__ import annotations

import contextlib
import importlib
import sys
from types import SimpleNamespace

import pytest


@pytest.mark.parametrize("target", ["netlink", "policy"])
def test_every_seed_passes(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atheris", SimpleNamespace(instrument_imports=lambda **_: contextlib.nullcontext()))
    harness = importlib.import_module(f"fuzz.{target}")
    seeds = list(harness.seeds())
    assert len(seeds) > 50
    for seed in seeds:
        harness.one(seed)
