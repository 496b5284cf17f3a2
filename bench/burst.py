"""Two million lines appended at once to the log that the guard follows: none lost, and the first that decides bans at once.

    sudo .venv/bin/python -m bench.burst

The first five lines are one attacker's. "mixed": one line in ten is a failed password, the others are other programs';
"attack": all are. 20,000 sources share them. Everything happens in a network namespace of its own.
"""

from __future__ import annotations

import datetime
import tempfile
import threading
import time
from pathlib import Path

from tests.kernel.lab import make_pair

from bench import machine
from bench.guard import Guard, address, guarding
from bench.latency import Monitor

LINES = 2_000_000
SOURCES = 20_000
PIECE = 1 << 16
WITHIN = 600.0  # seconds
FIRST = "198.18.66.6"


def burst(lines: int, every: int) -> tuple[bytes, int]:
    """The text, of which every so-manieth line is an event; and how many events it holds."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows = [f"{stamp} host sshd[{n}]: Failed password for bob from {FIRST} port 4242 ssh2\n" for n in range(5)]
    events = len(rows)
    for n in range(lines - len(rows)):
        if n % every:
            rows.append(f"{stamp} host CRON[{n}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)\n")
        else:
            events += 1
            rows.append(f"{stamp} host sshd[{n + 100}]: Failed password for bob from {address(events % SOURCES)} port 4242 ssh2\n")
    return "".join(rows).encode(), events


def append(log: Path, text: bytes) -> None:
    """As fast as can be, in pieces as of a syslog daemon in a hurry: a write wakes the reader when it is done."""
    with log.open("ab", buffering=0) as stream:
        for at in range(0, len(text), PIECE):
            stream.write(text[at : at + PIECE])


def flooded(guard: Guard, text: bytes, events: int) -> tuple[float, float, float]:
    """Seconds from the begin of the writing to the first attacker in the kernel, until all is read, and of the longest answer."""
    with guard.pair.server.inside():
        monitor = Monitor()
    before = guard.events()
    writer = threading.Thread(target=append, args=(guard.log, text))
    begin = time.perf_counter()
    writer.start()
    soon = monitor.hears(bytes(int(p) for p in FIRST.split("."))) - begin
    del monitor
    writer.join()
    longest = 0.0
    while guard.events() - before < events:
        asked = time.perf_counter()
        guard.status(60)
        longest = max(longest, time.perf_counter() - asked)
        time.sleep(0.1)
        if asked - begin > WITHIN:
            break
    spent = time.perf_counter() - begin
    time.sleep(1)
    found = guard.events() - before
    assert found == events, f"{found} events of {events} were read"
    return soon, spent, longest


def main() -> None:
    print(machine.about())
    for name, every in (("mixed", 10), ("attack", 1)):
        text, events = burst(LINES, every)
        with make_pair(Path(tempfile.mkdtemp())) as pair, guarding(pair) as guard:
            print(f"{name}: {LINES:,} lines, {len(text) >> 20} MB, {events:,} events; {machine.quiet()}", flush=True)
            soon, spent, longest = flooded(guard, text, events)
            told = guard.status() or {}
            assert guard.child is not None
            high = next(r for r in Path(f"/proc/{guard.child.pid}/status").read_text().splitlines() if r.startswith("VmHWM"))
            print(f"  first ban {soon * 1000:.1f} ms after the writing began; all read in {spent:.1f} s ({LINES / spent / 1000:.0f} klines/s), "
                  f"no event lost; bans {told['bans']:,}; longest answer {longest * 1000:.0f} ms; at most {int(high.split()[1]) >> 10} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
