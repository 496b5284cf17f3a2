"""What one policy says otherwise than another, in the words of the policy: `ssh.limit: "5 per 1m" -> "10 per 1m"`. Pure.

A setting counts as changed when it means something else, wherever it is written: a default that is spelled out is no change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from quietgate.clock import format_duration
from quietgate.policy import reference, schema
from quietgate.policy.model import Policy, Route, Rule
from quietgate.policy.readers import PROTOCOLS
from quietgate.policy.terms import Addresses, LogSource, Ports, Rate

FEW = 8  # elements of a list that are shown whole; of a longer one, what came and what went
UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
NUMBERS = {number: word for word, number in PROTOCOLS.items()}
HIDDEN = "(not shown: it may be a secret)"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting: its path, and both values as TOML; None where there is none, as for a rule that is new."""

    key: str
    old: str | None
    new: str | None
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In a line: of a long list only what came and what went."""
        if self.came or self.went:
            words = [f"{sign} {', '.join(some[:FEW])}{f' and {len(some) - FEW} more' if len(some) > FEW else ''}"
                     for sign, some in (("+", self.came), ("-", self.went)) if some]  # fmt: skip
            return f"{self.key}: {' '.join(words)}"
        return f"{self.key}: {'none' if self.old is None else self.old} -> {'none' if self.new is None else self.new}"


def changes(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Every setting, rule and route of which the two say something else, in the order of the reference."""
    return (*_settings(old, new), *_rules(old.firewall.rules, new.firewall.rules), *_routes(old.routes, new.routes))


def departures(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Path and value, as TOML, of every setting that is not as it is by default, and of each rule and route."""
    rows: list[tuple[str, str]] = []
    for setting in schema.SETTINGS:
        value = written(setting, policy.values[setting.path])
        if policy.origins.get(setting.path) and value != toml(setting.default):
            rows.append((setting.path, value))
    rows += [(f"firewall.rule.{r.name}", _whole(r)) for r in policy.firewall.rules]
    rows += [(f"alerts.route.{n}", _route(r)) for n, r in enumerate(policy.routes, 1)]
    return tuple(rows)


def written(setting: schema.Setting, value: object) -> str:
    """A value of this setting as it would be written in the policy."""
    if isinstance(value, Addresses):
        return _list(_entries(value))
    if isinstance(value, tuple):
        element = setting.read.element
        return _list([_one(v, element.form if element is not None else "") for v in value])
    return _one(value, setting.read.form)


def toml(value: object) -> str:
    """As TOML, whatever stands in a text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else reference.toml(value)


def _one(value: object, form: str) -> str:
    if value is None:
        return next((f'"{word}"' for word in ("off", "forever") if f'"{word}"' in form), '"off"')
    if isinstance(value, LogSource):
        return str(value)
    if isinstance(value, Rate | Ports):
        return f'"{value}"' if isinstance(value, Rate) or value.low != value.high else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if form.startswith("duration"):
            return f'"{format_duration(value)}"'
        if form.startswith("size"):
            return next((f'"{value // size}{unit}"' for unit, size in UNITS if value % size == 0), f'"{value}"')
    return toml(value)


def _entries(addresses: Addresses) -> list[str]:
    return [*(['"anywhere"'] if addresses.anywhere else []), *dict.fromkeys(f'"{e.target}"' for e in addresses.entries)]


def _list(elements: Sequence[str]) -> str:
    return f"[{', '.join(elements)}]"


def _settings(old: Policy, new: Policy) -> Iterator[Change]:
    for setting in schema.SETTINGS:
        before, after = old.values[setting.path], new.values[setting.path]
        if isinstance(before, Addresses) and isinstance(after, Addresses):
            yield from _addresses(setting.path, before, after)
        elif before != after:
            yield Change(setting.path, written(setting, before), written(setting, after))


def _addresses(key: str, before: Addresses, after: Addresses) -> Iterator[Change]:
    was, now = _entries(before), _entries(after)
    if set(was) != set(now):
        long = max(len(was), len(now)) > FEW
        came = tuple(e for e in now if e not in set(was)) if long else ()
        went = tuple(e for e in was if e not in set(now)) if long else ()
        yield Change(key, _list(was), _list(now), came, went)


def _rules(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[Change]:
    before, after = {r.name: r for r in old}, {r.name: r for r in new}
    for name in dict.fromkeys((*before, *after)):
        key = f"firewall.rule.{name}"
        if name not in after:
            yield Change(key, _whole(before[name]), None)
        elif name not in before:
            yield Change(key, None, _whole(after[name]))
        else:
            was, now = _keys(before[name]), _keys(after[name])
            yield from (Change(f"{key}.{k}", was[k], now[k]) for k in was if was[k] != now[k])
    was_order, now_order = [n for n in before if n in after], [n for n in after if n in before]
    if was_order != now_order:
        yield Change("order of firewall.rule", toml(was_order), toml(now_order))


def _keys(rule: Rule) -> dict[str, str | None]:
    """Each key of a rule as TOML; None for one that may be absent and is."""
    protocol = "any" if rule.protocol is None else NUMBERS.get(rule.protocol, rule.protocol)
    return {
        "direction": toml(rule.direction), "protocol": toml(protocol),
        "ports": None if rule.ports is None else _list([_one(p, "") for p in rule.ports]),
        "from": _list(_entries(rule.source)), "to": _list(_entries(rule.to)), "interface": toml(rule.interface), "action": toml(rule.action),
        "rate": _one(rule.rate, "rate"), "per": toml(rule.per), "reject": toml(rule.reject),
    }  # fmt: skip


def _whole(rule: Rule) -> str:
    """A rule in a line, without the keys that are as they are by default."""
    usual = {s.path: None if s.default is None else toml(s.default) for s in schema.RULE}
    return "{ " + ", ".join(f"{key} = {value}" for key, value in _keys(rule).items() if value != usual[key] or key in ("ports", "action")
                            if value is not None) + " }"  # fmt: skip


def _routes(old: Sequence[Route], new: Sequence[Route]) -> Iterator[Change]:
    """By their place: a route has no name, and its URL may be a secret."""
    for number in range(1, max(len(old), len(new)) + 1):
        was = old[number - 1] if number <= len(old) else None
        now = new[number - 1] if number <= len(new) else None
        key = f"alerts.route.{number}"
        if was is None or now is None:
            yield Change(key, None if was is None else _route(was), None if now is None else _route(now))
            continue
        for name in ("to", "url", "secret", "severity"):
            first, second = getattr(was, name), getattr(now, name)
            if first != second:
                shown = (_url(was), _url(now)) if name == "url" else (toml(first), toml(second))
                if shown[0] == shown[1]:
                    shown = (f"{shown[0]} {HIDDEN}", "another")
                yield Change(f"{key}.{name}", *shown)


def _route(route: Route) -> str:
    return f"{{ to = {toml(route.to)}, url = {_url(route)}, severity = {toml(route.severity)} }}"


def _url(route: Route) -> str:
    """Where it goes, without what may be a secret: of some services the path is."""
    if route.to == "mail" or not route.url:
        return toml(route.url)
    try:
        parts = urlsplit(route.url)
        return toml(f"{parts.scheme}://{parts.hostname}/..." if route.to == "webhook" else f"{parts.scheme}://...")
    except ValueError:
        return toml("...")
