"""Files of TOML -> one `Policy`, with every mistake found at once.

Files are merged in the order given: a later scalar replaces an earlier one, lists of addresses and `[[tables]]`
append. A broken value is reported and stands as its default, so that the rest can still be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quietgate.errors import Origin
from quietgate.nearest import nearest
from quietgate.pages import page
from quietgate.policy import schema, syntax
from quietgate.policy.build import MAX_RULES, build
from quietgate.policy.given import Given, Placed, RawRule
from quietgate.policy.model import Loaded
from quietgate.policy.positions import Path
from quietgate.policy.readers import Bad, Reader, address, kind, quoted
from quietgate.values import File

MAX_BYTES = 4 << 20  # of one file; 100,000 addresses fit
_BARE = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_TABLES = {"firewall.rule": schema.RULE, "alerts.route": schema.ROUTE}


def load(files: Iterable[File]) -> Loaded:
    """Read and merge policy files. Never raises for bad input: problems are in the result."""
    given = Given()
    for file in files:
        document = _document(file, given)
        if document is not None:
            _take(document, given)
    return build(given)


@dataclass(frozen=True, slots=True)
class _Document:
    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int]

    def origin(self, path: Path) -> Origin:
        while path and path not in self.lines:
            path = path[:-1]
        return Origin(self.name, self.lines.get(path, 1))


def _document(file: File, given: Given) -> _Document | None:
    if len(file.content) > MAX_BYTES:
        given.problem(Origin(file.name, 1), f"the file has {len(file.content)} bytes",
                      f"write at most {MAX_BYTES}; ban lists go to `quietgate ban`")  # fmt: skip
        return None
    try:
        text = file.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        given.problem(Origin(file.name, line), f"byte {file.content[error.start]:#04x} is not UTF-8",
                      "save the file as UTF-8")  # fmt: skip
        return None
    parsed = syntax.parse(text.removeprefix("\ufeff"))  # a mark that editors on Windows write
    if isinstance(parsed, syntax.Mistake):
        given.problem(Origin(file.name, parsed.line), parsed.what, parsed.remedy)
        return None
    return _Document(file.name, parsed.data, parsed.lines)


def _take(doc: _Document, given: Given) -> None:
    for key, value in doc.data.items():
        if key == "groups":
            _take_groups(doc, value, given)
        else:
            _take_key(doc, (key,), value, given)


def _take_groups(doc: _Document, value: object, given: Given) -> None:
    example = 'write [groups], then office = ["192.0.2.0/24"]'
    if not isinstance(value, dict):
        given.problem(doc.origin(("groups",)), f"groups is {kind(value)}", example)
        return
    for name, members in value.items():
        origin = doc.origin(("groups", name))
        if not isinstance(members, list):
            given.problem(origin, f"group {_key(name)} is {kind(members)}", 'write a list: ["192.0.2.0/24"]')
            given.broken.add(f"groups.{name}")
            given.groups.setdefault(name, [])
            continue
        found, whole = _elements(doc, ("groups", name), members, address, given)
        if not whole:
            given.broken.add(f"groups.{name}")
        given.groups.setdefault(name, []).extend(found)


def _take_key(doc: _Document, path: tuple[str, ...], value: object, given: Given) -> None:
    dotted = ".".join(path)
    setting = schema.BY_PATH.get(dotted)
    if "." in path[-1]:  # "ssh.limit" in quotes is one key with a dot in it
        given.problem(doc.origin(path), f"unknown key {_key(path[-1])}", "write it without quotes")
    elif setting is not None:
        _take_setting(doc, path, setting, value, given)
    elif dotted in _TABLES:
        _take_tables(doc, path, value, given)
    elif any(s.path.startswith(dotted + ".") for s in schema.SETTINGS):
        if isinstance(value, dict):
            for key, inner in value.items():
                _take_key(doc, (*path, key), inner, given)
        else:
            given.problem(doc.origin(path), f"{dotted} is {kind(value)}, and should be a table", f"write [{dotted}] and its keys below")
    elif isinstance(value, dict):
        given.problem(doc.origin(path), f"unknown section [{'.'.join(map(_key, path))}]", _did_you_mean(path, "[{}]"))
    else:
        given.problem(doc.origin(path), f"unknown key {'.'.join(map(_key, path))}", _did_you_mean(path, "{}"))


def _key(key: str) -> str:
    return key if _BARE.match(key) else quoted(key)


def _did_you_mean(path: tuple[str, ...], form: str) -> str:
    parent, key = path[:-1], path[-1]
    prefix = "".join(f"{p}." for p in parent)
    siblings = sorted({s.path[len(prefix) :].split(".")[0] for s in schema.SETTINGS if s.path.startswith(prefix)})
    # A key stands for a key, and a section for a section: what is suggested can be written there.
    settings = {s.path[len(prefix) :] for s in schema.SETTINGS if s.path.startswith(prefix)}
    tables = (
        {"groups", *(n.partition(".")[0] for n in settings if "." in n)}
        if not parent
        else {n.partition(".")[0] for n in settings if "." in n}
    )
    near = nearest(key, tables if form == "[{}]" else (n for n in settings if "." not in n))
    if key.rstrip("s") == "rule" and parent in ((), ("firewall",)):
        return "did you mean [[firewall.rule]]?"
    if key.rstrip("s") == "route" and parent in ((), ("alerts",)):
        return "did you mean [[alerts.route]]?"
    homes = _homes(key)
    if homes:
        return f"it belongs in {homes}"
    if near:
        return f"did you mean {form.format('.'.join((*parent, near)))}?"
    names = {s.path.rpartition(".")[2] for s in schema.SETTINGS if "." in s.path}
    if form != "[{}]" and (abroad := nearest(key, names)):
        return f"did you mean {abroad}? It belongs in {_homes(abroad)}"
    return f"known here: {', '.join(siblings)}" if siblings else f"{page('policy')} lists every setting"


def _homes(key: str) -> str:
    """The sections that know a key of this name, in words; "" if none does."""
    found = [s.path.rpartition(".")[0] for s in schema.SETTINGS if "." in s.path and s.path.rpartition(".")[2] == key]
    # A whole table may stand in the wrong section as well: `manual` of [bans].
    found += [s.path.partition(".")[0] for s in schema.SETTINGS if key in s.path.split(".")[1:-1]]
    homes = [f"[{home}]" for home in dict.fromkeys(found)]
    if key in {s.path for s in schema.RULE}:
        homes.append("[[firewall.rule]]")
    if key == "groups":
        homes.append("[groups]")
    return " or ".join(homes)


def _take_setting(doc: _Document, path: tuple[str, ...], setting: schema.Setting, value: object, given: Given) -> None:
    origin = doc.origin(path)
    dotted = setting.path
    try:
        words = schema.WORDS.get(dotted, ())
        read = value if isinstance(value, str) and value in words else setting.read(value)
    except Bad as bad:
        also = f', or write "{words[0]}"' if words else ""
        given.problem(origin, f"{dotted}: {bad.what}", bad.remedy + also)
        given.broken.add(dotted)
        return
    if isinstance(read, list):
        assert setting.read.element is not None, f"{dotted} reads a list of nothing"
        elements, whole = _elements(doc, path, read, setting.read.element, given)
        if not whole:
            given.broken.add(dotted)
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


def _elements(doc: _Document, path: Path, items: Sequence[object], read: Reader, given: Given) -> tuple[Placed, bool]:
    """The elements that could be read, and whether these are all."""
    found: Placed = []
    dotted = ".".join(_key(p) for p in path if isinstance(p, str))
    for index, item in enumerate(items):
        origin = doc.origin((*path, index))
        try:
            found.append((read(item), origin))
        except Bad as bad:
            given.problem(origin, f"{dotted}: {bad.what}", bad.remedy)
    return found, len(found) == len(items)


def _take_tables(doc: _Document, path: tuple[str, ...], value: object, given: Given) -> None:
    dotted = ".".join(path)
    if not isinstance(value, list) or not all(isinstance(t, dict) for t in value):
        given.problem(doc.origin(path), f"{dotted} is {kind(value)}", f"write [[{dotted}]] with two brackets")
        return
    for index, table in enumerate(value):
        where: Path = (*path, index)
        raw = RawRule(doc.origin(where))
        for key, item in table.items():
            _take_table_key(doc, where, key, item, raw, given)
        if dotted == "alerts.route":
            given.routes.append(raw)
            continue
        given.rules.append(raw)
        if len(given.rules) > MAX_RULES:
            given.problem(raw.origin, f"more than {MAX_RULES} rules", "join some: one rule takes many ports and addresses")
            return


def _take_table_key(doc: _Document, where: Path, key: str, value: object, raw: RawRule, given: Given) -> None:
    dotted = ".".join(p for p in where if isinstance(p, str))
    known = {s.path: s for s in _TABLES[dotted]}
    origin = doc.origin((*where, key))
    setting = known.get(key)
    if setting is None:
        raw.broken.add(key)
        home = ".".join(p for p in where[:-2] if isinstance(p, str))
        if f"{home}.{key}" in schema.BY_PATH:
            remedy = f"it belongs in [{home}]: move it above the first [[{dotted}]]"
        elif near := nearest(key, known):
            remedy = f"did you mean {near}?"
        elif homes := _homes(key):
            remedy = f"it belongs in {homes}"
        else:
            remedy = f"known here: {', '.join(known)}"
        given.problem(origin, f"unknown key {_key(key)} in [[{dotted}]]", remedy)
        return
    try:
        typed = setting.read(value)
    except Bad as bad:
        raw.broken.add(key)
        given.problem(origin, f"{dotted}.{key}: {bad.what}", bad.remedy)
        return
    if isinstance(typed, list):
        assert setting.read.element is not None, f"{key} reads a list of nothing"
        typed, whole = _elements(doc, (*where, key), typed, setting.read.element, given)
        if not whole:
            raw.broken.add(key)
    raw.values[key] = (typed, origin)
