"""What differs between two rulesets, in words that name rules and addresses, not lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from quietgate.firewall import names

_GENERATION = re.compile(r"\bg\d+_")
_COMMENT = re.compile(rf'comment "{names.COMMENT}([^"]*)"$')
_HEAD = re.compile(r"(chain|set|counter|limit) (\S+) \{")
_ELEMENTS = re.compile(r"elements = \{ (.*?) \}")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what (`rule in`, `set deny4`), the old and the new text, None where there was none."""

    what: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        lines = [f"{self.what}:"]
        if self.old is not None:
            lines.append(f"  - {self.old}")
        if self.new is not None:
            lines.append(f"  + {self.new}")
        return "\n".join(lines)


def compare(old: str, new: str) -> tuple[Change, ...]:
    """Differences between two texts of `render`, whatever their generation numbers."""
    before, after = dict(_things(old)), dict(_things(new))
    changes = []
    for key in [*before, *(k for k in after if k not in before)]:
        if key.startswith("elements of "):
            changes += _elements(key, before.get(key, ""), after.get(key, ""))
        elif before.get(key) != after.get(key):
            changes.append(Change(key, before.get(key), after.get(key)))
    order = _order(old, new)
    return tuple(changes + order)


def _things(text: str) -> Iterator[tuple[str, str]]:
    place = ""
    for raw in _GENERATION.sub("", text).splitlines():
        line = raw.strip()
        head = _HEAD.match(line)
        if head:
            kind, name = head.groups()
            if kind == "chain":
                place = name
                continue
            elements = _ELEMENTS.search(line)
            if elements:
                yield f"elements of {name}", elements[1]
                line = _ELEMENTS.sub("", line)
            yield f"{kind} {name}", line
        elif comment := _COMMENT.search(line):
            yield f"rule {comment[1]} in {place}", _COMMENT.sub("", line).strip()


def _elements(key: str, old: str, new: str) -> list[Change]:
    before, after = (set(filter(None, t.split(", "))) for t in (old, new))
    gone = [Change(key, e, None) for e in sorted(before - after)]
    return gone + [Change(key, None, e) for e in sorted(after - before)]


def _order(old: str, new: str) -> list[Change]:
    """Rules that stand in another order: the same rules decide differently then."""
    before = [k for k, _ in _things(old) if k.startswith("rule ")]
    after = [k for k, _ in _things(new) if k.startswith("rule ")]
    both = set(before) & set(after)
    was, now = [k for k in before if k in both], [k for k in after if k in both]
    if was == now:
        return []
    moved = next(k for k, other in zip(now, was, strict=True) if k != other)
    return [Change("order of rules", None, f"{moved} stands elsewhere")]
