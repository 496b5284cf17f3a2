"""Whether two listings of our table, as nft prints them, mean the same.

nft lists chains, sets and counters in the order in which they were made, and that is another one after a boot than after a change of
the policy: base chains come first where the table was there before, last where it was not. The order of rules within a chain means
something and is compared; that of everything else means nothing.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^\t(\w+) (\S+) \{\n(.*?)^\t\}\n?", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"elements = \{(.*?)\}", re.DOTALL)


def meaning(listing: str) -> frozenset[tuple[str, ...]]:
    """Return what a listing means: each chain, set, counter and limit with its lines, in an order of our own.

    `listing`: texts of `nft list table` or `list set`, one behind the other. What is in no block (a flag or comment of the table
    itself) is a block of its own.
    """
    found: set[tuple[str, ...]] = set()
    for kind, name, body in _BLOCK.findall(listing):
        elements = [sorted(" ".join(e.split()) for e in text.split(",") if e.strip()) for text in _ELEMENTS.findall(body)]
        lines = [" ".join(line.split()) for line in _ELEMENTS.sub("", body).splitlines() if line.strip()]
        # The first line of a base chain is its hook; the rules follow in their order. Of a set the lines are properties.
        found.add((kind, name, *(lines if kind == "chain" else sorted(lines)), *(f"element {e}" for part in elements for e in part)))
    rest = sorted(line.strip() for line in _BLOCK.sub("", listing).splitlines() if line.strip() not in ("", "}"))
    return frozenset({*found, *(("table", line) for line in rest)})


def same(one: str, other: str) -> bool:
    """Return whether two listings mean the same."""
    return one == other or meaning(one) == meaning(other)
