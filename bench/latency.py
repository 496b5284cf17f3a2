"""From the write of the line that decides to the element in the kernel: the whole guard, and Debian's fail2ban in the same run.

    sudo .venv/bin/python -m bench.latency

Both follow a file in a network namespace of their own, have the threshold of 5 in 10 minutes, and get the same lines. The
benchmark asks the kernel over netlink for the element until it is there. fail2ban bans with its own nftables-multiport
action, which starts an nft process.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.lab import Pair, make_pair, wait_for

from bench import machine, peers
from bench.guard import SET, address, appended, guarding, line, percentiles
from quietgate.host.netlink import SetWriter

OURS, THEIRS = 500, 60
LONGEST = 20.0  # seconds to wait for one ban


def one(log: Path, source: str, kernel: SetWriter, name: str, settle: float) -> float:
    """Four lines, then the fifth; seconds from its write to the kernel's yes."""
    key = bytes(int(p) for p in source.split("."))
    for _ in range(4):
        appended(log, line(source))
        time.sleep(settle / 4)
    begin = appended(log, line(source))
    while kernel.get(name, key) is None:
        if time.perf_counter() - begin > LONGEST:
            raise AssertionError(f"{source} was not banned in {LONGEST} s")
    return time.perf_counter() - begin


def measured(log: Path, kernel: SetWriter, name: str, count: int, first: int, settle: float) -> list[float]:
    dice = random.Random(first)
    found = []
    for n in range(count):
        found.append(one(log, address(first + n), kernel, name, settle))
        time.sleep(dice.uniform(0.005, 0.04))  # as attackers come, not in step with our commits
    return found


@contextlib.contextmanager
def fail2ban(pair: Pair, backend: str) -> Iterator[Path]:
    """Debian's fail2ban in the server's namespace, following a file; the file."""
    place = Path(tempfile.mkdtemp())
    log = place / "auth.log"
    log.touch()
    config = peers.fail2ban_config(place / "etc")
    (config / "fail2ban.local").write_text(f"[Definition]\nlogtarget = {place}/said\ndbfile = None\n")
    (config / "jail.local").write_text(
        "[DEFAULT]\nallowipv6 = no\nusedns = no\nignoreself = false\nbanaction = nftables-multiport\nbanaction_allports = nftables-allports\n"
        f"[sshd]\nenabled = true\nbackend = {backend}\nlogpath = {log}\nmaxretry = 5\nfindtime = 600\nbantime = 3600\n"
    )
    words = ["ip", "netns", "exec", pair.server.name, *peers.fail2ban("fail2ban-server"), "-f", "-c", str(config), "-s", f"{place}/sock",
             "-p", f"{place}/pid", "start"]  # fmt: skip
    child = subprocess.Popen(words, env=peers.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pair.children.append(child)
    wait_for(lambda: (place / "said").exists() and "Jail 'sshd' started" in (place / "said").read_text(), "fail2ban guards", 30)
    try:
        yield log
    finally:
        child.terminate()
        child.wait(30)


def main() -> None:
    print(machine.about())
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        with guarding(pair) as guard, pair.server.inside(), SetWriter() as kernel:
            measured(guard.log, kernel, SET, 20, 1_000_000, 0.02)  # warm
            print(machine.quiet(), flush=True)
            print(f"{f'ours, {OURS} bans':34} {percentiles(measured(guard.log, kernel, SET, OURS, 0, 0.02))}", flush=True)
            hundred = [(((20 << 24) + 2_000_000 + n).to_bytes(4, "big"), None) for n in range(100_000)]
            kernel.add(SET, hundred)
            print(f"{'  with 100,000 more in the set':34} {percentiles(measured(guard.log, kernel, SET, 200, 10_000, 0.02))}", flush=True)
        for backend in ("pyinotify", "polling"):
            with fail2ban(pair, backend) as log, pair.server.inside(), SetWriter("f2b-table") as kernel:
                one(log, address(20_000), kernel, "addr-set-sshd", 0.1)  # its action makes the table at the first ban
                found = measured(log, kernel, "addr-set-sshd", THEIRS, 30_000, 0.1)
                print(f"{f'fail2ban, {backend}, {THEIRS} bans':34} {percentiles(found)}", flush=True)


if __name__ == "__main__":
    main()
