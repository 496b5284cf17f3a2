"""What this host lives from and stands in: default gateways, resolvers, time servers, its addresses and networks. Bounded reads.

Addresses and routes come from the kernel (rtnetlink(7)), resolvers from resolv.conf(5) and systemd-resolved's own, time servers from
the configuration of timesyncd, chrony, ntpd and openntpd, and from what DHCP gave. A server that is named by host name is known
by the connected socket to its port 123, as long as there is one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from quietgate.host.netlink import attributes, parsed
from quietgate.host.reading import read_whole
from quietgate.net import BITS, AddressError, Prefix, parse_address
from quietgate.values import Surroundings

MOST_ADDRESSES = 256  # of each kind
MOST_FILES = 64
LONGEST = 1 << 16  # bytes of one file
MOST_ROUTES = 10_000  # a router with the whole Internet has a million; default routes come first in each table
HALF = 1  # bits: a default route, or one of the two halves that VPN clients put over it
NTP = 123
# linux/rtnetlink.h, linux/if_addr.h
RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 20, 22, 24, 26
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA = 1, 5, 9, 18
RTN_UNICAST = 1
REQUEST_DUMP = 0x301
RESOLV = ("etc/resolv.conf", "run/systemd/resolve/resolv.conf")
TIME = (
    "etc/systemd/timesyncd.conf", "etc/systemd/timesyncd.conf.d/*.conf", "run/systemd/timesyncd.conf.d/*.conf", "run/systemd/netif/state",
    "run/systemd/netif/links/*", "etc/chrony.conf", "etc/chrony/chrony.conf", "etc/chrony/conf.d/*.conf", "etc/chrony/sources.d/*.sources",
    "run/chrony-dhcp/*.sources", "run/chrony.d/*.sources", "etc/ntp.conf", "etc/ntpsec/ntp.conf", "etc/ntpd.conf", "etc/openntpd/ntpd.conf",
)  # fmt: skip
_TIME_WORDS = {"server", "pool", "peer", "servers", "sourcedir"}


def surroundings(root: Path) -> Surroundings:
    """Look. What cannot be read is missing; raises nothing."""
    own: list[Prefix] = []
    networks: list[Prefix] = []
    gateways: list[Prefix] = []
    with contextlib.suppress(OSError):
        for address, network in _addresses():
            own.append(address)
            networks.append(network)
    with contextlib.suppress(OSError):
        gateways.extend(_gateways())
    needed = [
        *(("the default gateway", g) for g in gateways[:MOST_ADDRESSES]),
        *(("a resolver", a) for a in _most(_resolvers(root))),
        *(("a time server", a) for a in _most((*_time_servers(root), *_time_peers()))),
    ]
    mine = set(own)
    return Surroundings(tuple(sorted(mine)), tuple(sorted(set(networks))), tuple(dict.fromkeys(n for n in needed if n[1] not in mine)))


def _most(found: Iterable[Prefix]) -> list[Prefix]:
    return [p for _, p in zip(range(MOST_ADDRESSES), found, strict=False)]


# -- the kernel


def _dump(kind: int, header: bytes) -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as s:
        s.bind((0, 0))
        s.settimeout(5)
        s.send(struct.pack("<IHHII", 16 + len(header), kind, REQUEST_DUMP, 1, 0) + header)
        while True:
            for reply, _, body in parsed(s.recv(1 << 18)):
                if reply in (2, 3):  # NLMSG_ERROR, NLMSG_DONE
                    return
                yield reply, body


def _addresses() -> Iterator[tuple[Prefix, Prefix]]:
    """Each address of this host, and the network that it is in."""
    for kind, body in _dump(RTM_GETADDR, bytes(8)):
        if kind != RTM_NEWADDR or len(body) < 8:
            continue
        found = dict(attributes(body[8:]))
        raw, peer, length = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS), found.get(IFA_ADDRESS), body[1]
        if raw is None or len(raw) not in (4, 16) or length > len(raw) * 8:
            continue
        address = _address(raw)
        # Of a point-to-point link the other end's network counts.
        far = _address(peer) if peer is not None and len(peer) == len(raw) else address
        yield address, Prefix.of(far.version, far.value, length)


def _gateways() -> Iterator[Prefix]:
    """The next hops of default routes, in every table."""
    header = struct.pack("<BBBBBBBBI", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for count, (kind, body) in enumerate(_dump(RTM_GETROUTE, header)):
        if count > MOST_ROUTES:
            return
        if kind != RTM_NEWROUTE or len(body) < 12 or body[1] > HALF or body[7] != RTN_UNICAST:
            continue
        found = dict(attributes(body[12:]))
        yield from _hops(found)
        paths = found.get(RTA_MULTIPATH, b"")
        while len(paths) >= 8:  # struct rtnexthop: length, flags, hops, interface, then its attributes
            length = struct.unpack_from("<H", paths)[0]
            if length < 8 or length > len(paths):
                break
            yield from _hops(dict(attributes(paths[8:length])))
            paths = paths[(length + 3) & ~3 :]


def _hops(found: dict[int, bytes]) -> Iterator[Prefix]:
    for raw in (found.get(RTA_GATEWAY, b""), found.get(RTA_VIA, b"")[2:]):  # RTA_VIA begins with the family
        if len(raw) in (4, 16):
            yield _address(raw)


def _address(raw: bytes) -> Prefix:
    return parse_address(socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw))


def _time_peers() -> Iterator[Prefix]:
    """Where connected UDP sockets of this host ask for the time."""
    for name, length in (("udp", 8), ("udp6", 32)):
        with contextlib.suppress(OSError, ValueError):
            for line in Path("/proc/thread-self/net", name).read_text().splitlines()[1:]:
                address, _, port = line.split()[2].partition(":")
                if int(port, 16) == NTP and len(address) == length:
                    words = (bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, length, 8))  # each word little endian
                    yield _address(b"".join(words))


# -- files


def _resolvers(root: Path) -> Iterator[Prefix]:
    for file in RESOLV:
        for line in _lines(root / file):
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                yield from _literal(words[1])


def _time_servers(root: Path) -> Iterator[Prefix]:
    left = MOST_FILES
    for pattern in TIME:
        with contextlib.suppress(OSError):
            for file in sorted(root.glob(pattern))[: max(0, left)]:
                left -= 1
                for line in _lines(file):
                    key, is_setting, value = line.partition("=")
                    if is_setting and key.strip() in ("NTP", "FallbackNTP"):
                        words = value.split()
                    else:
                        found = line.split()
                        words = found[1:3] if found and found[0].lower() in _TIME_WORDS else []
                    for word in words:
                        yield from _literal(word)


def _lines(file: Path) -> list[str]:
    try:
        text = read_whole(file, LONGEST, follow=True).decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "#", ";", "!")]


def _literal(text: str) -> Iterator[Prefix]:
    with contextlib.suppress(AddressError):
        found = parse_address(text.strip("[]"))
        if found.value and found.length == BITS[found.version]:
            yield found
