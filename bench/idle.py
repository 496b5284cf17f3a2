"""A guard that has nothing to do: its memory, and how often it wakes up; fail2ban in the same run.

    sudo .venv/bin/python -m bench.idle

Resident memory is VmRSS (with the libraries that it shares with others), private what would be free without it (smaps_rollup).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.kernel.lab import make_pair

from bench import machine
from bench.guard import appended, guarding, line
from bench.latency import fail2ban

SECONDS = 30


def told(pid: int) -> tuple[float, float, int, float]:
    """Resident and private MB, voluntary switches of all threads, processor seconds."""
    status = "".join(p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/status"))
    rss = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    private = sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())) / 1024
    switches = sum(int(n) for n in re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE))
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return rss, private, switches, (int(times[11]) + int(times[12])) / 100


def watched(what: str, pid: int) -> None:
    before = told(pid)
    time.sleep(SECONDS)
    rss, private, switches, spent = told(pid)
    print(f"{what:14} {rss:6.1f} MB resident, {private:6.1f} MB private, {(switches - before[2]) / SECONDS:6.2f} wake-ups a second, "
          f"{(spent - before[3]) / SECONDS:7.3%} of a processor", flush=True)  # fmt: skip


def main() -> None:
    print(machine.about(), machine.load())
    bare = "import time; time.sleep(30)"
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        child = subprocess.Popen([sys.executable, "-c", bare])
        time.sleep(0.5)
        print(f"{'bare Python':14} {told(child.pid)[0]:6.1f} MB resident, {told(child.pid)[1]:6.1f} MB private")
        child.terminate()
        child.wait()
        with guarding(pair) as guard:
            appended(guard.log, line("198.18.3.4"))
            time.sleep(5)
            assert guard.child is not None
            watched("ours", guard.child.pid)
        with fail2ban(pair, "pyinotify") as log:
            appended(log, line("198.18.3.4"))
            time.sleep(5)
            watched("fail2ban", pair.children[-1].pid)


if __name__ == "__main__":
    main()
