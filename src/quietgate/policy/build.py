"""What the files gave -> `Policy`: groups put in, defaults filled in, what contradicts itself named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from quietgate.errors import Origin
from quietgate.nearest import nearest
from quietgate.net import Counting, Prefix
from quietgate.policy import schema
from quietgate.policy.check import rule_problems, shadowed
from quietgate.policy.given import Given, Placed, RawRule
from quietgate.policy.model import Bans, Firewall, Loaded, Lockout, Log, Policy, Rule, Ssh
from quietgate.policy.readers import quoted
from quietgate.policy.routes import is_address, routes
from quietgate.policy.terms import Addresses, Anywhere, Entry, Group, Name, Rate

MAX_RULES = 5000
MAX_NESTING = 32  # groups in groups
MARKS = (0x10000000, 0x20000000)


def default_of(setting: schema.Setting) -> object:
    """The default as a typed value."""
    words = schema.WORDS.get(setting.path, ())
    if isinstance(setting.default, str) and setting.default in words:
        return setting.default
    value = setting.read(setting.default)
    if isinstance(value, list):
        assert setting.read.element is not None, f"{setting.path} reads a list of nothing"
        return tuple(setting.read.element(v) for v in value)
    return value


def build(given: Given) -> Loaded:
    """Put the policy together. What is broken stands as its default; the problems say so."""
    groups = _Groups(given)
    values = {s.path: given.values.get(s.path, default_of(s)) for s in schema.SETTINGS if not s.append}
    lists = {}
    for setting in schema.SETTINGS:
        if setting.append:
            raw = given.lists.get(setting.path)
            default: Placed = [(v, Origin("default", 0)) for v in cast("tuple[object]", default_of(setting))]
            lists[setting.path] = groups.addresses(raw if raw is not None else default)
            values[setting.path] = lists[setting.path]
    for path in ("ssh.trusted", "firewall.allow", "firewall.deny"):
        _not_everyone(path, lists[path], given)
    _door(lists, given, groups)
    marks = cast("tuple[int, ...]", values["firewall.marks"])
    if len(marks) != 2 or marks[0] == marks[1]:
        if "firewall.marks" not in given.broken:
            given.problem(given.origins["firewall.marks"][0], "firewall.marks needs two different bits",
                          f"write [{MARKS[0]:#x}, {MARKS[1]:#x}]")  # fmt: skip
        marks = MARKS
    ports = values["ssh.ports"]
    if ports == () and "ssh.ports" not in given.broken:
        given.problem(given.origins["ssh.ports"][0], "ssh.ports is empty", 'write "auto", or the ports sshd listens on')
    rules = _rules(given, groups)
    groups.unused()
    v: Any = values
    for address in v["digest.to"]:
        if not is_address(address):
            given.problem(
                given.origins["digest.to"][0], f"digest.to: {quoted(address)} is no mail address", 'write it like "ops@example.net"'
            )
    if v["digest.every"] != "off" and not v["digest.to"] and "digest.to" not in given.broken:
        given.warn(given.origins["digest.every"][0], "digest.every is set, and digest.to names nobody",
                   'name somebody: to = ["ops@example.net"], or read it yourself: quietgate report')  # fmt: skip
    policy = Policy(
        ssh=Ssh(
            ports=None if ports == "auto" else tuple(sorted(set(v["ssh.ports"]))),
            published=tuple(sorted(set(v["ssh.published"]))),
            sources=lists["ssh.from"],
            interfaces=tuple(sorted(set(v["ssh.interfaces"]))),
            trusted=lists["ssh.trusted"],
            limit=v["ssh.limit"],
            known=None if v["ssh.known"] == "off" else v["ssh.known"],
            known_limit=v["ssh.known_limit"],
            reserve=v["ssh.reserve"],
            strict=v["ssh.strict"],
            observe=v["ssh.mode"] == "observe",
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
            rules=rules,
        ),
        lockout=Lockout(v["lockout.trial"], v["lockout.keep"], v["lockout.admins"], v["lockout.rehearse"], v["lockout.history"]),
        bans=Bans(v["bans.manual.for"], v["bans.manual.scope"], v["bans.max"]),
        refresh=v["firewall.names_refresh"],
        never_ban=lists["guard.never_ban"],
        values=values,
        origins=given.origins,
        groups=tuple(given.groups),
        routes=routes(given),
    )
    return Loaded(policy, *(tuple(sorted(dict.fromkeys(p), key=lambda p: p.origin)) for p in (given.problems, given.warnings)))


class _Groups:
    """`[groups]` with the groups inside them put in; each group once, however often it is used."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._flat: dict[str, tuple[Entry, ...]] = {}
        self.whole = not any(path.startswith("groups.") for path in given.broken)  # False: what they would hold is not known

    def addresses(self, items: Placed) -> Addresses:
        """An address list with its groups put in. What stands twice counts once, at its first place."""
        entries: dict[Prefix | Name, Entry] = {}
        anywhere = False
        for value, origin in items:
            if isinstance(value, Group):
                for entry in self._members(value.text, origin, ()):
                    entries.setdefault(entry.target, entry)
            elif isinstance(value, Anywhere):
                anywhere = True
            else:
                target = cast("Prefix | Name", value)
                entries.setdefault(target, Entry(target, origin))
        return Addresses(tuple(entries.values()), anywhere)

    def unused(self) -> None:
        """Look into the groups that nobody uses, for their mistakes."""
        for name, members in self._given.groups.items():
            if members:
                self._members(name, members[0][1], ())

    def _members(self, name: str, used_at: Origin, above: tuple[str, ...]) -> tuple[Entry, ...]:
        given = self._given
        if name in above:
            circle = " > ".join(f"@{n}" for n in (*above[above.index(name) :], name))
            return self._mistake(used_at, f"group @{name} holds itself: {circle}", "take one of these references out")
        if name in self._flat:
            return self._flat[name]
        if name not in given.groups:
            near = nearest(name, given.groups)
            remedy = f"did you mean @{near}?" if near else f'define it: under [groups], {name or "office"} = ["192.0.2.0/24"]'
            return self._mistake(used_at, f"there is no group {quoted('@' + name)}", remedy)
        if len(above) >= MAX_NESTING:
            return self._mistake(used_at, f"more than {MAX_NESTING} groups inside each other", "name the addresses in one of them directly")
        entries: dict[Prefix | Name, Entry] = {}
        for value, origin in given.groups[name]:
            if isinstance(value, Group):
                for entry in self._members(value.text, origin, (*above, name)):
                    entries.setdefault(entry.target, entry)
            elif isinstance(value, Anywhere):
                given.problem(origin, f'group @{name} holds "anywhere"', 'write "anywhere" where the group is used')
            else:
                target = cast("Prefix | Name", value)
                entries.setdefault(target, Entry(target, origin, name))
        self._flat[name] = tuple(entries.values())
        return self._flat[name]

    def _mistake(self, at: Origin, what: str, remedy: str) -> tuple[Entry, ...]:
        self.whole = False
        self._given.problem(at, what, remedy)
        return ()


