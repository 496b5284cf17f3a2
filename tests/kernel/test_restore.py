"""Tens of thousands of bans over a `kill -9`, over the loss of the table, and over a boot: all are back, and the guard goes on."""

from __future__ import annotations

import time

import pytest
from bench.guard import SET, Guard, address, appended, guarding, line

from quietgate.firewall.names import TABLE
from quietgate.host.netlink import SetWriter
from tests.kernel.lab import Pair, wait_for

BANS = 30_000
LONG = '[bans]\nsteps = ["1d"]\n'


def key(n: int) -> bytes:
    return bytes(int(p) for p in address(n).split("."))


def filled(guard: Guard) -> None:
    """The guard bans them all itself."""
    with guard.log.open("a") as log:
        log.write("".join(line(address(n)) for _ in range(5) for n in range(BANS)))
    wait_for(lambda: (guard.status() or {}).get("bans") == BANS, "all are banned", 150)


def held(pair: Pair) -> int:
    return pair.server.sh("nft", "list", "set", "inet", TABLE, SET, timeout=120).count("expires")


def bans(pair: Pair, guard: Guard, n: int) -> None:
    """A new attacker is banned; soon, although the machine of the tests is busy."""
    begin = time.monotonic()
    appended(guard.log, "".join(line(address(n)) for _ in range(5)))
    with pair.server.inside(), SetWriter() as kernel:
        wait_for(lambda: kernel.get(SET, key(n)) is not None, "the new one is banned", 10)
    assert time.monotonic() - begin < 5


@pytest.mark.long
def test_thirty_thousand_bans_are_back(pair: Pair) -> None:
    with guarding(pair, LONG) as guard:
        filled(guard)
        guard.stop(9)
        assert held(pair) == BANS, "the kernel keeps them"
        pair.server.sh("nft", "delete", "element", "inet", TABLE, SET, "{", f"{address(7)}", "}")
        guard.start(wait=False)
        bans(pair, guard, 50_000)
        wait_for(lambda: held(pair) == BANS + 1, "also the one that somebody took out", 30)
        guard.stop(9)
        pair.server.sh("nft", "delete", "table", "inet", TABLE)
        pair.quietgate("boot")
        assert held(pair) == BANS + 1
        guard.start()
        bans(pair, guard, 50_001)
        pair.server.sh("nft", "flush", "set", "inet", TABLE, SET)
        wait_for(lambda: held(pair) == BANS + 2, "a flushed set is full again", 30)
        pair.server.sh("nft", "flush", "ruleset")
        wait_for(lambda: TABLE in pair.server.sh("nft", "list", "tables") and held(pair) == BANS + 2, "so is the table", 30)
        bans(pair, guard, 50_002)
    assert len(pair.quietgate("bans", "--json").splitlines()) == BANS + 3
