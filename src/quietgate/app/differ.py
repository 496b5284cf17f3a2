"""`diff`: the policy on disk against what is in force, as rules and in words about people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quietgate.app.generations import Record
from quietgate.app.inside import drifted, in_force, look
from quietgate.app.parts import Parts
from quietgate.app.prepare import Prepared, prepare
from quietgate.firewall import access
from quietgate.firewall.access import Target, Who
from quietgate.firewall.compare import Change, compare
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.net import BITS, Prefix
from quietgate.policy.load import load
from quietgate.policy.model import Policy, Resolved, addresses_of

MOST_PORTS = 64  # asked about: a policy with a thousand ports is compared by its rules


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs. `number` is the generation in force (None: nothing is), `drift` that somebody changed it in the kernel."""

    number: int | None
    drift: bool
    rules: tuple[Change, ...]
    people: tuple[access.Change, ...]
    text: str

    @property
    def none(self) -> bool:
        """True if the policy is what is in force."""
        return self.number is not None and not self.drift and not self.rules


def difference(parts: Parts) -> Difference:
    """Compare; changes nothing."""
    prepared = prepare(parts.paths)
    record = in_force(parts.generations, look(parts.nft))
    text = prepared.text(1)
    if record is None:
        return Difference(None, drift=False, rules=compare("", text), people=(), text=text)
    changed = compare(record.text, text) if record.digest != prepared.digest else ()
    people = tuple(_people(prepared, record)) if changed else ()
    return Difference(record.number, drifted(parts.nft, record) is True, changed, people, text)


def _people(prepared: Prepared, record: Record) -> Iterator[access.Change]:
    loaded = load(record.written())
    if loaded.problems or not record.contents:
        return
    ports = prepared.ports
    old = compile_policy(loaded.policy, Facts(Door(record.ports, ports.bound, ports.begin, ports.grace), prepared.resolved))
    named = [*_named(prepared.policy, prepared.resolved), *_named(loaded.policy, prepared.resolved)]
    people = {w.address: w for w in (Who(label, _first(prefix)) for label, prefix in reversed(named))}
    everyone = access.everyone_else(prefix for _, prefix in named)
    targets = dict.fromkeys([*(Target("tcp", p) for p in (*ports.ports, *record.ports)), *_targets(prepared.policy), *_targets(loaded.policy),
                             Target("tcp", access.UNLISTED), Target("udp", access.UNLISTED), Target("ping", 0)])  # fmt: skip
    yield from access.changes(old, prepared.ruleset, [*people.values(), *everyone], list(targets))


def _named(policy: Policy, resolved: Resolved) -> Iterator[tuple[str, Prefix]]:
    lists = {"ssh.trusted": policy.ssh.trusted, "firewall.allow": policy.firewall.allow, "firewall.deny": policy.firewall.deny,
             "ssh.from": policy.ssh.sources}  # fmt: skip
    for path, addresses in lists.items():
        for entry in addresses.entries:
            for prefix in addresses_of(entry, resolved):
                yield f"{prefix} ({path}{f', @{entry.group}' if entry.group else ''})", prefix
    for rule in policy.firewall.rules:
        for entry in rule.source.entries if rule.direction == "in" else ():
            for prefix in addresses_of(entry, resolved):
                yield f"{prefix} (rule {rule.name})", prefix


def _targets(policy: Policy) -> Iterator[Target]:
    count = 0
    for rule in policy.firewall.rules:
        if rule.direction == "in" and rule.protocol in (6, 17, None):
            for port in rule.ports or ():
                count += 1
                if count <= MOST_PORTS:
                    yield Target("udp" if rule.protocol == 17 else "tcp", port.low)


def _first(prefix: Prefix) -> Prefix:
    return prefix if prefix.single else Prefix(prefix.version, prefix.value + 1, BITS[prefix.version])
