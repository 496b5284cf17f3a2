"""What commands and the socket print has the keys and types that docs/json.md promises."""

from __future__ import annotations

import pytest

from quietgate.ui.forms_reference import TYPES, keys
from tests.kernel.forms import printed
from tests.kernel.lab import Pair

PYTHON = {"string": (str,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,), "null": (type(None),)}


@pytest.mark.long
def test_every_object_has_the_keys_and_types_that_are_promised(pair: Pair) -> None:
    seen = set()
    for one in printed(pair):
        name = one["form"].removeprefix("quietgate/")
        name = f"event {one['event']}" if name == "event" else name
        seen.add(name)
        always, maybe = keys(name)
        if name == "error" and "error" in one:
            continue  # the socket's
        assert always.keys() <= one.keys(), (name, always.keys() - one.keys())
        assert one.keys() <= always.keys() | maybe.keys(), (name, one.keys() - always.keys() - maybe.keys())
        for key, value in one.items():
            words = {**always, **maybe}[key][0].split(" or ")
            may = tuple(t for w in words for t in PYTHON[TYPES[w]])
            assert type(value) in may, (name, key, value)
    assert len(seen) >= 26, sorted(seen)
