"""What was found on a host -> the text of a policy that fits it, with comments that say what was found. Pure.

The open proposal changes nothing but SSH. The closed one drops what nobody asked for and keeps open what is in use: one
rule for each program that listens beyond loopback, one for each port that is sent on to a container.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quietgate.clock import format_duration
from quietgate.net import Prefix
from quietgate.pages import page
from quietgate.policy.terms import Ports
from quietgate.values import Visitor

MOST_SHOWN = 12  # logins and services named in a comment
_NAME = re.compile(r"[^a-z0-9]+")
DHCP = {68, 546}  # client ports: [firewall] dhcp covers them


@dataclass(frozen=True, slots=True)
class Service:
    """A program that listens: `protocol` tcp or udp; `addresses` empty for every address of the host."""

    program: str
    protocol: str
    port: int
    addresses: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Speaker:
    """A program that receives an IP protocol without ports: `number` 112 is VRRP."""

    program: str
    number: int


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A port that NAT sends on to a container or guest."""

    protocol: str
    port: int
    address: Prefix
    inside: int
    ssh: bool = False  # an SSH server answers there


@dataclass(frozen=True, slots=True)
class Guest:
    """Who logged in: user, address, seconds ago; `live` while the session is open."""

    user: str
    address: Prefix
    ago: float
    live: bool = False


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A program that listens only while somebody uses it, so that a look at the sockets misses it: `ports` of `protocol`, `server` a file
    that is there where it is installed.
    """

    name: str
    server: str
    protocol: str
    ports: Ports
    why: str


# mosh(1): the server is started over SSH and takes the first free UDP port of these.
ON_DEMAND = (OnDemand("mosh", "mosh-server", "udp", Ports(60000, 61000), "mosh goes on over UDP with whoever logged in over SSH"),)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found on a host."""

    ports: tuple[int, ...]
    ports_why: str
    guests: tuple[Guest, ...] = ()
    services: tuple[Service, ...] = ()
    unsure: tuple[Service, ...] = ()  # high UDP ports, more likely a client's than a service's
    speakers: tuple[Speaker, ...] = ()
    on_demand: tuple[OnDemand, ...] = ()
    forwarded: tuple[Forwarded, ...] = ()
    visitors: tuple[Visitor, ...] = ()
    others: tuple[str, ...] = ()  # other firewalls and blockers, by name
    traps: tuple[str, ...] = ()


def propose(survey: Survey, *, closed: bool) -> str:
    """The policy's text."""
    lines = ["# quietgate's policy for this host, proposed by `quietgate init`" + (" --closed" if closed else "") + ".",
             f"# Every setting and its default: {page('policy')}. Put it in force with: quietgate up", "version = 1", ""]  # fmt: skip
    lines += _ssh(survey)
    lines += _firewall(survey, closed=closed)
    if closed:
        lines += _services(survey)
        lines += _forwards(survey)
    return "\n".join(lines) + "\n"


