"""Files of TOML -> one `Policy`, with every mistake found at once.

Files are merged in the order given: a later scalar replaces an earlier one, lists of addresses and `[[tables]]`
append. A broken value is reported and stands as its default, so that the rest can still be checked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from quietgate.errors import Origin, Problem
from quietgate.net import Counting, Prefix
from quietgate.policy import schema
from quietgate.policy.check import rule_problems, shadowed
from quietgate.policy.model import Bans, Firewall, Loaded, Log, Policy, Rule, Ssh
from quietgate.policy.positions import Path, positions
from quietgate.policy.terms import Addresses, Anywhere, Bad, Entry, Group, Name, Rate, kind

MAX_BYTES = 4 << 20  # of one file; 100,000 addresses fit
MAX_RULES = 5000
_WHERE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
# TOML's own words are for programmers; these are for whoever wrote the line.
_PLAIN = {
    "Cannot overwrite a value": "the key is written twice in this file",
    "Expected '=' after a key in a key/value pair": "a key needs an = and a value",
    "Invalid value": "the value is none that TOML knows (texts need quotes)",
    "Unclosed array": "a list is not closed: a ] is missing",
    "Expected newline or end of document after a statement": "something stands after the value",
}


@dataclass(frozen=True, slots=True)
class File:
    """One policy file as read: its name for messages and its bytes."""

    name: str
    content: bytes


@dataclass(slots=True)
class _Given:
    """What the files said so far, flat: path -> typed value, with origins."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    lists: dict[str, list[tuple[object, Origin]]] = field(default_factory=dict)
    groups: dict[str, list[tuple[object, Origin]]] = field(default_factory=dict)
    rules: list[dict[str, tuple[Any, Origin]]] = field(default_factory=list)
    rule_origins: list[Origin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, origin: Origin, what: str, remedy: str) -> None:
        self.problems.append(Problem(origin, what, remedy))

    def warn(self, origin: Origin, what: str, remedy: str) -> None:
        self.warnings.append(Problem(origin, what, remedy))


def load(files: Iterable[File]) -> Loaded:
    """Read and merge policy files. Never raises for bad input: problems are in the result."""
    given = _Given()
    for file in files:
        document = _document(file, given)
        if document is not None:
            _take(document, given)
    return _build(given)


@dataclass(frozen=True, slots=True)
class _Document:
    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int]

    def origin(self, path: Path) -> Origin:
        while path and path not in self.lines:
            path = path[:-1]
        return Origin(self.name, self.lines.get(path, 1))


def _document(file: File, given: _Given) -> _Document | None:
    if len(file.content) > MAX_BYTES:
        given.problem(Origin(file.name, 1), f"the file has {len(file.content)} bytes", f"at most {MAX_BYTES} are read")
        return None
    try:
        text = file.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        given.problem(Origin(file.name, line), f"byte {file.content[error.start]:#04x} is not UTF-8",
                      "save the file as UTF-8")  # fmt: skip
        return None
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = str(error)
        where = _WHERE.search(message)
        line = int(where[1]) if where and where[1] else text.count("\n") + 1
        message = _WHERE.sub("", message)
        given.problem(Origin(file.name, line), f"no valid TOML: {_PLAIN.get(message, message[:1].lower() + message[1:])}",
                      'a setting is written like this: limit = "5 per 60s"')  # fmt: skip
        return None
    return _Document(file.name, data, positions(text))


def _take(doc: _Document, given: _Given) -> None:
    for key, value in doc.data.items():
        if key == "groups":
            _take_groups(doc, value, given)
        else:
            _take_key(doc, (key,), value, given)


def _take_groups(doc: _Document, value: object, given: _Given) -> None:
    if not isinstance(value, dict):
        given.problem(doc.origin(("groups",)), f"groups is {kind(value)}", 'write [groups], then office = ["192.0.2.0/24"]')
        return
    address = cast("Any", schema.BY_PATH["ssh.trusted"].read).element
    for name, members in value.items():
        origin = doc.origin(("groups", name))
        if not isinstance(members, list):
            given.problem(origin, f"group {name} is {kind(members)}", 'write a list: ["192.0.2.0/24"]')
            continue
        found = _elements(doc, ("groups", name), members, address, given)
        given.groups.setdefault(name, []).extend(found)


