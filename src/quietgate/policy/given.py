"""What the files said, merged and typed, before it is put together: the step between `load` and `build`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from quietgate.errors import Origin, Problem

Placed: TypeAlias = list[tuple[object, Origin]]


@dataclass(slots=True)
class RawRule:
    """The keys of one `[[firewall.rule]]` or `[[alerts.route]]` that could be read. `whole` is False when one could not."""

    origin: Origin
    values: dict[str, tuple[Any, Origin]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        """True if every key was read."""
        return not self.broken


@dataclass(slots=True)
class Given:
    """What the files said so far, flat: path -> typed value, with origins. `broken` paths had a mistake."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    lists: dict[str, Placed] = field(default_factory=dict)
    groups: dict[str, Placed] = field(default_factory=dict)
    rules: list[RawRule] = field(default_factory=list)
    routes: list[RawRule] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, origin: Origin, what: str, remedy: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(origin, what, remedy))

    def warn(self, origin: Origin, what: str, remedy: str) -> None:
        """Note something that works, but hardly as meant."""
        self.warnings.append(Problem(origin, what, remedy))
