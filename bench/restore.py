"""100,000 bans over a `kill -9` of the guard, and over the loss of the table: how soon all are back, and how soon a new one is made.

    sudo .venv/bin/python -m bench.restore

The guard makes the 100,000 bans itself, from 500,000 lines, so that its store holds what a real one holds: bans, offenders,
attempts. Everything happens in a network namespace of its own.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.kernel.lab import Pair, make_pair, wait_for

from bench import machine
from bench.guard import SET, Guard, address, guarding, line, percentiles
from bench.latency import Monitor, measured, one
from quietgate.firewall.names import TABLE
from quietgate.host.netlink import SetWriter

BANS = 100_000
AT_ONCE = 2_000  # attackers whose lines are appended together


def key(n: int) -> bytes:
    return bytes(int(p) for p in address(n).split("."))


def attacked(guard: Guard, count: int) -> float:
    """As many attackers, banned by the guard; seconds."""
    begin = time.perf_counter()
    for first in range(0, count, AT_ONCE):
        with guard.log.open("a") as log:
            log.write("".join(line(address(n)) for _ in range(5) for n in range(first, min(first + AT_ONCE, count))))
    wait_for(lambda: (guard.status() or {}).get("bans") == count, "all are banned", 300)
    return time.perf_counter() - begin


def held(pair: Pair) -> int:
    """How many elements the kernel's set has: asked of nft, which takes seconds."""
    return pair.server.sh("nft", "list", "set", "inet", TABLE, SET).count("timeout") - 1


def after_start(guard: Guard, monitor: Monitor, n: int) -> tuple[float, float]:
    """Start a guard and attack at once; seconds until that ban is in the kernel, and until the guard answers."""
    begin = time.perf_counter()
    guard.start(wait=False)
    new = one(guard.log, address(n), monitor, 0.0)  # its own time is from the last line on
    banned = time.perf_counter() - begin
    wait_for(lambda: guard.status() is not None, "the guard answers", 60)
    print(f"{'  the guard answers after':52} {time.perf_counter() - begin:8.3f} s  (the ban {new:.3f} s after its line)", flush=True)
    return banned, new


def main() -> None:
    print(machine.about())
    with make_pair(Path(tempfile.mkdtemp())) as pair, guarding(pair, '[bans]\njitter = 0\nsteps = ["1d"]\n') as guard:
        print(machine.quiet(), flush=True)
        print(f"{f'{BANS:,} sources attack and are banned, 5 lines each':52} {attacked(guard, BANS):8.3f} s", flush=True)
        with pair.server.inside(), SetWriter() as kernel:
            monitor = Monitor()
            print(f"{'a new one then':52} {percentiles(measured(guard.log, monitor, 100, 200_000, 0.02))}", flush=True)
            del monitor
            time.sleep(2)  # the commit of the last attempts
            print(machine.quiet(), flush=True)
            guard.stop(9)
            assert kernel.get(SET, key(0)) is not None, "the kernel keeps them"
            monitor = Monitor()
            banned, _ = after_start(guard, monitor, 300_000)
            print(f"{'kill -9, start: a new attacker is banned after':52} {banned:8.3f} s", flush=True)
            del monitor
            assert held(pair) >= BANS
            guard.stop(9)
            pair.server.sh("nft", "delete", "table", "inet", TABLE)
            print(machine.quiet(), flush=True)
            begin = time.perf_counter()
            child = subprocess.Popen(["ip", "netns", "exec", pair.server.name, *boot(pair)], stdout=subprocess.DEVNULL)
            while kernel.get(SET, key(0)) is None or kernel.get(SET, key(BANS - 1)) is None:
                time.sleep(0.002)
            back = time.perf_counter() - begin
            child.wait(60)
            print(f"{'table deleted, quietgate boot: all are back after':52} {back:8.3f} s", flush=True)
            print(f"{'  the whole command':52} {time.perf_counter() - begin:8.3f} s", flush=True)
            assert held(pair) >= BANS
            guard.start()
            monitor = Monitor()
            print(f"{'a new one then':52} {percentiles(measured(guard.log, monitor, 100, 400_000, 0.02))}", flush=True)
            del monitor
            pair.server.sh("nft", "flush", "ruleset")
            begin = time.perf_counter()
            while kernel.get(SET, key(0)) is None or kernel.get(SET, key(BANS - 1)) is None:
                time.sleep(0.002)
            print(f"{'ruleset flushed by another: all are back after':52} {time.perf_counter() - begin:8.3f} s", flush=True)


def boot(pair: Pair) -> list[str]:
    from tests.kernel.lab import QUIETGATE

    return [str(QUIETGATE), "--root", str(pair.root), "boot"]


if __name__ == "__main__":
    main()