_INSTEAD = {
    "ssh.trusted": 'to limit nobody, write limit = "off" in [ssh]',
    "firewall.allow": 'to filter nothing, write default = "accept" in [firewall] and no rules',
    "firewall.deny": 'to shut out everyone but those named, write default = "drop" in [firewall] and `from` in [ssh]',
}


def _not_everyone(path: str, addresses: Addresses, given: Given) -> None:
    if addresses.anywhere:
        at = next(origin for value, origin in given.lists[path] if isinstance(value, Anywhere))
        given.problem(at, f'{path} holds "anywhere"', _INSTEAD[path])
    for entry in addresses.entries:
        if isinstance(entry.target, Prefix) and entry.target.length == 0:
            given.problem(entry.origin, f"{path}: {entry} means everyone", _INSTEAD[path])


_IN_BY_SSH = ("ssh.from", "ssh.trusted", "firewall.allow")


def _door(lists: dict[str, Addresses], given: Given, groups: _Groups) -> None:
    """`ssh.from` that lets nobody in, or that looks like a restriction and is none."""
    who = lists["ssh.from"]
    over = cast("Sequence[str]", given.values.get("ssh.interfaces", ()))
    if "*" in over:
        given.problem(given.origins["ssh.interfaces"][0], 'ssh.interfaces holds "*", which is every interface', 'write from = ["anywhere"]')
    if (
        groups.whole
        and not over
        and not any(lists[path] for path in _IN_BY_SSH)
        and given.broken.isdisjoint((*_IN_BY_SSH, "ssh.interfaces"))
    ):
        given.problem(given.origins["ssh.from"][0], "ssh.from is empty: nobody could reach SSH",
                      'name who may, or write from = ["anywhere"]')  # fmt: skip
    if who.anywhere and over:
        given.warn(given.origins["ssh.interfaces"][0], 'ssh.from is "anywhere", so ssh.interfaces restricts nothing',
                   "to let SSH in over these alone, write from = [] in [ssh]")  # fmt: skip
    if who.anywhere and who.entries:
        at = next(origin for value, origin in given.lists["ssh.from"] if isinstance(value, Anywhere))
        given.warn(at, f'ssh.from holds "anywhere", so {who.entries[0]} at {who.entries[0].origin} restricts nothing',
                   'take out "anywhere", or the rest of the list')  # fmt: skip


