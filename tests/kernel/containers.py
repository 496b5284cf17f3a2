"""A container host as Docker makes it: its chains, word for word, and a namespace as the container.

The rules are those of dockerd 27 with one published port, as `iptables-save` prints them (docs.docker.com, "Packet
filtering and firewalls"). No dockerd runs: it would need images, and changes nothing that a packet can tell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.kernel.lab import CLIENT4, Host, Pair, sh

INSIDE, GATEWAY, BRIDGE = "172.17.0.2", "172.17.0.1", "docker0"
PUBLISHED, SERVED = 8080, 80
FILTER = f"""*filter
:FORWARD DROP
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o {BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o {BRIDGE} -j DOCKER
-A FORWARD -i {BRIDGE} ! -o {BRIDGE} -j ACCEPT
-A FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i {BRIDGE} ! -o {BRIDGE} -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o {BRIDGE} -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o {BRIDGE} -j MASQUERADE
-A DOCKER -i {BRIDGE} -j RETURN
COMMIT
"""


class Docker:
    """The host's side. `start` writes its rules anew, as a restart of dockerd does."""

    def __init__(self, pair: Pair, container: Host) -> None:
        self.pair = pair
        self.container = container
        self.ports: list[tuple[int, int]] = []

    def start(self) -> None:
        """Write every chain, then the published ports."""
        self.pair.server.sh("iptables-nft-restore", stdin=FILTER)
        for outer, inner in self.ports:
            self._publish(outer, inner)

    def publish(self, outer: int, inner: int) -> None:
        """`docker run -p outer:inner`."""
        self.ports.append((outer, inner))
        self._publish(outer, inner)

    def _publish(self, outer: int, inner: int) -> None:
        self._add("nat", f"DOCKER ! -i {BRIDGE} -p tcp -m tcp --dport {outer} -j DNAT --to-destination {INSIDE}:{inner}")
        self._add("filter", f"DOCKER -d {INSIDE}/32 ! -i {BRIDGE} -o {BRIDGE} -p tcp -m tcp --dport {inner} -j ACCEPT")
        self._add("nat", f"POSTROUTING -s {INSIDE}/32 -d {INSIDE}/32 -p tcp -m tcp --dport {inner} -j MASQUERADE")

    def _add(self, table: str, rule: str) -> None:
        self.pair.server.sh("iptables-nft", "-t", table, "-A", *rule.split())

    def rules(self) -> str:
        """Its rules as they are in the kernel."""
        return "\n".join(x for x in self.pair.server.sh("iptables-nft-save").splitlines() if x[:1] in "*:-").split("[")[0]


@contextlib.contextmanager
def docker(pair: Pair) -> Iterator[Docker]:
    """The pair's server as a container host, with one container."""
    container = Host(f"{pair.server.name}-box")
    sh("ip", "netns", "add", container.name)
    try:
        for words in (
            f"link add {BRIDGE} type bridge", f"addr add {GATEWAY}/16 dev {BRIDGE}", f"link set {BRIDGE} up",
            f"link add veth0 master {BRIDGE} type veth peer name eth0 netns {container.name}", "link set veth0 up",
        ):  # fmt: skip
            pair.server.sh("ip", *words.split())
        for words in ("link set lo up", "link set eth0 up", f"addr add {INSIDE}/16 dev eth0", f"route add default via {GATEWAY}"):
            container.sh("ip", *words.split())
        pair.server.sysctl("net.ipv4.ip_forward", 1)
        pair.server.sh("ip", "route", "replace", "default", "via", CLIENT4)
        made = Docker(pair, container)
        made.start()
        made.publish(PUBLISHED, SERVED)
        yield made
    finally:
        sh("ip", "netns", "del", container.name, check=False)
