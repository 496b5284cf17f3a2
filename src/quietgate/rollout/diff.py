"""`diff`: what `up` would change: settings in the words of the policy, who gains and loses access, and the rules as nft has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quietgate.firewall import access
from quietgate.firewall.access import Target, Who
from quietgate.firewall.compare import Change, compare
from quietgate.generations.deciding import Deciding, deciding
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import drifted
from quietgate.generations.plan import Prepared
from quietgate.net import BITS, Prefix
from quietgate.policy import changes
from quietgate.policy.model import Policy, Resolved, addresses_of

MOST_PORTS = 64  # asked about: a policy with a thousand ports is compared by its rules


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs. `drift`: somebody changed the table in the kernel. `settings`, `rules`, `people`, from what is in force to the policy
    on disk: empty where that has mistakes, or nothing is in force. `moved`: what changed outside the policy, in words.
    """

    deciding: Deciding
    drift: bool = False
    settings: tuple[changes.Change, ...] = ()
    rules: tuple[Change, ...] = ()
    people: tuple[access.Change, ...] = ()
    moved: tuple[str, ...] = ()

    @property
    def number(self) -> int | None:
        """The generation in force; None: nothing is."""
        return self.deciding.number

    @property
    def none(self) -> bool:
        """True if the policy is what is in force: its rules, and what the guard alone obeys."""
        told = self.deciding
        return told.record is not None and told.mistake is None and not (self.drift or self.rules or self.settings)


def difference(parts: Parts) -> Difference:
    """Compare; changes nothing. Raises QuietgateError, and the mistakes of the policy on disk only where nothing is in force."""
    found = deciding(parts)
    written, record = found.written, found.record
    drift = record is not None and drifted(parts.nft, record) is True
    if written is None or record is None:
        return Difference(found, drift)
    settings = changes.changes(found.prepared.policy, written.policy)
    rules = compare(record.text, written.text(1)) if record.digest != written.digest else ()
    people = tuple(_people(found.prepared, written)) if rules and found.prepared is not written else ()
    return Difference(found, drift, settings, rules, people, tuple(_moved(found.prepared, written, rules, settings)))


def _moved(old: Prepared, new: Prepared, rules: tuple[Change, ...], settings: tuple[changes.Change, ...]) -> Iterator[str]:
    """What changed though nobody wrote it: the next refresh follows it, as `up` would."""
    if old.ports.ports != new.ports.ports and not any(c.key == "ssh.ports" for c in settings):
        yield f"sshd's ports: {', '.join(map(str, old.ports.ports))} -> {', '.join(map(str, new.ports.ports))}"
    for name in sorted(old.resolved.keys() & new.resolved.keys()):
        if set(old.resolved[name]) != set(new.resolved[name]):
            yield f"addresses of {name}: {', '.join(map(str, old.resolved[name]))} -> {', '.join(map(str, new.resolved[name]))}"
    if rules and not settings and old.ports.ports == new.ports.ports and old.resolved == new.resolved:
        yield "the rules differ though no setting does: sshd's own settings (MaxStartups, ListenAddress) or this version of quietgate changed"


def _people(old: Prepared, new: Prepared) -> Iterator[access.Change]:
    named = [*_named(new.policy, new.resolved), *_named(old.policy, old.resolved)]
    people = {w.address: w for w in (Who(label, _first(prefix)) for label, prefix in reversed(named))}
    everyone = access.everyone_else(prefix for _, prefix in named)
    targets = dict.fromkeys([*(Target("tcp", p) for p in (*new.ports.ports, *old.ports.ports)), *_targets(new.policy), *_targets(old.policy),
                             Target("tcp", access.UNLISTED), Target("udp", access.UNLISTED), Target("ping", 0)])  # fmt: skip
    yield from access.changes(old.ruleset, new.ruleset, [*people.values(), *everyone], list(targets))


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
