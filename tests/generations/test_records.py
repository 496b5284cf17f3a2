"""Generations on disk: what is not whole is never used, and takes nothing else with it."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from quietgate.errors import Unusable
from quietgate.generations.records import KEPT, Generations, Record


def record(number: int) -> Record:
    text = f"table inet quietgate {{ chain g{number}_in {{ }} }}"
    return Record(number, "ab" * 32, text, (22,), ("p.toml",), 1.79e9, "listing", "1.1", "shared", (("p.toml", "[ssh]"),), cookies=(7,))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "generations"
    found.mkdir()
    return found


@pytest.fixture
def kept(place: Path) -> Generations:
    made = Generations(place)
    for number in (1, 2, 3):
        made.propose(record(number))
        made.confirm(record(number))
    return made


def test_every_flipped_bit_and_every_cut_is_known(kept: Generations, place: Path) -> None:
    file = place / "3.json"
    whole = file.read_bytes()
    dice = random.Random(1)
    for _ in range(400):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        file.write_bytes(bytes(data) if dice.random() < 0.7 else whole[: dice.randrange(len(whole))])
        found = kept.newest()
        assert found is not None
        assert found in (record(2), record(3)), "never anything that nobody wrote"
        assert kept.number(3) in (None, record(3))


def test_a_record_of_before_checksums_is_read_and_its_values_are_looked_at(kept: Generations, place: Path) -> None:
    raw = json.loads(json.dumps(asdict(record(3))))
    (place / "3.json").write_text(json.dumps(raw))
    assert kept.newest() == record(3)
    wrong: dict[str, list[object]] = {
        "number": [0, -1, "3", 3.0, True, 4, None], "digest": ["", "xyz", 7], "text": [7, "", "table", "a\0b"], "ports": [[0], ["22"], 22, [1 << 16]],
        "files": ["p", [1]], "made": ["x", True, float("inf"), 1e300], "listing": [None], "contents": [[["a"]], [[1, 2]], {}],
        "counting": [[0, 0], [32], "x"], "by": ["root"], "cookies": [["a"], [-1]],
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            (place / "3.json").write_text(json.dumps({**raw, name: value}))
            assert kept.newest() == record(2), (name, value)
    for name in ("number", "digest", "text", "ports", "files", "made"):
        (place / "3.json").write_text(json.dumps({k: v for k, v in raw.items() if k != name}))
        assert kept.newest() == record(2), name


def test_what_is_damaged_is_named_and_set_aside_by_the_next_writer(kept: Generations, place: Path) -> None:
    (place / "3.json").write_text("{")
    assert [b.name for b in kept.broken()] == ["3.json"]
    assert kept.broken_above(2)
    assert (place / "3.json").exists(), "who only looks changes nothing"
    kept.confirm(record(4))
    assert not (place / "3.json").exists()
    (aside,) = kept.broken()
    assert aside.aside
    assert aside.number == 3
    assert kept.newest() == record(4)
    assert not kept.broken_above(4)


def test_numbers_are_used_once(kept: Generations, place: Path) -> None:
    assert kept.following(0) == 4
    kept.propose(record(9))
    kept.discard()
    assert kept.following(0) == 10, "also that of a trial that nobody confirmed"
    for file in place.glob("*.json"):
        file.unlink()
    assert kept.following(0) == 10
    assert kept.following(12) == 13
    for damage in ("", "x", "999999 ", "12 0000000000000000", "\0" * 20):
        place.with_name("highest-generation").write_text(damage)
        assert kept.following(0) == 1
    (place / "31.json.damaged-1790000000").write_text("{")
    assert kept.following(0) == 32, "nor that of a damaged one"
    kept.forget_all()
    assert kept.following(0) == 32


def test_a_damaged_candidate_is_said_and_keeps_nobody_from_the_rest(kept: Generations, place: Path) -> None:
    (place / "candidate.json").write_bytes(bytes(100))
    with pytest.raises(Unusable, match="candidate"):
        kept.candidate()
    assert kept.number(3) == record(3)
    assert kept.number(7) is None
    kept.propose(record(7))
    assert kept.candidate() == record(7)


def test_ten_are_kept(kept: Generations, place: Path) -> None:
    for number in range(4, 4 + KEPT + 3):
        kept.confirm(record(number))
    assert [r.number for r in kept.all()] == list(range(7, 7 + KEPT))


def test_a_file_in_place_of_the_directory(kept: Generations, place: Path) -> None:
    place.rename(place.with_name("gone"))
    place.write_text("what?")
    assert kept.newest() is None
    assert kept.broken()
    assert kept.following(0) == 4
    kept.propose(record(4))
    kept.confirm(replace(record(4), listing="again"))
    assert kept.newest() == replace(record(4), listing="again")