def _take_key(doc: _Document, path: tuple[str, ...], value: object, given: _Given) -> None:
    dotted = ".".join(path)
    setting = schema.BY_PATH.get(dotted)
    if setting is not None:
        _take_setting(doc, path, setting, value, given)
    elif dotted == "firewall.rule":
        _take_tables(doc, path, value, schema.RULE, given)
    elif dotted == "alerts.route":
        _take_tables(doc, path, value, schema.ROUTE, given)
    elif any(s.path.startswith(dotted + ".") for s in schema.SETTINGS):
        if isinstance(value, dict):
            for key, inner in value.items():
                _take_key(doc, (*path, key), inner, given)
        else:
            given.problem(doc.origin(path), f"{dotted} is {kind(value)}, and should be a table", f"write [{dotted}] and its keys below")
    else:
        given.problem(doc.origin(path), f"unknown key {dotted}", _did_you_mean(path))


def _did_you_mean(path: tuple[str, ...]) -> str:
    parent, key = ".".join(path[:-1]), path[-1]
    prefix = parent + "." if parent else ""
    siblings = {s.path[len(prefix) :].split(".")[0] for s in schema.SETTINGS if s.path.startswith(prefix)}
    siblings |= {"rule"} if parent == "firewall" else {"groups"} if not parent else set()
    near = get_close_matches(key, siblings, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = [s.path for s in schema.SETTINGS if s.path.rpartition(".")[2] == key]
    if elsewhere:
        return f"did you mean {elsewhere[0]}? It belongs in [{elsewhere[0].rpartition('.')[0]}]"
    known = ", ".join(sorted(siblings))
    return f"known here: {known}" if siblings else "see docs/policy.md for all settings"


def _take_setting(doc: _Document, path: tuple[str, ...], setting: schema.Setting, value: object, given: _Given) -> None:
    origin = doc.origin(path)
    dotted = setting.path
    try:
        words = schema.WORDS.get(dotted, ())
        read = value if isinstance(value, str) and value in words else setting.read(value)
    except Bad as bad:
        given.problem(origin, f"{dotted}: {bad.what}", bad.remedy)
        return
    if isinstance(read, list):
        elements = _elements(doc, path, read, cast("Any", setting.read).element, given)
        if setting.append:
            given.lists.setdefault(dotted, []).extend(elements)
            given.origins[dotted] = (*given.origins.get(dotted, ()), origin)
            return
        read = tuple(e for e, _ in elements)
    if dotted in given.origins:
        earlier = given.origins[dotted][-1]
        given.warn(origin, f"{dotted} was also set at {earlier}", "this later one counts; keep only one of them")
    given.values[dotted] = read
    given.origins[dotted] = (origin,)
    if setting.since and read != _default(setting):
        given.warn(origin, f"{dotted} is accepted, but this version does not obey it yet", "see docs/policy.md")


def _elements(doc: _Document, path: Path, items: Sequence[object], read: Callable[[object], object],
              given: _Given) -> list[tuple[object, Origin]]:  # fmt: skip
    found = []
    dotted = ".".join(str(p) for p in path if not isinstance(p, int))
    for index, item in enumerate(items):
        origin = doc.origin((*path, index))
        try:
            found.append((read(item), origin))
        except Bad as bad:
            given.problem(origin, f"{dotted}: {bad.what}", bad.remedy)
    return found


def _take_tables(doc: _Document, path: tuple[str, ...], value: object, keys: tuple[schema.Setting, ...],
                 given: _Given) -> None:  # fmt: skip
    dotted = ".".join(path)
    if not isinstance(value, list) or not all(isinstance(t, dict) for t in value):
        given.problem(doc.origin(path), f"{dotted} is {kind(value)}", f"write [[{dotted}]] with two brackets")
        return
    known = {s.path: s for s in keys}
    for index, table in enumerate(value):
        where: Path = (*path, index)
        read: dict[str, tuple[Any, Origin]] = {}
        for key, raw in table.items():
            origin = doc.origin((*where, key))
            setting = known.get(key)
            if setting is None:
                near = get_close_matches(key, known, 1, 0.6)
                given.problem(origin, f"unknown key {key} in [[{dotted}]]",
                              f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}")  # fmt: skip
                continue
            try:
                typed = setting.read(raw)
            except Bad as bad:
                given.problem(origin, f"{key}: {bad.what}", bad.remedy)
                continue
            if isinstance(typed, list):
                typed = _elements(doc, (*where, key), typed, cast("Any", setting.read).element, given)
            read[key] = (typed, origin)
        if dotted == "firewall.rule":
            given.rules.append(read)
            given.rule_origins.append(doc.origin(where))
        else:
            given.warn(doc.origin(where), f"[[{dotted}]] is accepted, but this version does not obey it yet", "see docs/policy.md")


def _default(setting: schema.Setting) -> object:
    words = schema.WORDS.get(setting.path, ())
    if isinstance(setting.default, str) and setting.default in words:
        return setting.default
    value = setting.read(setting.default)
    if isinstance(value, list):
        element = cast("Any", setting.read).element
        return tuple(element(v) for v in value)
    return value


def _build(given: _Given) -> Loaded:
    values = {s.path: given.values.get(s.path, _default(s)) for s in schema.SETTINGS if not s.append}
    lists = {}
    for setting in schema.SETTINGS:
        if setting.append:
            raw = given.lists.get(setting.path)
            default: list[tuple[object, Origin]] = [(v, Origin("default", 0)) for v in cast("tuple[object]", _default(setting))]
            lists[setting.path] = _addresses(raw if raw is not None else default, given)
            values[setting.path] = lists[setting.path]
    for path in ("ssh.trusted", "firewall.allow", "firewall.deny"):
        _not_everyone(path, lists[path], given)
    marks = cast("tuple[int, ...]", values["firewall.marks"])
    if len(set(marks)) != 2:
        if "firewall.marks" in given.origins:
            given.problem(given.origins["firewall.marks"][0], "firewall.marks needs two different bits", "write [0x10000000, 0x20000000]")
        marks = (0x10000000, 0x20000000)
    ports = values["ssh.ports"]
    if ports == ():
        given.problem(given.origins["ssh.ports"][0], "ssh.ports is empty", 'write "auto", or the ports sshd listens on')
    rules = tuple(_rule(raw, origin, given) for raw, origin in zip(given.rules, given.rule_origins, strict=True))
    if len(rules) > MAX_RULES:
        given.problem(given.rule_origins[MAX_RULES], f"{len(rules)} rules are too many", f"at most {MAX_RULES} are read")
    _unique(rules, given)
    for rule in rules:
        given.problems += rule_problems(rule)
    given.warnings += shadowed(rules)
    v: Any = values
    policy = Policy(
        ssh=Ssh(
            ports=None if ports == "auto" else tuple(sorted(set(v["ssh.ports"]))),
            sources=lists["ssh.from"],
            trusted=lists["ssh.trusted"],
            limit=v["ssh.limit"],
            strict=v["ssh.strict"],
            counting=Counting(v["ssh.source4"], v["ssh.source6"]),
            wide6=v["ssh.wide6"],
            slots=v["ssh.slots"],
            on_full=None if v["ssh.on_full"] == "drop" else v["ssh.on_full"],
            log=Log(v["ssh.log.prefix"], v["ssh.log.rate"], v["ssh.log.to"], v["ssh.log.group"]),
        ),
        firewall=Firewall(
            default=v["firewall.default"],
            output=v["firewall.output"],
            forward=v["firewall.forward"],
            allow=lists["firewall.allow"],
            deny=lists["firewall.deny"],
            ping=cast("Rate | str", v["firewall.ping"]),
            other_icmp=v["firewall.other_icmp"],
            dhcp=v["firewall.dhcp"],
            marks=(marks[0], marks[1]),
            rules=rules[:MAX_RULES],
        ),
        bans=Bans(v["bans.manual.for"], v["bans.manual.scope"], v["bans.max"]),
        never_ban=lists["guard.never_ban"],
        values=values,
        origins=given.origins,
    )
    return Loaded(policy, tuple(sorted(given.problems, key=lambda p: p.origin)), tuple(sorted(given.warnings, key=lambda p: p.origin)))


def _addresses(items: Sequence[tuple[object, Origin]], given: _Given) -> Addresses:
    entries: list[Entry] = []
    anywhere = False
    for value, origin in items:
        if isinstance(value, Group):
            entries += _members(value.text, origin, (), given)
        elif isinstance(value, Anywhere):
            anywhere = True
        else:
            entries.append(Entry(cast("Prefix | Name", value), origin))
    return Addresses(tuple(entries), anywhere)


def _members(name: str, used_at: Origin, above: tuple[str, ...], given: _Given) -> list[Entry]:
    if name in above:
        given.problem(used_at, f"group @{name} holds itself ({' > '.join((*above, name))})", "take one of these references out")
        return []
    if name not in given.groups:
        near = get_close_matches(name, given.groups, 1, 0.6)
        remedy = f"did you mean @{near[0]}?" if near else f'define it: [groups] {name} = ["192.0.2.0/24"]'
        given.problem(used_at, f"there is no group @{name}", remedy)
        return []
    entries: list[Entry] = []
    for value, origin in given.groups[name]:
        if isinstance(value, Group):
            entries += _members(value.text, origin, (*above, name), given)
        elif isinstance(value, Anywhere):
            given.problem(origin, f'group @{name} holds "anywhere"', 'write "anywhere" where the group is used')
        else:
            entries.append(Entry(cast("Prefix | Name", value), origin, name))
    return entries


_INSTEAD = {
    "ssh.trusted": 'to limit nobody, write limit = "off" in [ssh]',
    "firewall.allow": 'to filter nothing, write default = "accept" and no rules',
    "firewall.deny": 'to shut out everyone but those named, write default = "drop" and `from` in [ssh]',
}


def _not_everyone(path: str, addresses: Addresses, given: _Given) -> None:
    if addresses.anywhere:
        given.problem(given.origins[path][0], f'{path} holds "anywhere"', _INSTEAD[path])
    for entry in addresses.entries:
        if isinstance(entry.target, Prefix) and entry.target.length == 0:
            given.problem(entry.origin, f"{entry} in {path} means everyone", _INSTEAD[path])


def _rule(raw: dict[str, tuple[Any, Origin]], origin: Origin, given: _Given) -> Rule:
    def value(key: str, default: object) -> Any:
        return raw[key][0] if key in raw else default

    def addresses(key: str) -> Addresses:
        return _addresses(raw[key][0], given) if key in raw else Addresses(anywhere=True)

    if "name" not in raw and not any(p.origin.line == origin.line for p in given.problems):
        given.problem(origin, "the rule has no name", 'give it one: name = "web"')
    ports = value("ports", None)
    if ports == []:
        given.problem(raw["ports"][1], "ports is empty", "take it out to match all ports")
    return Rule(
        name=value("name", ""),
        direction=value("direction", "in"),
        protocol=value("protocol", 6),
        ports=None if ports is None else tuple(p for p, _ in ports),
        source=addresses("from"),
        to=addresses("to"),
        interface=value("interface", "*"),
        action=value("action", "accept"),
        rate=value("rate", None),
        per=value("per", "source"),
        reject=value("reject", "icmp"),
        origin=origin,
    )


def _unique(rules: Sequence[Rule], given: _Given) -> None:
    seen: dict[str, Origin] = {}
    for rule in rules:
        if rule.name and rule.name in seen:
            given.problem(rule.origin, f'a rule named "{rule.name}" stands already at {seen[rule.name]}', "give this one another name")
        seen.setdefault(rule.name, rule.origin)
