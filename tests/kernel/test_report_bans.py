"""The example that tells another service of each ban, with a real receiver."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import parse_qs

from tests.kernel.guarded import guarded
from tests.kernel.lab import QUIETGATE, Pair, wait_for
from tests.kernel.receivers import HTTP, Receiver

EXAMPLE = Path(__file__).parents[2] / "examples/report_bans.py"


def test_each_ban_of_the_guards_is_reported_once(pair: Pair) -> None:
    receiver = Receiver(pair)
    receiver.start()
    with guarded(pair, "PermitRootLogin yes", policy='[ssh]\nlimit = "30 per 1m"\n') as g:
        os.environ["QUIETGATE_REPORT_KEY"], os.environ["QUIETGATE"] = "secret", f"{QUIETGATE} --root {pair.root}"
        try:
            pair.start(pair.server, sys.executable, str(EXAMPLE), f"http://127.0.0.1:{HTTP}/report")
        finally:
            del os.environ["QUIETGATE_REPORT_KEY"], os.environ["QUIETGATE"]
        wait_for(lambda: pair.server.sh("ss", "-Hx", "state", "established").count("guard/control") >= 1, "it listens", 10)
        pair.quietgate("ban", "203.0.113.77", "--for", "1h")
        for _ in range(2):
            g.guess("198.19.66.6", "root", 3)
        wait_for(lambda: receiver.got, "it arrives", 10)
        (one,) = receiver.got
        fields = parse_qs(one["body"])
        assert fields["ip"] == ["198.19.66.6"], "and not what a person banned"
        assert fields["categories"] == ["18,22"]
        assert fields["comment"][0].startswith("SSH: burst")
        assert one["headers"].get("Key") == "secret"
