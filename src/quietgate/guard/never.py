"""Who is never banned, and how much of the Internet may be: the one answer for the guard, the command and lists. Pure.

    protected   the policy's own (trusted, allow, never_ban), this host's addresses, administrators: by nobody, ever
    needed      what this host lives from: default gateways, resolvers, time servers, the provider's metadata and health checkers.
                Not by the guard and not by a list; by hand with --force
    networks    the networks that this host stands in, container bridges too: no prefix that covers or cuts one is banned by the guard
                or by a list, by hand with --force. A single stranger in one may be: an attacker may rent the neighbour's server

A ban of a source that stands for many (a gateway, a bridge, a balancer) would shut all of them out: it is limited as what it is,
never banned, and somebody is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from quietgate.net import BITS, NEVER_BANNED, Prefix, PrefixSet, parse_prefix
from quietgate.policy.model import Policy, Resolved, prefixes_of
from quietgate.values import Login, Surroundings

# Prefixes with fewer bits are asked for twice (--yes): a typing mistake, or a list that nobody has read.
WIDE = {4: 16, 6: 32}
# Addresses of one IP version that all bans together may hold by lists, and without --yes: a quarter of IPv4, a 32nd of IPv6, which is
# a quarter of what is handed out (2000::/3).
MOST_BANNED = {4: 1 << 30, 6: 1 << 123}
# Networks with fewer bits are routes to everywhere rather than places where a host stands.
NETWORK = {4: 8, 6: 16}
USERS = 3  # who logged in from one local address, after which it stands for many

_PROVIDERS = "the provider's metadata, name or time service"
# 169.254.0.0/16 holds those of AWS, Google, Oracle, OpenStack, Hetzner, DigitalOcean (169.254.169.254 and its neighbours); 168.63.129.16
# is Azure's for all of them, health checks included; 100.100.100.200 Alibaba's; fd00:ec2:: AWS's and fd20:ce::254 Google's over IPv6.
# 35.191.0.0/16 and 130.211.0.0/22 are Google's health checkers, and its proxies.
PROVIDERS: tuple[tuple[str, Prefix], ...] = (
    *((_PROVIDERS, parse_prefix(p)) for p in ("169.254.0.0/16", "168.63.129.16", "100.100.100.200", "fd00:ec2::/64", "fd20:ce::254")),
    *(("a provider's health checker", parse_prefix(p)) for p in ("35.191.0.0/16", "130.211.0.0/22")),
)
LOCAL = PrefixSet(parse_prefix(p) for p in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))


class Kind(IntEnum):
    """Why somebody is not banned: see the head of this file."""

    PROTECTED = 1
    NEEDED = 2
    NETWORK = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """Why these prefixes are not banned, in a word that follows "since"."""

    why: str
    prefixes: PrefixSet
    kind: Kind = Kind.PROTECTED
    many: bool = False  # who comes in such a name may be anybody: a gateway, a bridge or proxy of this host


OF_THE_FLOOR = "an administrator is or was logged in from there, or has let it in for a time"
_SAID = "loopback, link-local and multicast addresses are never banned"
_LOOPBACK = PrefixSet(parse_prefix(p) for p in ("127.0.0.0/8", "::1"))
_NOWHERE = (Reason(_SAID, _LOOPBACK, many=True), Reason(_SAID, PrefixSet(NEVER_BANNED)))


@dataclass(frozen=True, slots=True)
class Never:
    """The answer, in the order in which the reasons are given."""

    reasons: tuple[Reason, ...] = ()
    _all: PrefixSet = field(default_factory=PrefixSet)  # but networks
    _networks: PrefixSet = field(default_factory=PrefixSet)

    @classmethod
    def of(cls, reasons: Iterable[Reason]) -> Never:
        """From reasons; the addresses that no host may be banned by are added."""
        listed = [r for r in reasons if r.prefixes]
        return cls(
            (*listed, *_NOWHERE),
            PrefixSet(p for r in (*listed, *_NOWHERE) if r.kind is not Kind.NETWORK for p in r.prefixes),
            PrefixSet(p for r in listed if r.kind is Kind.NETWORK for p in r.prefixes),
        )

    def why(self, prefix: Prefix, *, source: bool) -> Reason | None:
        """The first reason against a ban of this prefix; None where there is none. `source`: it is one source, nobody's network."""
        if not self._all.overlaps(prefix) and (source or not self._networks.overlaps(prefix)):
            return None
        return next(r for r in self.reasons if r.prefixes.overlaps(prefix) and not (source and r.kind is Kind.NETWORK))

    def rest(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """What is left of a prefix beside all that must stay."""
        return PrefixSet([*self._all, *self._networks]).without(prefix)

    def without(self, kinds: Iterable[Kind]) -> Never:
        """The same, and these kinds may be banned (--force)."""
        return Never.of(r for r in self.reasons[: -len(_NOWHERE)] if r.kind not in set(kinds))

    def touching(self, kind: Kind) -> tuple[Reason, ...]:
        """The reasons of one kind."""
        return tuple(r for r in self.reasons if r.kind is kind)


def never_banned(policy: Policy, resolved: Resolved, around: Surroundings, floor: Iterable[Prefix] = ()) -> Never:
    """Who is never banned under this policy, on a host with these surroundings. `floor`: administrators' sources."""
    reasons = [
        Reason(f"{OF_THE_FLOOR} (--evict shuts out a stolen account)", PrefixSet(floor)),
        Reason("it is in ssh.trusted", PrefixSet(prefixes_of(policy.ssh.trusted, resolved))),
        Reason("it is in firewall.allow", PrefixSet(prefixes_of(policy.firewall.allow, resolved))),
        Reason("it is in guard.never_ban", PrefixSet(prefixes_of(policy.never_ban, resolved))),
    ]
    needed: dict[str, list[Prefix]] = {}
    for what, prefix in (*around.needed, *PROVIDERS):
        needed.setdefault(what, []).append(prefix)
    reasons += [
        Reason(f"it is or holds {what}, which this host needs", PrefixSet(found), Kind.NEEDED, many=True) for what, found in needed.items()
    ]
    networks = _networks(around)
    named = ", ".join(map(str, sorted(set(networks))[:4]))
    reasons.append(Reason(f"it touches a network that this host stands in ({named}); single addresses there can be banned",
                          PrefixSet(networks), Kind.NETWORK))  # fmt: skip
    # Last: a prefix around this host's own address is a prefix of its network, which says more.
    reasons.append(Reason("it is an address of this host", PrefixSet(around.own), many=True))
    return Never.of(reasons)


def _networks(around: Surroundings) -> list[Prefix]:
    return [n for n in around.networks if NETWORK[n.version] <= n.length < BITS[n.version]]


def passing(policy: Policy, resolved: Resolved, around: Surroundings) -> PrefixSet:
    """Who is no stranger by the policy's word: the limiter does not count them."""
    return PrefixSet([*prefixes_of(policy.ssh.trusted, resolved), *prefixes_of(policy.firewall.allow, resolved),
                      *prefixes_of(policy.never_ban, resolved), *around.own, *NEVER_BANNED])  # fmt: skip


def stand_for_many(logins: Iterable[Login], around: Surroundings) -> frozenset[Prefix]:
    """Addresses near this host from which several users logged in: a balancer, a NAT, a bridge that hides who comes through it.

    Only near ones: behind a far address are people who share an office, and a guess of theirs is theirs.
    """
    near = PrefixSet([*LOCAL, *_networks(around)])
    users: dict[Prefix, set[str]] = {}
    for login in logins:
        if login.address in near:
            users.setdefault(login.address, set()).add(login.user)
    return frozenset(address for address, names in users.items() if len(names) >= USERS)


def size(prefixes: Iterable[Prefix]) -> dict[int, int]:
    """How many addresses of each IP version these are, overlaps counted once."""
    held = PrefixSet(prefixes)
    return {version: sum(last - first + 1 for first, last in held.ranges(version)) for version in BITS}


def too_many(held: Mapping[int, int], more: Iterable[Prefix]) -> dict[int, int]:
    """Of each IP version of which the bans would hold more than MOST_BANNED, how many addresses that would be."""
    added = size(more)
    return {v: held.get(v, 0) + added[v] for v in BITS if added[v] and held.get(v, 0) + added[v] > MOST_BANNED[v]}
