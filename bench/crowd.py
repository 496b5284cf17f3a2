"""A crowd of attacking sources through the engine: time and memory for each, and the bound that holds.

    .venv/bin/python -m bench.crowd

Each source guesses twice. Memory is the process's resident memory with the crowd in it, less what it was before, in a fresh
process for each row; addresses that the reader keeps are counted, since the guard keeps them too.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from bench.reading import THRESHOLDS
from quietgate.clock import Instant
from quietgate.guard.engine import Engine, Settings
from quietgate.sshlog.lines import Event, Trust
from quietgate.sshlog.sshd import understand

COUNTS = (10_000, 100_000, 1_000_000)
BOUND = 200_000  # guard.max_sources, as it is by default


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def events(count: int, version: int) -> Iterator[Event]:
    for turn in range(2):
        for n in range(count):
            address = f"{20 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.7" if version == 4 else f"2001:db8:{n >> 8:x}:{n & 255:x}::7"
            said = understand(f"Failed password for bob from {address} port 4242 ssh2")
            assert said is not None
            yield Event(turn * 60.0 + n / 1e5, n * 2 + turn, said, "Failed password for bob")


def crowd(count: int, most: int, version: int = 4) -> tuple[float, float, dict[str, int]]:
    """Processor seconds in the engine, bytes a source, figures."""
    engine = Engine(Settings(THRESHOLDS, most_sources=most))
    gc.collect()
    before, spent = resident(), 0.0
    for event in events(count, version):
        begin = time.perf_counter()
        engine.read("file", Trust.FILE, event, Instant(event.at, event.at))
        spent += time.perf_counter() - begin
    gc.collect()
    figures = engine.figures()
    return spent, (resident() - before) / min(count, most), figures


def main() -> None:
    print(machine.about(), machine.quiet(1), sep="\n", flush=True)
    alone = multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1)
    sizes: dict[int, float] = {}
    for count, most, version in (*((c, 4 * c, 4) for c in COUNTS), (COUNTS[1], 4 * COUNTS[1], 6), *((c, BOUND, 4) for c in COUNTS[1:])):
        spent, size, figures = alone.apply(crowd, (count, most, version))
        if most == 4 * count and version == 4:
            sizes[count] = size * count
        print(f"IPv{version} {count:9,} sources, at most {most:9,}: {spent:6.2f} s, {spent / count / 2 * 1e6:5.2f} us an event, "
              f"{size:5.0f} bytes a source; held {figures['sources']:9,}, forgotten {figures['sources_forgotten']:9,}", flush=True)  # fmt: skip
    few, many = COUNTS[1], COUNTS[2]
    each = (sizes[many] - sizes[few]) / (many - few)
    print(
        f"from {few:,} to {many:,} each further source costs {each:.0f} bytes; {(sizes[few] - each * few) / 1e6:.1f} MB are there whatever the crowd"
    )


if __name__ == "__main__":
    main()
