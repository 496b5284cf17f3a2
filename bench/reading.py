"""Lines a processor second, on one core: what reads sshd's lines, and the whole way through the engine, beside two peers.

    .venv/bin/python -m bench.reading

attack: the real log, repeated (88 % of its lines are events); mixed: one line in ten is of it. Each figure is the best of
some rounds, in which everybody has a turn. Processor time, so that who else runs matters less. No rules are loaded.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import logs, machine, peers
from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Engine, Settings
from quietgate.host.logfile import LogFile, Place
from quietgate.sshlog.lines import Stamps, Trust, read

LINES = {"attack": 300_000, "mixed": 600_000}
FEW = 20_000  # lines for fail2ban-regex, which is slow
ROUNDS = 5
THRESHOLDS = {"burst": Threshold(5, 600), "slow": Threshold(10, 86400), "names": Threshold(4, 3600), "root": Threshold(3, 600),
              "noise": Threshold(30, 600), "penalty": Threshold(2, 600)}  # fmt: skip


def blocks(file: Path) -> list[str]:
    """As the guard cuts them."""
    log = LogFile(file, None, 0.0)
    found = [b.text for b in log.read()]
    log.close()
    return found


def events(texts: list[str]) -> tuple[float, int]:
    """Lines -> events."""
    stamps = Stamps(time.time())
    begin, count = time.process_time(), 0
    for text in texts:
        for _ in read(text, stamps):
            count += 1
    return time.process_time() - begin, count


def whole(file: Path) -> float:
    """The file -> blocks -> events -> decisions."""
    engine = Engine(Settings(THRESHOLDS))
    begin = time.process_time()
    log = LogFile(file, Place(0, 0, 0), None)
    stamps = Stamps(time.time())
    for block in log.read():
        for event in read(block.text, stamps):
            engine.read("file", Trust.FILE, event, Instant(event.at, event.at))
    log.close()
    return time.process_time() - begin


def child(words: list[str], file: Path, env: dict[str, str] | None = None) -> float:
    """Processor seconds of a program that reads the file from its standard input, or by name."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with file.open("rb") as stdin:
        subprocess.run(words, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def regex(file: Path, empty: Path) -> float:
    """fail2ban-regex, its start-up taken off."""
    filter_ = str(peers.unpacked() / "etc/fail2ban/filter.d/sshd.conf")

    def run(log: Path) -> float:
        return child([*peers.fail2ban("fail2ban-regex"), str(log), filter_], log, peers.environment())

    return run(file) - run(empty)


def main() -> None:
    print(machine.about())
    os.sched_setaffinity(0, {0})
    place = Path(tempfile.mkdtemp())
    empty = place / "empty"
    empty.write_text("Dec 10 06:55:46 LabSZ cron[1]: x\n")
    for name, count in LINES.items():
        file, few = place / name, place / f"{name}-few"
        make = logs.attack if name == "attack" else logs.mixed
        file.write_text(make(count))
        few.write_text(make(FEW))
        texts = blocks(file)
        found = events(texts)[1]
        ways: list[tuple[str, int, Callable[[], float]]] = [
            ("lines to events", count, lambda texts=texts: events(texts)[0]),  # type: ignore[misc]
            ("file to decisions", count, lambda file=file: whole(file)),  # type: ignore[misc]
            ("peer: sshg-parser (C)", count, lambda file=file: child([peers.sshg_parser()], file)),  # type: ignore[misc]
            ("peer: fail2ban-regex, start-up taken off", FEW, lambda few=few: regex(few, empty)),  # type: ignore[misc]
        ]
        print(f"{name}: {count:,} lines, {found / count:.0%} events; {machine.quiet()}", flush=True)
        best: dict[str, float] = {}
        for turn in range(ROUNDS):
            for what, lines, way in ways:
                if turn < 2 or "regex" not in what:
                    best[what] = max(best.get(what, 0.0), lines / way())
        peer = best["peer: sshg-parser (C)"]
        for what, rate in best.items():
            print(f"  {what:42} {rate / 1000:8.0f} klines/s  {rate / peer:6.2f} x sshg-parser", flush=True)


if __name__ == "__main__":
    main()
