"""Ruleset -> nft text, valid input for `nft -f`. Check, print and load all use this text.

One transaction: `add table; flush table` makes it the same on an empty and on a living table, keeps the elements of
state sets and the named counters, and lets nothing of an earlier generation survive but what is named again.

The switch. Each base chain asks the set `trial` whether the candidate is armed for this IP version. Its element has
a timeout, so a candidate that nobody confirms disappears in the kernel, whatever dies in user space. Base policies
are always accept: what drops belongs to a generation, so that the switch can take it back.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quietgate.clock import UNITS
from quietgate.firewall import names
from quietgate.firewall import rules as r
from quietgate.net import BITS, Prefix, PrefixSet, address_text

TRIAL_SET = r.StateSet(names.TRIAL, "nf_proto", ("timeout",))
_FAMILY = {4: "ip", 6: "ip6"}
_PROTOCOL = {6: "tcp", 17: "udp"}
_ICMP = {4: "icmp", 6: "icmpv6"}
_DECLARED = re.compile(r"^\t(chain|set|counter|limit) (\S+) \{", re.MULTILINE)
_UNIT_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


@dataclass(frozen=True, slots=True)
class Generation:
    """A ruleset with its number (from 1), which names its chains and policy sets in the kernel."""

    number: int
    ruleset: r.Ruleset


@dataclass(frozen=True, slots=True)
class Stale:
    """Names in the living table that the new text does not use; removed in the same transaction."""

    chains: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def render(confirmed: Generation | None, candidate: Generation | None = None, stale: Stale | None = None) -> str:
    """The whole table as one transaction. With a candidate, the switch decides between the two."""
    generations = [g for g in (confirmed, candidate) if g is not None]
    lines = [f"add table {names.FAMILY} {names.TABLE}", f"flush table {names.FAMILY} {names.TABLE}"]
    lines += [f"table {names.FAMILY} {names.TABLE} {{"]
    lines += _indent(_shared(generations))
    for generation in generations:
        lines += _indent(_generation(generation))
    for hook in r.Hook:
        lines += [f"\tchain {hook} {{", f"\t\t{_head(hook)}"]
        lines += [f"\t\t{rule}" for rule in _entry(hook, _number(confirmed), _number(candidate))]
        lines.append("\t}")
    lines.append("}")
    lines += removals(stale or Stale())
    return "\n".join(lines) + "\n"


def arm(confirmed: int | None, candidate: Generation, seconds: int) -> str:
    """One transaction that puts a candidate beside the confirmed generation, which stays as it is, and arms it.

    Shared sets and counters are only added to. When the elements of `trial` expire, the confirmed generation decides
    again, and with None nothing does.
    """
    table = f"{names.FAMILY} {names.TABLE}"
    lines = [f"table {table} {{", *_indent(_shared([candidate])), *_indent(_generation(candidate))]
    lines += [f"\tchain {hook} {{ {_head(hook)}; }}" for hook in r.Hook]
    lines += ["}", *_entries(confirmed, candidate.number)]
    lines.append(f"add element {table} {names.TRIAL} {{ ipv4 timeout {seconds}s, ipv6 timeout {seconds}s }}")
    return "\n".join(lines) + "\n"


def confirm(number: int, stale: Stale) -> str:
    """One transaction that makes the candidate the confirmed generation; it fails when its trial has ended."""
    return f"delete element {names.FAMILY} {names.TABLE} {names.TRIAL} {{ ipv4, ipv6 }}\n" + settle(number, stale)


def settle(number: int, stale: Stale) -> str:
    """One transaction after which generation `number` alone decides, and what is stale is gone."""
    table = f"{names.FAMILY} {names.TABLE}"
    lines = [*_entries(number, None), f"flush set {table} {names.TRIAL}", *(f"flush chain {table} {c}" for c in stale.chains)]
    return "\n".join([*lines, *removals(stale)]) + "\n"


def declared_in(text: str) -> Stale:
    """Every chain, set, counter and limit that a text of `render` names."""
    found: dict[str, list[str]] = {"chain": [], "set": [], "counter": [], "limit": []}
    for kind, name in _DECLARED.findall(text):
        found[kind].append(name)
    return Stale(*(tuple(found[k]) for k in ("chain", "set", "counter", "limit")))


def renumbered(text: str, old: int, new: int) -> str:
    """A text of `render` as generation `new`."""
    return re.sub(rf"(?<=[ @]){names.of_generation(old, '')}(?=[a-z])", names.of_generation(new, ""), text)


def sets_only(generation: Generation) -> str:
    """The table with its state sets and without a rule, so that they can be filled before anything is in force."""
    lines = [f"table {names.FAMILY} {names.TABLE} {{", *_indent(_shared([generation])), "}"]
    return "\n".join(lines) + "\n"


def removals(stale: Stale) -> list[str]:
    """Commands that remove what is not used any more; the chains must be empty of references."""
    table = f"{names.FAMILY} {names.TABLE}"
    return [
        *(f"delete chain {table} {name}" for name in stale.chains),
        *(f"delete set {table} {name}" for name in stale.sets),
        *(f"delete limit {table} {name}" for name in stale.limits),
        *(f"delete counter {table} {name}" for name in stale.counters),
    ]


def declared(confirmed: Generation | None, candidate: Generation | None = None) -> Stale:
    """Every chain, set, counter and limit that `render` would name; what else the table holds is stale."""
    generations = [g for g in (confirmed, candidate) if g is not None]
    chains = [hook.value for hook in r.Hook]
    sets = [names.TRIAL]
    counters: list[str] = []
    limits: list[str] = []
    for g in generations:
        chains += [names.of_generation(g.number, c.name) for c in g.ruleset.chains]
        sets += [names.of_generation(g.number, s.name) for s in g.ruleset.policy_sets]
        sets += [s.name for s in g.ruleset.state_sets]
        counters += [name for name, _ in g.ruleset.counters]
        limits += [name for name, _ in g.ruleset.buckets]
    return Stale(tuple(chains), tuple(sets), tuple(counters), tuple(limits))


def _indent(lines: Iterable[str]) -> list[str]:
    return ["\t" + line for line in lines]


def _shared(generations: list[Generation]) -> Iterator[str]:
    counters: dict[str, str] = {}
    buckets: dict[str, r.Within] = {}
    sets = {names.TRIAL: TRIAL_SET}
    for g in generations:
        counters.update(g.ruleset.counters)
        buckets.update(g.ruleset.buckets)
        sets.update({s.name: s for s in g.ruleset.state_sets})
    for name, meaning in counters.items():
        yield f'counter {name} {{ comment "{meaning}"; }}'
    for name, bucket in buckets.items():
        yield f"limit {name} {{ {_rate(bucket)}; }}"
    for s in sets.values():
        yield _state_set(s)


def _state_set(s: r.StateSet) -> str:
    parts = [s.type if s.type.startswith("typeof ") else f"type {s.type}", f"flags {','.join(s.flags)}"]
    if s.timeout is not None:
        parts.append(f"timeout {s.timeout}s")
    if s.size is not None:
        parts.append(f"size {s.size}")
    if s.gc is not None:
        parts.append(f"gc-interval {s.gc}ms")
    return f"set {s.name} {{ {'; '.join(parts)}; }}"


def _generation(g: Generation) -> Iterator[str]:
    for s in g.ruleset.policy_sets:
        name = names.of_generation(g.number, s.name)
        if all(p.single for p in s.prefixes):  # a plain hash set: interval sets miss while they are being changed
            yield f"set {name} {{ type {names.TYPE[s.version]}; elements = {{ {', '.join(map(str, s.prefixes))} }}; }}"
        else:
            elements = ", ".join(_ranges(s))
            yield f"set {name} {{ type {names.TYPE[s.version]}; flags interval; elements = {{ {elements} }}; }}"
    for chain in g.ruleset.chains:
        yield f"chain {names.of_generation(g.number, chain.name)} {{"
        for rule in chain.rules:
            yield "\t" + rule_text(rule, g.number)
        yield "}"


def _ranges(s: r.PolicySet) -> Iterator[str]:
    for low, high in PrefixSet(s.prefixes).ranges(s.version):
        first, last = address_text(s.version, low), address_text(s.version, high)
        yield first if low == high else f"{first}-{last}"


def _number(generation: Generation | None) -> int | None:
    return None if generation is None else generation.number


def _head(hook: r.Hook) -> str:
    return f"type filter hook {hook} priority {r.PRIORITY[hook]}; policy accept;"


def _entry(hook: r.Hook, confirmed: int | None, candidate: int | None) -> Iterator[str]:
    """The rules of a base chain: loopback, the switch, the confirmed generation."""
    if hook is not r.Hook.FORWARD:
        way = "oifname" if hook is r.Hook.OUTPUT else "iifname"
        # What a proxy on this host sends to sshd in somebody else's name is that person's connection (see `in.lo` in compile).
        own = "fib saddr type local " if hook is r.Hook.INPUT else ""
        yield f'{way} "lo" {own}accept comment "{names.COMMENT}{hook}.loopback"'
    if candidate is not None:
        entry = names.of_generation(candidate, r.ENTRY[hook])
        yield f'meta nfproto @{names.TRIAL} goto {entry} comment "{names.COMMENT}{hook}.trial"'
    if confirmed is not None:
        entry = names.of_generation(confirmed, r.ENTRY[hook])
        yield f'goto {entry} comment "{names.COMMENT}{hook}.confirmed"'


def _entries(confirmed: int | None, candidate: int | None) -> Iterator[str]:
    table = f"{names.FAMILY} {names.TABLE}"
    for hook in r.Hook:
        yield f"flush chain {table} {hook}"
        yield from (f"add rule {table} {hook} {rule}" for rule in _entry(hook, confirmed, candidate))


def rule_text(rule: r.Rule, number: int) -> str:
    """One rule as nft prints it, with its id as comment."""
    parts = [text for part in rule.parts if (text := part_text(part, number))]
    return " ".join([*parts, f'comment "{names.COMMENT}{rule.id}"'])


def part_text(part: r.Part, number: int) -> str:
    """One part of a rule."""
    match part:
        case r.Version(version):
            return f"meta nfproto ipv{version}"
        case r.Interface(way, name, absent):
            return f'{way} {"!= " if absent else ""}"{name}"' if name != "*" else ""
        case r.Protocol(numbers, absent):
            return f"meta l4proto {'!= ' if absent else ''}{_one_of(map(str, numbers))}"
        case r.Port(side, ranges, protocol, absent):
            return f"{_PROTOCOL.get(protocol or 0, 'th')} {side} {'!= ' if absent else ''}{_one_of(map(str, ranges))}"
        case r.Address(version, side, prefixes, absent):
            return f"{_FAMILY[version]} {side} {'!= ' if absent else ''}{_one_of(_intervals(version, prefixes))}"
        case r.InSet(key, name, shared, absent):
            set_name = name if shared else names.of_generation(number, name)
            return f"{_key(key)} {'!= ' if absent else ''}@{set_name}"
        case r.Tuple4(version, name):
            return f"{_ends(version)} @{name}"
        case r.Flags(mask, value, absent):
            return f"tcp flags & ({' | '.join(mask)}) {'!=' if absent else '=='} {' | '.join(value) or '0x0'}"
        case r.State(states):
            return f"ct state {','.join(states)}"
        case r.Published(ports):
            return f"meta l4proto 6 ct original proto-dst {{ {', '.join(map(str, ports))} }} ct status dnat"
        case r.Assured():
            return "ct status assured"
        case r.Original():
            return "ct direction original"
        case r.Expires(seconds, longer):
            return f"ct status confirmed ct expiration {'>' if longer else '<='} {seconds}s"
        case r.Settled():
            return f"ct label {names.LABEL}"
        case r.Icmp(version, types):
            return f"{_ICMP[version]} type {_one_of(map(str, types))}"
        case r.Socket(wildcard):
            return f"socket wildcard {int(wildcard)}"
        case r.ToLocal():
            return "fib daddr type local"
        case r.Within():
            return f"limit {_rate(part)}"
        case r.Bucket(name):
            return f'limit name "{name}"'
        case r.Take(key, name, once, update, over):
            # 1/week, burst 1: one token for as long as the element lives (a day at most).
            own = " limit rate 1/week burst 1 packets" if once else f" limit {_rate(over)}" if over else ""
            return f"{'update' if update else 'add'} @{name} {{ {_key(key)}{own} }}"
        case r.Waits(name, absent):
            return f"ct id {'!= ' if absent else ''}@{name}"
        case r.Place(name):
            return f"update @{name} {{ ct id }}"
        case r.Leave(name):
            return f"delete @{name} {{ ct id }}"
        case r.Free(key, name):
            return f"delete @{name} {{ {_key(key)} }}"
        case r.Finish():
            return "tcp flags set fin | ack"
        case r.Count(name):
            return f'counter name "{name}"'
        case r.Log(prefix, group):
            return f'log prefix "{prefix}"' + (f" group {group}" if group is not None else " level info")
        case r.Settle():
            return f"ct label set {names.LABEL}"
        case r.Remember(version, name):
            return f"add @{name} {{ {_ends(version)} }}"
        case r.Forget(version, name, back):
            return f"delete @{name} {{ {_ends(version, back=back)} }}"
        case r.Accept():
            return "accept"
        case r.Drop():
            return "drop"
        case r.Reject(reset):
            return "reject with tcp reset" if reset else "reject with icmpx type port-unreachable"
        case r.Goto(chain):
            return f"goto {names.of_generation(number, chain)}"
        case r.Jump(chain):
            return f"jump {names.of_generation(number, chain)}"
        case r.Return():
            return "return"


def _ends(version: int, *, back: bool = False) -> str:
    ip = _FAMILY[version]
    near, far = ("d", "s") if back else ("s", "d")
    return f"{ip} {near}addr . tcp {near}port . {ip} {far}addr . tcp {far}port"


def _intervals(version: int, prefixes: Iterable[Prefix]) -> Iterator[str]:
    return map(str, PrefixSet(prefixes).prefixes(version))


def _one_of(items: Iterable[str]) -> str:
    listed = list(items)
    return listed[0] if len(listed) == 1 else f"{{ {', '.join(listed)} }}"


def _key(key: r.Key) -> str:
    text = f"{_FAMILY[key.version]} {key.side}"
    bits = BITS[key.version]
    if key.length == bits:
        return text
    mask = ((1 << key.length) - 1) << (bits - key.length)
    return f"{text} & {ipaddress.IPv4Address(mask) if key.version == 4 else ipaddress.IPv6Address(mask)}"


def _rate(bucket: r.Within) -> str:
    """nft counts per second, minute, hour or day: the smallest unit that gives a whole number, else per day, rounded down."""
    exact = (u for u in _UNIT_WORDS if bucket.count * UNITS[u] >= bucket.window and not bucket.count * UNITS[u] % bucket.window)
    unit = next(exact, "d")
    per_unit = bucket.count * UNITS[unit] // bucket.window
    return f"rate {'over ' if bucket.over else ''}{per_unit}/{_UNIT_WORDS[unit]} burst {bucket.burst} packets"