def findings(survey: Survey, *, closed: bool) -> list[str]:
    """What was found and chosen, in sentences."""
    said = [f'SSH ports: {_ports(survey.ports)} ({survey.ports_why}); written as "auto", so they are followed when sshd moves']
    live = [g for g in survey.guests if g.live]
    if live:
        said.append(f"logged in now: {_guests(live)}; while quietgate knows of the session that address stays open on SSH")
    known = [g for g in survey.guests if not g.live]
    if known:
        said.append(f"logged in before, as logs tell: {_guests(known)}; they are strangers until quietgate sees a session of theirs")
    if not survey.guests:
        said.append("no login from another host is remembered here: everyone is a stranger at first, with 5 connections a minute")
    if survey.visitors:
        named = [f"{v.address} (every {format_duration(max(1, round(v.every)))})" for v in survey.visitors]
        said.append(f"connecting regularly without ever logging in: {_some(named)}; if that is a balancer's or monitor's check, write it "
                    "into trusted: strangers get 5 connections a minute")  # fmt: skip
    services = sorted({f"{s.program} ({s.protocol} {s.port})" for s in survey.services})
    if services:
        chosen = "each got a rule" if closed else "the default is accept, so they stay reachable"
        said.append(f"listening beyond loopback: {_some(services)}; {chosen}")
    if survey.speakers:
        spoken = [f"{s.program} (protocol {s.number})" for s in survey.speakers]
        said.append(
            f"speaking IP protocols of their own: {_some(spoken)}; {'each got a rule' if closed else 'they pass, as the default is accept'}"
        )
    if survey.unsure and closed:
        maybe = sorted({f"{s.program} ({s.protocol} {s.port})" for s in survey.unsure})
        said.append(f"UDP ports that are more likely a client's: {_some(maybe)}; no rule, so write one if others begin to talk there")
    if survey.on_demand and closed:
        said.append(
            f"listening only while in use: {_some([f'{d.name} ({d.protocol} {d.ports})' for d in survey.on_demand])}; each got a rule"
        )
    if survey.forwarded:
        ports = [f"{f.protocol} {f.port} to {f.address}" for f in survey.forwarded]
        chosen = "each got a forward rule" if closed else "they pass by every inbound rule, and are left as they are"
        said.append(f"published ports of containers: {_some(ports)}; {chosen}")
    if survey.others:
        said.append(f"also at work here: {', '.join(survey.others)}; nothing of theirs is touched (see `quietgate doctor`)")
    return [*said, *survey.traps]


def _ssh(survey: Survey) -> Iterator[str]:
    yield "[ssh]"
    yield f"# Found: {_comment(survey.ports_why)}. It is followed when sshd moves."
    yield 'ports = "auto"'
    if survey.guests:
        yield "# Logged in now, or before as logs tell; whoever quietgate sees logged in is not treated like a stranger:"
        for guest in survey.guests[:MOST_SHOWN]:
            yield f"#   {guest.address}  {_comment(guest.user)}, {_when(guest)}"
        if len(survey.guests) > MOST_SHOWN:
            yield f"#   and {len(survey.guests) - MOST_SHOWN} more"
    doors = sorted({f.port for f in survey.forwarded if f.ssh})
    if doors:
        yield "# These lead into SSH servers of containers or guests: the limit and the bans hold there, too."
        yield f"published = [{', '.join(map(str, doors))}]"
    yield "# Hosts that are never limited and never banned on SSH: a bastion, your office, the monitoring."
    for v in survey.visitors[:MOST_SHOWN]:
        yield f"# {v.address} connects every {format_duration(max(1, round(v.every)))} and never logs in: a health check of yours? Then write it here."
    yield "trusted = []"
    yield "# New connections of one source; those who logged in here before have a limit of their own (known_limit)."
    yield 'limit = "5 per 60s"'
    yield ""


def _firewall(survey: Survey, *, closed: bool) -> Iterator[str]:
    yield "[firewall]"
    if not closed:
        yield '# "drop" closes all that no rule opens; `quietgate init --closed` proposes a policy like that.'
        yield 'default = "accept"'
        return
    yield "# What nobody named below does not get in. Replies, DHCP, ICMP errors and IPv6 neighbours always do."
    yield 'default = "drop"'
    yield 'ping = "10 per 1s"'
    if survey.forwarded:
        yield "# Published ports of containers are forwarded, not inbound: each has a rule below."
        yield 'forward = "drop"'


