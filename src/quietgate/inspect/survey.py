"""Looks at a host before the first policy: sshd, logins, what listens, what forwards, who else filters."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from quietgate.generations.installation import Parts
from quietgate.host import other_firewalls, sockets
from quietgate.host.accounts import user_name
from quietgate.host.files import write_durably
from quietgate.host.greeting import speaks_ssh
from quietgate.host.reading import read_text
from quietgate.host.sight import live
from quietgate.host.sshd_config import SshPorts, find_ports
from quietgate.inspect.recent import recent_visitors
from quietgate.net import LINK_LOCAL6, AddressError, Prefix, PrefixSet, parse_address, parse_prefix
from quietgate.people import known
from quietgate.policy.propose import ON_DEMAND, Forwarded, Guest, OnDemand, Service, Speaker, Survey, findings, propose
from quietgate.values import Listener

HISTORY = 30 * 86400
LOOPBACK = PrefixSet(parse_prefix(p) for p in ("127.0.0.0/8", "::1"))
# Above it a UDP socket is more likely a client's than a service's (net.ipv4.ip_local_port_range)
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def survey(parts: Parts) -> Survey:
    """Look; changes nothing but the store, which takes up the logins that were found."""
    ports = find_ports(None)
    return Survey(
        ports=ports.ports,
        ports_why=ports.why,
        guests=tuple(_guests(parts, ports)),
        services=tuple(services()),
        unsure=tuple(unsure()),
        speakers=tuple(speakers()),
        on_demand=tuple(on_demand(parts.paths.root)),
        forwarded=tuple(forwarded()),
        visitors=tuple(recent_visitors(parts.paths)),
        others=(*other_firewalls.at_work(parts.paths.root), *other_firewalls.legacy()),
    )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy's text, and what was found and chosen, in sentences."""

    text: str
    said: list[str]


def proposal(parts: Parts, *, closed: bool) -> Proposal:
    """A policy that fits this host."""
    found = survey(parts)
    return Proposal(propose(found, closed=closed), findings(found, closed=closed))


def install(parts: Parts, proposed: Proposal) -> None:
    """Write the proposal as the policy; one that is there is kept beside it. A copy tells later whether somebody wrote in it."""
    paths = parts.paths
    paths.policy.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    paths.drop_ins.mkdir(exist_ok=True, mode=0o755)
    if paths.policy.exists():
        os.replace(paths.policy, paths.policy.with_name(paths.policy.name + ".old"))
    write_durably(paths.policy, proposed.text, 0o644)
    write_durably(paths.proposed, proposed.text)


def _guests(parts: Parts, ports: SshPorts) -> list[Guest]:
    now = time.time()
    sessions = live(frozenset(ports.ports))
    found = {(user_name(s.uid), s.flow.peer): Guest(user_name(s.uid), s.flow.peer, 0.0, live=True) for s in sessions}
    with parts.store() as store:
        known.gather(store, parts.paths, HISTORY, now)
        for login in (*store.logins(now - HISTORY), *store.remembered(now - HISTORY)):
            found.setdefault((login.user, login.address), Guest(login.user, login.address, now - login.at))
    return sorted(found.values(), key=lambda g: (not g.live, g.ago, g.user, g.address))


def services() -> list[Service]:
    """Every program that listens on more than loopback, and the kernel itself (WireGuard, VXLAN, NFS)."""
    tcp, udp = sockets.listeners(), sockets.udp_listeners()
    names = _programs(frozenset(x.inode for x in (*tcp, *udp) if x.inode))
    # The kernel is nobody's client: its high ports serve. WireGuard's usual 51820 is one. Asked twice, since a client's
    # socket may have been closed before its process was looked at.
    lasting = {x.inode for x in sockets.udp_listeners()} - set(names)
    return _rows(names, tcp, [x for x in udp if x.port < _ephemeral() or x.inode in lasting])


def unsure() -> list[Service]:
    """Programs with a UDP port that may be a client's as well as a service's."""
    udp = [x for x in sockets.udp_listeners() if x.port >= _ephemeral()]
    names = _programs(frozenset(x.inode for x in udp if x.inode))
    return _rows(names, [], [x for x in udp if x.inode in names])


def speakers() -> list[Speaker]:
    """Programs that speak an IP protocol of their own (keepalived, bird); ICMP is decided elsewhere, 255 only sends."""
    raw = [(number, inode) for number, inode in sockets.raw_protocols() if number not in (0, 1, 6, 17, 58, 255)]
    names = _programs(frozenset(inode for _, inode in raw))
    return sorted({Speaker(names[inode], number) for number, inode in raw if inode in names})


def on_demand(root: Path) -> list[OnDemand]:
    """Programs that are installed and listen only while somebody uses them."""
    return [d for d in ON_DEMAND if any((root / place / d.server).exists() for place in ("usr/bin", "usr/local/bin"))]


def _rows(names: dict[int, str], tcp: list[Listener], udp: list[Listener]) -> list[Service]:
    found: dict[tuple[str, str, int], set[Prefix]] = {}
    everywhere: set[tuple[str, str, int]] = set()
    for protocol, listening in (("tcp", tcp), ("udp", udp)):
        for one in listening:
            key = (names.get(one.inode, "kernel"), protocol, one.port)
            if one.wildcard:
                everywhere.add(key)
            elif one.address is not None and not LOOPBACK.overlaps(one.address) and not LINK_LOCAL6.covers(one.address):
                found.setdefault(key, set()).add(one.address)
    rows = dict.fromkeys(everywhere, ()) | {key: tuple(sorted(a)) for key, a in found.items() if key not in everywhere}
    return [Service(*key, addresses) for key, addresses in sorted(rows.items())]


def _programs(inodes: frozenset[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for pid, held in sorted(sockets.holders(inodes).items()):
        try:
            name = read_text(f"/proc/{pid}/comm", 64).strip()
        except OSError:
            continue
        for inode in held:
            # systemd holds the sockets of services that it starts at the first connection.
            if found.get(inode, "systemd") == "systemd":
                found[inode] = name
    return found


def _ephemeral() -> int:
    try:
        return int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def forwarded() -> list[Forwarded]:
    """Ports that NAT sends on to an address that can be read."""
    found = []
    for one in other_firewalls.published():
        try:
            ssh = one.protocol == "tcp" and speaks_ssh(one.address, one.inside)
            found.append(Forwarded(one.protocol, one.port, parse_address(one.address), one.inside, ssh))
        except AddressError:
            continue
    return found
