"""The digest of a store: what is listed, and what is left out, are together all that the store has."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.generations.installation import Parts
from quietgate.hindsight import digest as looked
from quietgate.host.paths import Paths
from quietgate.net import Prefix, parse_address
from quietgate.state.database import Store
from quietgate.values import Guess

POLICY = Path(__file__).parents[2] / "examples/minimal.toml"
NOW = 1_790_000_000.0


def guess(source: Prefix, user: str, times: int = 1) -> Guess:
    return Guess(NOW, source, source, "failed", user, "password", "", times)


def test_nothing_gets_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc/quietgate").mkdir(parents=True)
    (tmp_path / "etc/quietgate/quietgate.toml").write_text(POLICY.read_text())
    monkeypatch.setattr(looked, "exists", lambda name: name.startswith("here"))
    worst, others = parse_address("203.0.113.1"), [parse_address(f"203.0.113.{n}") for n in range(2, 14)]
    guesses = [*(guess(worst, f"here{n}", 30 - n) for n in range(14)), *(guess(worst, f"#{n:012x}") for n in range(700)),
               *(guess(worst, f"gone{n}") for n in range(3)), *(guess(o, "", 2) for o in others)]  # fmt: skip
    with Store(Paths(tmp_path).store) as store:
        store.put_guard([], guesses, [], [], lambda: None)
    d = looked.digest(Parts.at(Paths(tmp_path)), NOW - 10, NOW + 10)
    assert (d.attempts, d.sources) == (sum(g.times for g in guesses), 13)
    assert d.attempts == sum(d.bars)
    assert len(d.busiest) == 10
    assert d.other_sources == (3, 6)
    first = d.busiest[0]
    assert (len(first.existing), first.more, first.others) == (10, 4, 703)
    assert (len(d.names), d.more_names, d.more_tried) == (10, 4, sum(30 - n for n in range(10, 14)))
    assert (d.unknown, d.nameless) == (703, 24)
