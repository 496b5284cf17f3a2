"""A setting's value as TOML: what somebody would write to get it. The reverse of `readers.py`, and checked by reading it again."""

from __future__ import annotations

import json
from collections.abc import Iterator

from quietgate.clock import format_duration
from quietgate.policy import schema
from quietgate.policy.readers import Bad, Reader
from quietgate.policy.terms import Addresses, Ports, Rate

_WORDS = ("off", "forever", "any", "auto", "drop", "accept")
_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def raw(path: str, value: object) -> object:
    """The value of the setting at `path` as TOML has it: a bool, an int, a text, or a list of these. An address list has its groups'
    members in the groups' place.
    """
    if isinstance(value, Addresses):
        return [*(["anywhere"] if value.anywhere else []), *(str(e.target) for e in value.entries)]
    reader = schema.BY_PATH[path].read
    if isinstance(value, tuple):
        assert reader.element is not None, f"{path} reads a list of nothing"
        return [_raw(reader.element, item) for item in value]
    return value if isinstance(value, str) and value in schema.WORDS.get(path, ()) else _raw(reader, value)


def toml(value: object) -> str:
    """A raw value as TOML's text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    # TOML's basic strings are JSON's, but for characters outside the BMP, which JSON would write as two.
    return json.dumps(value, ensure_ascii=False)


def _raw(reader: Reader, value: object) -> object:
    for found in _candidates(value):
        try:
            if reader(found) == value and type(reader(found)) is type(value):
                return found
        except Bad:
            continue
    raise ValueError(f"no text is read as {value!r}")


def _candidates(value: object) -> Iterator[object]:
    if isinstance(value, bool | str):
        yield value
    elif isinstance(value, int):
        yield value
        yield next((f"{value // size}{unit}" for unit, size in _UNITS if value and value % size == 0), "")
        if value > 0:
            yield format_duration(value)
    elif isinstance(value, Ports):
        yield value.low if value.low == value.high else str(value)
    elif isinstance(value, Rate):
        yield str(value)
    else:  # None: one of the words that switch a setting off
        yield from _WORDS