def _services(survey: Survey) -> Iterator[str]:
    groups: dict[tuple[str, str, tuple[Prefix, ...]], set[int]] = {}
    for service in survey.services:
        if service.protocol == "tcp" and service.port in survey.ports:
            continue
        if service.protocol == "udp" and service.port in DHCP:
            continue
        groups.setdefault((service.program, service.protocol, service.addresses), set()).add(service.port)
    used: set[str] = set()
    opened: dict[tuple[str, int], list[tuple[Prefix, ...]]] = {}
    for (program, protocol, addresses), found in sorted(groups.items(), key=lambda g: (g[0][0], g[0][1], str(g[0][2]))):
        # Several programs may share a port (mDNS): a second rule for it would never decide, and `check` would say so.
        ports = {p for p in found if not any(not a or (addresses and {*addresses} <= {*a}) for a in opened.get((protocol, p), ()))}
        if not ports:
            continue
        for port in ports:
            opened.setdefault((protocol, port), []).append(addresses)
        yield from ("", "[[firewall.rule]]", f"name = {_quoted(_named(f'{program}-{protocol}', used))}", f'protocol = "{protocol}"')
        yield f"ports = [{', '.join(str(p) for p in sorted(ports))}]"
        if addresses:
            yield f"to = [{', '.join(_quoted(str(a)) for a in addresses)}]"

    for one in survey.on_demand:
        yield from ("", f"# {one.why}.", "[[firewall.rule]]", f"name = {_quoted(_named(one.name, used))}", f'protocol = "{one.protocol}"',
                    f"ports = [{_quoted(str(one.ports))}]")  # fmt: skip

    for number, program in sorted({s.number: s.program for s in reversed(survey.speakers)}.items()):
        yield from ("", "[[firewall.rule]]", f"name = {_quoted(_named(f'{program}-{number}', used))}", f"protocol = {number}")


def _forwards(survey: Survey) -> Iterator[str]:
    used: set[str] = set()
    ends: dict[tuple[str, Prefix, int], Forwarded] = {}  # one rule opens all that end at the same place
    for one in survey.forwarded:
        ends.setdefault((one.protocol, one.address, one.inside), one)
    for one in ends.values():
        yield from (
            "",
            f"# published as port {one.port}",
            "[[firewall.rule]]",
            f"name = {_quoted(_named(f'publish-{one.protocol}-{one.port}', used))}",
        )
        yield from (
            'direction = "forward"',
            f'protocol = "{one.protocol}"',
            f"ports = [{one.inside}]",
            f"to = [{_quoted(str(one.address))}]",
        )
    if survey.forwarded:
        yield from ("", "# Containers may open connections of their own, from private addresses.", "[[firewall.rule]]", 'name = "containers-out"',
                    'direction = "forward"', 'protocol = "any"')  # fmt: skip
        yield f"from = [{', '.join(_quoted(str(n)) for n in _networks(survey.forwarded))}]"


def _networks(forwarded: Iterable[Forwarded]) -> list[Prefix]:
    """The networks that the containers are in, as wide as bridges are made by default (/16 of IPv4, /64 of IPv6)."""
    return sorted({Prefix.of(f.address.version, f.address.value, 16 if f.address.version == 4 else 64) for f in forwarded})


def _named(text: str, used: set[str]) -> str:
    """A rule's name, unique: a-z, 0-9 and -, at most 32."""
    base = _NAME.sub("-", text.lower()).strip("-")[:28] or "service"
    name, number = base, 2
    while name in used:
        name, number = f"{base}-{number}", number + 1
    used.add(name)
    return name


def _guests(guests: list[Guest]) -> str:
    return _some([f"{_comment(g.user)} from {g.address}" for g in guests])


def _some(items: list[str]) -> str:
    more = f" and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return ", ".join(items[:MOST_SHOWN]) + more


def _when(guest: Guest) -> str:
    if guest.live:
        return "logged in now"
    days = int(guest.ago // 86400)
    return f"{days} days ago" if days > 1 else "yesterday" if days == 1 else f"{format_duration(max(60, guest.ago // 60 * 60))} ago"


def _ports(ports: tuple[int, ...]) -> str:
    return ", ".join(map(str, ports))


def _comment(text: str) -> str:
    """Text of this host in one line of a comment: TOML allows no control characters there."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _quoted(text: str) -> str:
    return json.dumps(text)
