"""The one word that somebody most likely meant, or none: a wrong suggestion is worse than none."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one known word that begins with `word` (three letters or more), or that is one slip of the keyboard away, or two in words
    of six letters or more; None where none is, and where several are as near.
    """
    known = list(known)
    begun = [k for k in known if len(word) >= 3 and k.startswith(word.lower())]
    if len(begun) == 1:
        return begun[0]
    far = sorted((distance(word.lower(), k.lower()), k) for k in known if abs(len(k) - len(word)) <= 2)
    near = [(slips, k) for slips, k in far if slips <= (2 if min(len(word), len(k)) >= 6 else 1 if len(k) >= 3 else 0)]
    if not near or (len(near) > 1 and near[0][0] == near[1][0]):
        return None
    return near[0][1]


def distance(a: str, b: str) -> int:
    """Slips between two words: a letter too many, too few, another one, or two neighbours exchanged (optimal string alignment)."""
    a, b = a[:64], b[:64]
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                slips = min(slips, older[j - 2] + 1)
            row.append(slips)
    return row[-1]