def _rules(given: Given, groups: _Groups) -> tuple[Rule, ...]:
    rules = []
    whole = []
    names: dict[str, Origin] = {}
    for raw in given.rules[:MAX_RULES]:
        before = len(given.problems)
        rule = _rule(raw, groups, given)
        rules.append(rule)
        if rule.name in names:
            given.problem(raw.values["name"][1], f'a rule named "{rule.name}" stands already at {names[rule.name]}',
                          "give this one another name")  # fmt: skip
        elif rule.name:
            names[rule.name] = rule.origin
        # A value that could not be read would only make up contradictions that are not there.
        if raw.whole and len(given.problems) == before:
            given.problems += rule_problems(rule, {key: origin for key, (_, origin) in raw.values.items()})
            whole.append(rule)
    given.warnings += shadowed(whole)
    return tuple(rules)


def _rule(raw: RawRule, groups: _Groups, given: Given) -> Rule:
    def value(key: str, default: object) -> Any:
        return raw.values[key][0] if key in raw.values else default

    def addresses(key: str) -> Addresses:
        if key not in raw.values:
            return Addresses(anywhere=True)
        items, origin = raw.values[key]
        if not items and key not in raw.broken:
            given.problem(
                origin, f"firewall.rule.{key} is empty, so the rule matches nothing", "name addresses, or take it out to match all"
            )
        found = groups.addresses(items)
        if any(isinstance(v, Group) for v, _ in items):
            if not groups.whole:
                raw.broken.add(key)
            elif not found:
                given.problem(origin, f"the groups in firewall.rule.{key} are empty, so the rule matches nothing",
                              "name addresses in one of them, or take it out to match all")  # fmt: skip
        return found

    if "name" not in raw.values and "name" not in raw.broken:
        given.problem(raw.origin, "the rule has no name", 'give it one: name = "web"')
    ports: Sequence[tuple[Any, Origin]] | None = value("ports", None)
    if ports is not None and not ports and "ports" not in raw.broken:
        given.problem(
            raw.values["ports"][1], "firewall.rule.ports is empty, so the rule matches nothing", "name ports, or take it out to match all"
        )
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
        origin=raw.origin,
    )
