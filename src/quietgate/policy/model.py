"""The policy as typed values. Built only by `load`, which has checked every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from quietgate.errors import Origin, Problem
from quietgate.net import Counting, Prefix
from quietgate.policy.terms import Addresses, Entry, Name, Ports, Rate

Resolved = Mapping[str, tuple[Prefix, ...]]  # host name -> its addresses


@dataclass(frozen=True, slots=True)
class Log:
    """The limiter's log. `rate` None is off."""

    prefix: str
    rate: Rate | None
    to: tuple[str, ...]
    group: int


@dataclass(frozen=True, slots=True)
class Ssh:
    """`[ssh]`. `ports` None is "auto"; `published` lead into containers and guests; `limit`, `known`, `known_limit` and `wide6` None are off; `on_full` None drops.

    Who may reach it: `sources`, and whoever comes in by `interfaces`. `known` in seconds; `reserve` in per cent of sshd's MaxStartups; `observe` True drops nothing.
    """

    ports: tuple[int, ...] | None
    published: tuple[int, ...]
    sources: Addresses
    interfaces: tuple[str, ...]
    trusted: Addresses
    limit: Rate | None
    known: int | None
    known_limit: Rate | None
    reserve: int
    strict: bool
    observe: bool
    counting: Counting
    wide6: Rate | None
    slots: int
    on_full: Rate | None
    log: Log


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[firewall.rule]]`. `protocol` None is any; `ports` None is all."""

    name: str
    direction: str
    protocol: int | None
    ports: tuple[Ports, ...] | None
    source: Addresses
    to: Addresses
    interface: str
    action: str
    rate: Rate | None
    per: str
    reject: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Firewall:
    """`[firewall]`. `ping` is a rate, "accept" or "drop"; `marks` are two different single bits."""

    default: str
    output: str
    forward: str
    allow: Addresses
    deny: Addresses
    ping: Rate | str
    other_icmp: str
    dhcp: bool
    marks: tuple[int, int]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Bans:
    """What `ban` uses. `manual_for` in seconds, None for ever."""

    manual_for: int | None
    manual_scope: str
    max: int


@dataclass(frozen=True, slots=True)
class Lockout:
    """`[lockout]`. Times in seconds; `admins` are user names, and groups with a % before them."""

    trial: int
    keep: int
    admins: tuple[str, ...]
    rehearse: bool
    history: int


@dataclass(frozen=True, slots=True)
class Route:
    """One `[[alerts.route]]`: `to` is webhook, mail or apprise; `secret` is "", "file:/PATH" or "credential:NAME"; `severity` the
    least that goes this way: page, warn or all.
    """

    to: str
    url: str
    secret: str
    severity: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. `origins` tells for each path that is not a default where it was written."""

    ssh: Ssh
    firewall: Firewall
    lockout: Lockout
    bans: Bans
    never_ban: Addresses
    refresh: int  # seconds between look-ups of host names
    values: Mapping[str, object]
    origins: Mapping[str, tuple[Origin, ...]]
    groups: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def meaning(self) -> tuple[object, ...]:
        """What it says, wherever it stands: two policies that mean the same are equal in this."""
        settings = tuple((path, _plain(value)) for path, value in sorted(self.values.items()))
        rules = tuple((r.name, r.direction, r.protocol, r.ports, _plain(r.source), _plain(r.to), r.interface, r.action, r.rate, r.per, r.reject)
                      for r in self.firewall.rules)  # fmt: skip
        return settings, rules, tuple((r.to, r.url, r.secret, r.severity) for r in self.routes)

    @property
    def services(self) -> dict[str, dict[str, object]]:
        """What services are told of it that may not read it, by name: where metrics are served and written ("": neither); who is told of
        bans, and how often (times, seconds; None: always).
        """
        rate = self.values["bans.notify_rate"]
        return {
            "metrics": {"listen": self.values["metrics.listen"], "textfile": self.values["metrics.textfile"]},
            "notify": {"receivers": list(cast("Sequence[str]", self.values["bans.notify"])),
                       "rate": [rate.count, rate.window] if isinstance(rate, Rate) else None},
        }  # fmt: skip

    def names(self) -> Iterator[tuple[Name, Origin]]:
        """Every host name in use, with its place; a name that stands twice comes twice."""
        lists = [self.ssh.sources, self.ssh.trusted, self.firewall.allow, self.firewall.deny, self.never_ban]
        lists += [a for rule in self.firewall.rules for a in (rule.source, rule.to)]
        for addresses in lists:
            for entry in addresses.entries:
                if isinstance(entry.target, Name):
                    yield entry.target, entry.origin


def _plain(value: object) -> object:
    return (value.anywhere, tuple(str(e.target) for e in value.entries)) if isinstance(value, Addresses) else value


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found. With problems the policy holds defaults in place of what is broken, and is not for use."""

    policy: Policy
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def addresses_of(entry: Entry, resolved: Resolved) -> tuple[Prefix, ...]:
    """The prefixes one entry stands for; a name that is not resolved stands for none."""
    if isinstance(entry.target, Name):
        return resolved.get(entry.target.text, ())
    return (entry.target,)


def prefixes_of(addresses: Addresses, resolved: Resolved) -> tuple[Prefix, ...]:
    """All prefixes of a list, names replaced by what they resolved to."""
    return tuple(p for entry in addresses.entries for p in addresses_of(entry, resolved))
