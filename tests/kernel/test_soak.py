"""Half an hour of everything at once: mixed lines, rotation each minute, restarts, reloads, flushes, a clock that jumps. Against
what the generator wrote no attempt is lost or counted twice, every attacker is banned, and memory stays flat.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import itertools
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from bench.guard import line

from tests.kernel.faults import resident
from tests.kernel.lab import Pair, wait_for
from tests.kernel.people import log_in
from tests.kernel.world import GUESSES, World, world

HOUR = 3600
NOISE = "{} host CRON[77]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)\n"
FLAT = 12_000_000  # bytes that the guard may grow by: it remembers thousands of new sources meanwhile


@dataclass
class Traffic:
    """What was written: how many guesses of each address; whom the policy bans for them."""

    w: World
    dice: random.Random
    made: Counter[str] = field(default_factory=Counter)
    attackers: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def _new(self) -> str:
        n = next(self._numbers)  # each in a /24 of its own, so that no neighbourhood is banned
        return f"{40 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.9"

    def little(self) -> None:
        """A tenth of a second of it."""
        # With stamps as they are: files that begin with the same lines cannot be told apart after a rotation.
        rows = [NOISE.format(datetime.datetime.now(datetime.UTC).isoformat()) for _ in range(10)]
        if self.dice.random() < 0.5:
            rows.append(self._guess(self._new()))  # one who guesses once
        if self.dice.random() < 0.2:
            attacker = self._new()
            self.attackers.append(attacker)
            rows += [self._guess(attacker) for _ in range(GUESSES)]
        self.dice.shuffle(rows)
        text = "".join(rows)
        cut = self.dice.randrange(len(text))
        for part in (text[:cut], text[cut:]):  # a line may come in two writes
            with self.w.guard.log.open("a") as log:
                log.write(part)

    def _guess(self, source: str) -> str:
        self.made[source] += 1
        return line(source)


def rotate(w: World, dice: random.Random) -> str:
    """As logrotate does it: rename, compressed or not, or copytruncate."""
    log = w.guard.log
    older = sorted(log.parent.glob("auth.log.*"), key=lambda p: int(p.name.split(".")[2]), reverse=True)
    for path in older:
        number = int(path.name.split(".")[2])
        if number >= 6:
            path.unlink()
        else:
            path.rename(log.with_name(path.name.replace(f".{number}", f".{number + 1}", 1)))
    how = dice.choice(("rename", "copytruncate"))
    if how == "rename":
        log.rename(log.with_name("auth.log.1"))
        log.touch()
    else:
        shutil.copy(log, log.with_name("auth.log.1"))
        os.truncate(log, 0)
    plain = log.with_name("auth.log.2")
    if plain.exists():
        packed = log.with_name("auth.log.2.gz")
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return how


def soak(pair: Pair, seconds: float, minute: float, seed: int) -> None:
    """`minute`: seconds between two rotations; everything else goes by it."""
    dice = random.Random(seed)
    with world(pair) as w:
        traffic = Traffic(w, dice)
        clock = pair.root / "clock"
        begin = time.monotonic()
        done = 0
        early = 0
        while (now := time.monotonic() - begin) < seconds:
            traffic.little()
            time.sleep(0.1)
            if now < (done + 1) * minute:
                continue
            done += 1
            rotate(w, dice)
            match done % 8:
                case 1:
                    w.guard.child.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
                case 2:
                    w.guard.stop()
                    traffic.little()
                    w.guard.start()
                case 3:
                    early = early or resident(w.pid())
                case 4:
                    w.guard.stop(9)
                    rotate(w, dice)
                    traffic.little()
                    w.guard.start()
                case 5:
                    pair.server.sh("nft", "flush", "ruleset")
                case 6:
                    clock.write_text(f"{2 * HOUR}\n")
                case 7:
                    clock.write_text("0\n")
        clock.write_text("0\n")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: counted(w) == traffic.made, "all is counted", 20)
        assert counted(w) == traffic.made, difference(w, traffic)
        wait_for(lambda: not [a for a in traffic.attackers if not w.in_kernel(a)], "every attacker is shut out", 20)
        told = w.guard.status() or {}
        assert told["trouble"] == ""
        assert all(s["trouble"] == "" for s in told["sources"])
        assert log_in(w.sshd), "the administrator gets in"
        assert resident(w.pid()) < (early or resident(w.pid())) + FLAT


def counted(w: World) -> Counter[str]:
    """Attempts in the store by address, without those that the world itself made."""
    db = sqlite3.connect(f"file:{w.state}/guard/quietgate.db?mode=ro", uri=True, timeout=10)
    try:
        rows = db.execute("SELECT address, sum(times) FROM attempts WHERE version=4 GROUP BY address").fetchall()
    finally:
        db.close()
    found = Counter({".".join(map(str, address)): times for address, times in rows})
    return Counter({a: n for a, n in found.items() if a.endswith(".9")})


def difference(w: World, traffic: Traffic) -> str:
    """For who reads the failure."""
    found = counted(w)
    return f"{found.total()} of {traffic.made.total()} are counted; lost {list((traffic.made - found).items())[:5]}, twice {list((found - traffic.made).items())[:5]}"


@pytest.mark.long
def test_half_a_minute_in_which_every_second_counts_as_a_minute(pair: Pair) -> None:
    soak(pair, 30, 1.5, 1)


@pytest.mark.long
def test_half_an_hour(pair: Pair) -> None:
    soak(pair, float(os.environ.get("QUIETGATE_SOAK", "1800")), 60, 2)
