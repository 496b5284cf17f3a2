"""Published ports of containers: past every inbound rule, unless the policy decides about forwarded packets too."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from tests.kernel.containers import INSIDE, PUBLISHED, SERVED, Docker, docker
from tests.kernel.lab import CLIENT4, SERVER4, Host, Pair

pytestmark = pytest.mark.long
STRANGER, BANNED = "198.19.1.1", "198.19.1.2"
DROP = '[firewall]\nforward = "drop"\n'
RULE = f'[[firewall.rule]]\nname = "web"\ndirection = "forward"\nports = [{SERVED}]\nto = ["{INSIDE}"]\n'


@contextlib.contextmanager
def serving(host: Host, *ports: int) -> Iterator[None]:
    """A server on those ports: the kernel takes the connections, nobody has to accept them."""
    with contextlib.ExitStack() as open_ports, host.inside():
        for port in ports:
            open_ports.enter_context(socket.create_server(("0.0.0.0", port), backlog=64))
        yield


@pytest.fixture
def box(pair: Pair) -> Iterator[Docker]:
    with docker(pair) as made, serving(made.container, SERVED, 81):
        yield made


def reaches(host: Host, target: str, port: int, source: str) -> bool:
    s = host.connect(source, target, port, timeout=0.5)
    if s is not None:
        s.close()
    return s is not None


def published(pair: Pair, port: int = PUBLISHED, source: str = STRANGER) -> bool:
    return reaches(pair.client, SERVER4, port, source)


def out_of_the_box(box: Docker) -> bool:
    """The container reaches a server of the outer world."""
    with serving(box.pair.client, 443):
        return reaches(box.container, CLIENT4, 443, INSIDE)


def findings(pair: Pair) -> dict[str, dict[str, str]]:
    return {f["id"]: f for f in json.loads(pair.run("doctor", "--json").stdout)["findings"]}


def test_by_default_docker_decides_and_doctor_says_so(pair: Pair, box: Docker) -> None:
    before = box.rules()
    pair.up('[firewall]\ndefault = "drop"\n')
    assert published(pair), "forwarded packets are left to others, even with a closed input"
    assert out_of_the_box(box)
    assert f"tcp {PUBLISHED} to {INSIDE}:{SERVED}" in findings(pair)["bypass"]["what"]
    assert box.rules() == before
    pair.quietgate("down")
    assert box.rules() == before


def test_a_ban_from_the_whole_host_holds_for_containers_too(pair: Pair, box: Docker) -> None:
    pair.up()
    assert published(pair, source=BANNED)
    pair.quietgate("ban", BANNED, "--for", "1h", "--scope", "host")
    assert not published(pair, source=BANNED)
    assert published(pair)


def test_forward_drop_blocks_what_has_no_rule(pair: Pair, box: Docker) -> None:
    pair.up(DROP)
    assert not published(pair)
    assert not out_of_the_box(box)
    pair.up(DROP + RULE)
    assert published(pair)
    assert "unpublished" not in findings(pair)

    box.publish(8081, 81)
    assert not published(pair, 8081), "a container that is published later waits for its rule"
    finding = findings(pair)["unpublished"]
    assert f"tcp 8081 to {INSIDE}:81" in finding["what"]
    assert f"{INSIDE}:{SERVED}" not in finding["what"]
    pair.up(DROP + RULE + RULE.replace("web", "more").replace(str(SERVED), "81"))
    assert published(pair, 8081)


def test_a_restart_of_docker_leaves_ours_alone(pair: Pair, box: Docker) -> None:
    pair.up(DROP + RULE)
    box.start()
    assert "up: " in pair.quietgate("status")
    pair.quietgate("diff")
    assert published(pair)
    pair.server.sh("iptables-nft", "-I", "DOCKER-USER", "-s", STRANGER, "-j", "DROP")
    assert not published(pair), "and an administrator's rules in DOCKER-USER go on working"
    assert published(pair, source=BANNED)


def test_init_closed_proposes_the_rules(pair: Pair, box: Docker) -> None:
    pair.sshd()
    pair.quietgate("init", "--closed")
    text = (pair.root / "etc/quietgate/quietgate.toml").read_text()
    assert 'forward = "drop"' in text
    assert f'name = "publish-tcp-{PUBLISHED}"' in text
    pair.quietgate("up", "--now")
    assert published(pair)
    assert out_of_the_box(box), "containers may open connections of their own"
    box.publish(8081, 81)
    assert not published(pair, 8081)
    assert pair.client.banner(STRANGER, SERVER4)
