"""Every way by which our rules get into the kernel ends without drift, in whatever order nft lists them afterwards."""

from __future__ import annotations

import json
import re

import pytest

from tests.kernel.lab import Pair

pytestmark = pytest.mark.kernel
FIRST = '[ssh]\nfrom = ["198.18.0.0/15", "2001:db8::/32"]\n[firewall]\ndefault = "drop"\n'
SECOND = FIRST + '[[firewall.rule]]\nname = "web"\nports = [80, 443]\nprotocol = "tcp"\naction = "accept"\n'


def verdict(pair: Pair) -> tuple[str, str]:
    found = json.loads(pair.quietgate("status", "--json"))
    return found["verdict"], found["why"]


def whole(pair: Pair, path: str) -> None:
    word, why = verdict(pair)
    assert word == "unguarded", f"after {path}: {word}: {why}"


@pytest.mark.long
def test_no_way_into_the_kernel_ends_with_drift(pair: Pair) -> None:
    pair.up(FIRST)
    whole(pair, "the first up")
    pair.up(SECOND)
    whole(pair, "an up into a table that is there")
    pair.quietgate("boot")
    whole(pair, "a boot into a table that is there")
    pair.server.nft("delete table inet quietgate")
    pair.quietgate("boot")
    whole(pair, "a boot after a change of the policy: the base chains come last now, and came first")
    pair.quietgate("refresh")
    whole(pair, "a refresh")
    pair.quietgate("revert")
    whole(pair, "a revert")
    pair.server.nft("delete table inet quietgate")
    pair.quietgate("refresh")
    whole(pair, "a refresh that put it back")
    pair.policy(SECOND)
    pair.quietgate("up", "--trial", "10s", "--detach")
    pair.quietgate("confirm", "--anyway")
    whole(pair, "a trial that was confirmed")
    pair.quietgate("down")
    pair.quietgate("boot")
    whole(pair, "down and boot")


@pytest.mark.parametrize(
    "change",
    [
        "add rule inet quietgate input counter",
        "add chain inet quietgate mine",
        "insert rule inet quietgate g1_in accept",
    ],
)
def test_what_somebody_else_changes_is_drift(pair: Pair, change: str) -> None:
    pair.up(FIRST)
    pair.server.nft(change)
    assert verdict(pair)[0] == "drift"


def test_an_element_that_somebody_else_adds_is_drift(pair: Pair) -> None:
    pair.up(FIRST)
    listed = pair.server.sh("nft", "-t", "list", "table", "inet", "quietgate")
    name = next(m for m in re.findall(r"set (g1_\w+) \{\s+type ipv4_addr", listed))
    pair.server.nft(f"add element inet quietgate {name} {{ 192.0.2.1 }}")
    assert verdict(pair)[0] == "drift"


def test_base_chains_that_somebody_else_emptied_decide_nothing(pair: Pair) -> None:
    pair.up(FIRST)
    pair.server.nft("flush chain inet quietgate input")
    assert verdict(pair)[0] == "down"
