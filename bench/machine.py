"""The machine beside a figure. Its two cores are shared: a benchmark waits for a quiet moment, and says what the load was."""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path

QUIET = 0.15  # of all processor time, by others
PATIENCE = 240.0  # seconds to wait for it
LOOK = 2.0


def load() -> float:
    """The load of the last minute, our own included."""
    return float(Path("/proc/loadavg").read_text().split()[0])


def _times() -> tuple[int, int]:
    """Ticks in all, and idle ones."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def busy(seconds: float = LOOK) -> float:
    """The share of all processors that is in use, while we sleep."""
    before = _times()
    time.sleep(seconds)
    after = _times()
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


def listeners() -> int:
    """Sockets of any namespace that listen to nf_tables' events: the kernel then writes a message for every element, everywhere."""
    found, seen = 0, set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            space = (process / "ns/net").readlink()
            rows = [] if space in seen else (process / "net/netlink").read_text().splitlines()[1:]
        except OSError:
            continue
        seen.add(space)
        found += sum(1 for row in rows if row.split()[1] == "12" and int(row.split()[3], 16) & 0x40)
    return found


def quiet(patience: float = PATIENCE) -> str:
    """Wait until others are still, or until patience ends; what it is like then, for the table."""
    until = time.monotonic() + patience
    share = busy()
    while (share > QUIET or listeners()) and time.monotonic() < until:
        share = busy()
    heard = f", {listeners()} listen to nf_tables" if listeners() else ""
    return f"load {load():.2f}, others use {share:.0%}{heard}" + ("" if share <= QUIET else " (NOT quiet)")


def about() -> str:
    """Kernel, nft and Python."""
    nft = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=False).stdout.split("(")[0].strip()
    return f"Linux {platform.release()}, {nft}, Python {platform.python_version()}, {load():.2f} load"
