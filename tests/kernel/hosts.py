"""Five kinds of host, each with what usually listens there; `up` to the names, nothing of it is acted."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.host.records import utmp, write_wtmp
from tests.kernel import listen
from tests.kernel.lab import CLIENT4, CLIENT6, SERVER4, SERVER6, Host, Pair, wait_for

DAY = 86400


@dataclass(frozen=True)
class Kind:
    """A host: its programs (name, user, sockets), what else is done to it, which IP versions it has.

    `used`: sockets as the client sees them, address left to the IP versions, like "tcp:443".
    """

    name: str
    programs: tuple[tuple[str, ...], ...] = ()
    used: tuple[str, ...] = ()
    versions: tuple[int, ...] = (4, 6)
    further: Callable[[Pair], int | None] = lambda _: None


def both(*sockets: str) -> tuple[str, ...]:
    """Each on all IPv4 and all IPv6 addresses: "tcp:80"."""
    return tuple(f"{s.split(':')[0]}:{a}:{s.split(':')[1]}" for s in sockets for a in ("0.0.0.0", "[::]"))


def containers(pair: Pair) -> int:
    """Its process: a container behind docker0 with its published ports, in iptables-nft's words as Docker 20 to 27 writes them."""
    inner = pair.start(pair.server, "unshare", "-n", sys.executable, listen.__file__, "nginx", "root", "tcp:0.0.0.0:80", "tcp:0.0.0.0:81",
                       "udp:0.0.0.0:514")  # fmt: skip
    wait_for(lambda: named(inner.pid, "nginx"), "the container")
    server = pair.server
    server.sh("ip", "link", "add", "docker0", "type", "bridge")
    server.sh("ip", "link", "add", "veth1", "type", "veth", "peer", "name", "eth0", "netns", str(inner.pid))
    server.sh("ip", "link", "set", "veth1", "master", "docker0", "up")
    server.sh("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
    server.sh("ip", "link", "set", "docker0", "up")
    for words in ("addr add 172.17.0.2/16 dev eth0", "link set eth0 up", "link set lo up", "route add default via 172.17.0.1"):
        server.sh("nsenter", "-t", str(inner.pid), "-n", "ip", *words.split())
    server.sysctl("net.ipv4.ip_forward", 1)
    for rule in (
        "-t nat -N DOCKER",
        "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "-P FORWARD DROP",
        "-N DOCKER",
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -o docker0 -j DOCKER",
        "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
    ):
        server.sh("iptables-nft", *rule.split())
    publish(pair, "tcp", 8080, 80)
    publish(pair, "udp", 5514, 514)
    return inner.pid


def publish(pair: Pair, protocol: str, port: int, inside: int, at: str = "") -> None:
    """What `docker run -p` does."""
    at = f"-d {at} " if at else ""
    for rule in (
        f"-t nat -A DOCKER {at}! -i docker0 -p {protocol} -m {protocol} --dport {port} -j DNAT --to-destination 172.17.0.2:{inside}",
        f"-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p {protocol} -m {protocol} --dport {inside} -j ACCEPT",
    ):
        pair.server.sh("iptables-nft", *rule.split())


def without_ipv4(pair: Pair) -> None:
    pair.server.sh("ip", "-4", "addr", "flush", "dev", "eth0")


def tunnel(pair: Pair) -> None:
    """A socket of the kernel's own, as WireGuard has one: no process holds it, and its port is a high one."""
    pair.server.sh("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "51820", "local", SERVER4)
    pair.server.sh("ip", "link", "set", "vx0", "up")


KINDS = (
    Kind("plain", (("chronyd", "nobody", "udp:127.0.0.1:323"), ("dhclient", "root", "udp:0.0.0.0:68"))),
    Kind(
        "web",
        (
            ("nginx", "root", *both("tcp:80", "tcp:443", "udp:443")),
            ("mysqld", "nobody", "tcp:127.0.0.1:3306"),
            ("php-fpm8.2", "nobody", "tcp:127.0.0.1:9000"),
            ("redis-server", "nobody", "tcp:127.0.0.1:6379", "tcp:[::1]:6379"),
            ("node_exporter", "nobody", f"tcp:{SERVER4}:9100"),
        ),
        ("tcp:80", "tcp:443", "udp:443"),
    ),
    Kind(
        "mail",
        (
            ("master", "root", *both("tcp:25", "tcp:465", "tcp:587")),
            ("dovecot", "root", *both("tcp:143", "tcp:993", "tcp:4190")),
            ("rspamd", "nobody", "tcp:127.0.0.1:11332"),
            ("opendkim", "nobody", "tcp:127.0.0.1:8891"),
            ("named", "nobody", f"tcp:{SERVER4}:53", f"udp:{SERVER4}:53", f"tcp:[{SERVER6}]:53", f"udp:[{SERVER6}]:53"),
        ),
        ("tcp:25", "tcp:465", "tcp:587", "tcp:143", "tcp:993", "tcp:4190", "tcp:53", "udp:53"),
    ),
    Kind("containers", (("docker-proxy", "root", *both("tcp:8080")), ("dockerd", "root", "tcp:127.0.0.1:2375")), ("tcp:8080",), further=containers),
    Kind("ipv6-only", (("nginx", "root", "tcp:[::]:80"), ("postgres", "nobody", "tcp:[::1]:5432")), ("tcp:80",), (6,), without_ipv4),
)  # fmt: skip


def set_up(pair: Pair, kind: Kind) -> int | None:
    """Make the server such a host, with an sshd, and with two logins that it remembers. The container's process, if any."""
    inner = kind.further(pair)
    pair.sshd()
    for program in kind.programs:
        serve(pair, *program)
    now = time.time()
    who = [("anna", CLIENT4, 3 * DAY + 60)] if 4 in kind.versions else []
    write_wtmp(pair.root, *(utmp(u, a, now - ago) for u, a, ago in (*who, ("bert", CLIENT6, DAY + 60))))
    return inner


def serve(pair: Pair, name: str, user: str, *sockets: str, host: Host | None = None) -> None:
    """A program of that name that listens on the server, or on another host."""
    process = pair.start(host or pair.server, sys.executable, listen.__file__, name, user, *sockets)
    wait_for(lambda: named(process.pid, name), f"{name} listens")


def named(pid: int, name: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]
    except OSError:
        return False


def reached(pair: Pair, what: str, version: int, source: str = "", target: str = "") -> bool:
    """True if a program answers there: "tcp:443", asked from the client."""
    protocol, port = what.split(":")
    source = source or (CLIENT4 if version == 4 else CLIENT6)
    target = target or (SERVER4 if version == 4 else SERVER6)
    if protocol == "tcp":
        return pair.client.banner(source, target, int(port), timeout=0.3)
    with pair.client.inside():
        s = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with s:
        s.settimeout(0.3)
        s.connect((target, int(port)))
        s.send(b"?")
        try:
            return bool(s.recv(100))
        except OSError:
            return False
