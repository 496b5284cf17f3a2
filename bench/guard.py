"""A guard that runs in a namespace and follows a file which the benchmark writes: no sshd, so that nothing else is measured."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.kernel.lab import QUIETGATE, Pair, wait_for

from quietgate.firewall.names import ban
from quietgate.net import Counting
from quietgate.values import Scope

SET = ban(4, Scope.SSH, Counting())
_pids = itertools.cycle(range(1000, 4_000_000))


def line(address: str, pid: int = 0) -> str:
    """A wrong password of an ordinary name, as sshd and rsyslog write it."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    return f"{stamp} host sshd[{pid or next(_pids)}]: Failed password for bob from {address} port 4242 ssh2\n"


def address(n: int) -> str:
    """The nth attacker: each in a /24 of its own, so that no neighbourhood is banned as a whole."""
    return f"{20 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.7"


class Guard:
    """`quietgate run` over `<root>/var/log/auth.log`."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.log = pair.root / "var/log/auth.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        self.before: list[str] = []  # words before the command

    def start(self, *, wait: bool = True) -> None:
        words = ["ip", "netns", "exec", self.pair.server.name, *self.before, str(QUIETGATE), "--root", str(self.pair.root), "run"]
        said = (self.pair.root / "guard.err").open("ab")
        self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **self.environment})
        self.pair.children.append(self.child)
        if wait:
            wait_for(lambda: self.status() is not None, "the guard answers", 60)

    def stop(self, how: int = 15) -> None:
        assert self.child is not None
        told = self.status() if self.before else None
        if told is not None:
            os.kill(told["pid"], how)
        else:
            self.child.send_signal(how)
        self.child.wait(30)

    def status(self, timeout: float = 5.0) -> dict[str, Any] | None:
        """What it says of itself; None while it does not."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(timeout)
                s.connect(str(self.pair.root / "run/quietgate/guard/control"))
                s.sendall(b'{"ask": "status"}\n')
                found: dict[str, Any] = json.loads(s.makefile().readline())
                return found
        except (OSError, ValueError):
            return None

    def events(self) -> int:
        """How many it has read; -1 while it does not answer."""
        told = self.status()
        return -1 if told is None else sum(s["events"] for s in told["sources"])


@contextlib.contextmanager
def guarding(pair: Pair, policy: str = "", before: Sequence[str] = ()) -> Iterator[Guard]:
    """The policy in force, and a guard that follows the log; `before`: words before its command."""
    guard = Guard(pair)
    guard.before = list(before)
    guard.log.parent.mkdir(parents=True, exist_ok=True)
    guard.log.touch()
    pair.up(policy)
    guard.start()
    try:
        yield guard
    finally:
        if guard.child is not None and guard.child.poll() is None:
            guard.stop()


def percentiles(seconds: list[float]) -> str:
    """p50, p90, p99 and the longest, in milliseconds."""
    found = sorted(seconds)
    at = {p: found[min(len(found) - 1, len(found) * p // 100)] * 1000 for p in (50, 90, 99)}
    return "  ".join(f"p{p} {ms:8.2f}" for p, ms in at.items()) + f"  longest {found[-1] * 1000:8.2f} ms"


def appended(file: Path, text: str) -> float:
    """Append in one write; the moment (perf_counter) just before it."""
    with file.open("ab", buffering=0) as stream:
        data = text.encode()
        begin = time.perf_counter()
        stream.write(data)
    return begin
