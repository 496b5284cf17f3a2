"""A disk that does not answer: bans are made, attempts are kept, and all of it is written when it answers."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import QUIETGATE, Pair, wait_for

A, B = "198.19.67.1", "198.19.67.2"
POLICY = '[ssh]\nlimit = "30 per 1m"\n'


def start_on_slow_disk(g: Guarded, seconds: float) -> None:
    """The guard, each of whose fsyncs takes that much longer (strace's fault injection; other threads go on)."""
    inject = f"inject=fsync,fdatasync:delay_exit={int(seconds * 1e6)}"
    words = ["ip", "netns", "exec", g.pair.server.name, "strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject,
             str(QUIETGATE), "--root", str(g.pair.root), "run"]  # fmt: skip
    g.said = (g.pair.root / "guard.err").open("ab")
    g.guard = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=g.said, stderr=g.said)
    g.pair.children.append(g.guard)
    wait_for(lambda: g.status() is not None, "the guard answers", 120)


def pid(g: Guarded) -> int:
    status = g.status()
    assert status is not None
    return int(status["pid"])


def kept(pair: Pair) -> set[str]:
    return {json.loads(line)["prefix"] for line in pair.quietgate("bans", "--json").splitlines()}


def failed(pair: Pair, address: str) -> int:
    rows = [json.loads(line) for line in pair.quietgate("why", address, "--json").splitlines()]
    return sum(h["times"] for r in rows for h in r["history"] if h["outcome"] == "failed")


@pytest.mark.long  # each fsync of the start is late, too
@pytest.mark.parametrize("how", [15, 9])
def test_bans_do_not_wait_for_it_and_nothing_is_lost(pair: Pair, how: int) -> None:
    with guarded(pair, "PermitRootLogin yes", policy=POLICY, start=False) as g:
        start_on_slow_disk(g, 6.0)
        for source in (A, B):
            for _ in range(2):
                g.guess(source, "root", 3)
            wait_for(lambda source=source: g.banned(source), "it is banned all the same", 5)  # type: ignore[misc]
        wait_for(lambda: "the disk has not answered" in json.dumps(g.status()), "it is said", 15)
        assert g.guard is not None
        subprocess.run(["kill", f"-{how}", str(pid(g))], check=True)
        g.guard.wait(100)
        if how == 15:
            assert kept(pair) == {A, B}, "what was on its way is written before it ends"
        g.start()
        wait_for(lambda: kept(pair) >= {A, B}, "they are written down", 20)
        assert g.banned(A)
        assert g.banned(B)
        for source in (A, B):  # the ban cuts the last connection
            tried = g.log.read_text().count(f"Failed password for root from {source} ")
            assert tried >= 5
            wait_for(lambda s=source, n=tried: failed(pair, s) == n, "each attempt counts once", 10)  # type: ignore[misc]
        assert not re.search("Traceback|bug of ours", (pair.root / "guard.err").read_text())
