"""From the write of the line that decides to the element in the kernel: the whole guard, and Debian's fail2ban in the same run.

    sudo .venv/bin/python -m bench.latency [--disk]      only with a slow disk and a quick one

Both follow a file in a network namespace of their own, have the threshold of 5 in 10 minutes, and get the same lines. The
benchmark hears of the element as `nft monitor` does, from the kernel once it is committed. (Asking in a loop would take the
processor that the guard wakes up on.) fail2ban bans with its own nftables-multiport action, which starts an nft process.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.lab import Pair, make_pair, wait_for

from bench import machine, peers
from bench.guard import address, appended, guarding, line, percentiles
from quietgate.host.netlink import BUFFER, NETLINK_NETFILTER, SO_RCVBUFFORCE

OURS, THEIRS = 500, 60
NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h
LONGEST = 20  # seconds to wait for one ban


class Monitor:
    """What is committed to nf_tables in the namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", LONGEST, 0))

    def forget(self) -> None:
        """Throw away what came until now."""
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1 << 20, socket.MSG_DONTWAIT):
                pass

    def hears(self, key: bytes) -> float:
        """The moment when a message with this key came. Raises BlockingIOError after LONGEST seconds without any."""
        while key not in self._socket.recv(1 << 20):
            pass
        return time.perf_counter()


def one(log: Path, source: str, monitor: Monitor, settle: float) -> float:
    """Four lines, then the fifth; seconds from its write to the kernel's commit."""
    for _ in range(4):
        appended(log, line(source))
        time.sleep(settle / 4)
    monitor.forget()
    begin = appended(log, line(source))
    return monitor.hears(bytes(int(p) for p in source.split("."))) - begin


def measured(log: Path, monitor: Monitor, count: int, first: int, settle: float) -> list[float]:
    dice = random.Random(first)
    found = []
    for n in range(count):
        found.append(one(log, address(first + n), monitor, settle))
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


def slow_disk(milliseconds: int) -> list[str]:
    """Words before a command whose every fsync shall take so much longer: strace's fault injection, which delays that thread alone."""
    return ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
            "-e", f"inject=fsync,fdatasync:delay_exit={milliseconds * 1000}"]  # fmt: skip


def main() -> None:
    print(machine.about())
    for milliseconds in (0, 100):
        with make_pair(Path(tempfile.mkdtemp())) as pair, guarding(pair, before=slow_disk(milliseconds)) as guard, pair.server.inside():
            monitor = Monitor()
            measured(guard.log, monitor, 20, 1_000_000, 0.02)  # warm
            print(
                f"{f'each fsync {milliseconds} ms later, 300 bans':34} {percentiles(measured(guard.log, monitor, 300, 0, 0.02))}",
                flush=True,
            )
    if "--disk" in sys.argv:
        return
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        with guarding(pair) as guard, pair.server.inside():
            print(machine.quiet(), flush=True)
            monitor = Monitor()
            measured(guard.log, monitor, 20, 1_000_000, 0.02)  # warm
            print(f"{f'ours, {OURS} bans':34} {percentiles(measured(guard.log, monitor, OURS, 0, 0.02))}", flush=True)
            pair.quietgate("ban", "--scope", "ssh", stdin="\n".join(address(2_000_000 + n) for n in range(100_000)))
            print(f"{'  with 100,000 more in the set':34} {percentiles(measured(guard.log, monitor, 200, 10_000, 0.02))}", flush=True)
        for backend in ("pyinotify", "polling"):
            with fail2ban(pair, backend) as log, pair.server.inside():
                monitor = Monitor()
                one(log, address(20_000), monitor, 0.1)  # its action makes the table at the first ban
                found = measured(log, monitor, THEIRS, 30_000, 0.1)
                print(f"{f'fail2ban, {backend}, {THEIRS} bans':34} {percentiles(found)}", flush=True)


if __name__ == "__main__":
    main()
