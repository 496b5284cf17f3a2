"""The switch: a candidate that is armed and not confirmed disappears by itself, on all four hooks."""

from __future__ import annotations

import socket

import pytest

from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.firewall.rules import Ruleset
from quietgate.policy.load import load
from quietgate.values import File
from tests.kernel.lab import CLIENT4, SERVER4, Pair, wait_for


def compiled(policy: str) -> Ruleset:
    return compile_policy(load([File("p.toml", policy.encode())]).policy, Facts(Door((22,), bound=False), {}))


OPEN = ""
CLOSED = '[ssh]\nfrom = ["198.51.100.1"]\n[firewall]\ndefault = "drop"\noutput = "drop"\nforward = "drop"\n'
ARM = "add element inet quietgate trial { ipv4 timeout 2s, ipv6 timeout 2s }\n"


def gets_in(pair: Pair) -> bool:
    return pair.client.banner(CLIENT4, SERVER4, timeout=0.2)


def gets_out(pair: Pair) -> bool:
    s = pair.server.connect(SERVER4, CLIENT4, 8080, timeout=0.2)
    if s is not None:
        s.close()
    return s is not None


def passes_through(pair: Pair) -> bool:
    """From the client to a third host behind the server, and back."""
    s = pair.client.connect(CLIENT4, "198.51.100.2", 8081, timeout=0.2)
    if s is not None:
        s.close()
    return s is not None


@pytest.fixture
def routed(pair: Pair) -> Pair:
    """The server is a router as well, with a host behind it; the client serves on 8080."""
    pair.sshd()
    third = pair.start(pair.server, "unshare", "-n", "sleep", "1000")
    wait_for(lambda: _moved(pair, third.pid), "the third host")
    pair.server.sh("ip", "link", "add", "dmz", "type", "veth", "peer", "name", "dmz0", "netns", str(third.pid))
    inside = ("nsenter", "-t", str(third.pid), "-n")
    pair.server.sh("ip", "addr", "add", "198.51.100.254/24", "dev", "dmz")
    pair.server.sh("ip", "link", "set", "dmz", "up")
    for words in (
        ("addr", "add", "198.51.100.2/24", "dev", "dmz0"),
        ("link", "set", "dmz0", "up"),
        ("route", "add", "default", "via", "198.51.100.254"),
    ):
        pair.server.sh(*inside, "ip", *words)
    pair.server.sysctl("net.ipv4.ip_forward", 1)
    pair.client.sh("ip", "route", "add", "198.51.100.0/24", "via", SERVER4)
    serve = "import socket,time; s=socket.create_server(('', 8081)); time.sleep(1000)"
    pair.start(pair.server, *inside, "python3", "-c", serve)
    wait_for(lambda: passes_through(pair), "the way through is open")
    return pair


def _moved(pair: Pair, pid: int) -> bool:
    """True once it has a namespace of its own: not the one it comes from, nor the server's, which it passes through."""
    from pathlib import Path

    passed = {Path(p).stat().st_ino for p in ("/proc/self/ns/net", f"/run/netns/{pair.server.name}")}
    return Path(f"/proc/{pid}/ns/net").stat().st_ino not in passed


@pytest.mark.parametrize("hook", ["prerouting", "input", "output", "forward"])
def test_what_a_candidate_closes_is_open_again_when_nobody_confirms(routed: Pair, hook: str) -> None:
    pair = routed
    with pair.client.inside():
        listener = socket.create_server((CLIENT4, 8080))
    candidate = render(Generation(1, compiled(OPEN)), Generation(2, compiled(CLOSED)))
    ways = {"input": gets_in, "output": gets_out, "forward": passes_through, "prerouting": gets_in}
    if hook == "prerouting":  # the candidate drops before everything else
        candidate = candidate.replace("chain g2_pre {", "chain g2_pre {\n\t\tdrop", 1)
    way = ways[hook]
    pair.server.nft(render(Generation(1, compiled(OPEN))))
    assert way(pair)
    pair.server.nft(candidate + ARM)
    assert not way(pair)
    wait_for(lambda: way(pair), "open again, with nobody's help", 4)
    with pytest.raises(AssertionError, match="No such file"):  # a confirmation that comes too late
        pair.server.sh("nft", "delete element inet quietgate trial { ipv4, ipv6 }")
    listener.close()
