"""The example of a front end misses nothing, though the guard is stopped while things happen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.kernel.guarded import guarded
from tests.kernel.lab import QUIETGATE, Pair, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples/live_bans.py"


def test_a_front_end_of_the_public_forms_misses_nothing(pair: Pair) -> None:
    out = pair.root / "live"
    with guarded(pair, "PermitRootLogin yes", policy='[ssh]\nlimit = "30 per 1m"\n') as g:
        pair.quietgate("ban", "203.0.113.1")
        pair.quietgate("ban", "203.0.113.8", "--for", "1s")  # over, with no deed that says so
        wait_for(lambda: "203.0.113.8" not in pair.quietgate("bans"), "it is over", 10)
        os.environ |= {"QUIETGATE_SOCKET": f"{pair.root}/run/quietgate/guard/control", "QUIETGATE": f"{QUIETGATE} --root {pair.root}"}
        try:
            pair.start(pair.server, "sh", "-c", f"exec {sys.executable} {EXAMPLE} > {out} 2> {out}.err")
        finally:
            del os.environ["QUIETGATE_SOCKET"], os.environ["QUIETGATE"]
        wait_for(lambda: out.exists() and out.read_text() == "1 bans\n", "it has read what stands, and not what is over", 20)
        for _ in range(2):
            g.guess("198.19.66.9", "root", 3)
        wait_for(lambda: "2 bans: ban 198.19.66.9 by guard burst: 5 in 10m" in out.read_text(), "it shows a ban", 10)
        g.stop()
        pair.quietgate("ban", "203.0.113.2")
        pair.quietgate("unban", "203.0.113.1")
        g.start()
        wait_for(lambda: "2 bans: unban 203.0.113.1" in out.read_text(), "it shows what happened meanwhile", 20)
        assert "3 bans: ban 203.0.113.2" in out.read_text()
        assert len(out.read_text().splitlines()) == 4, "and nothing twice"
