"""Programs and receivers that are told of bans, with a real guard and a real receiver."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import parse_qs

from tests.kernel.guarded import guarded
from tests.kernel.lab import QUIETGATE, Pair, wait_for
from tests.kernel.receivers import HTTP, Receiver

EXAMPLE = Path(__file__).parents[2] / "examples/report_bans.py"
A = "198.19.66.6"


def program(pair: Pair, name: str, text: str) -> Path:
    file = pair.root / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_each_ban_is_told_to_programs_and_receivers_and_none_holds_up_another(pair: Pair) -> None:
    receiver = Receiver(pair)
    receiver.start()
    told = pair.root / "told"
    writes = program(pair, "writes", f'echo "$# $1 $2 $(cat)" >> {told}; env >> {told}.env')
    hangs = program(pair, "hangs", "sleep 600")
    (pair.root / "key").write_text("secret\n")
    reports = program(
        pair, "reports", f"REPORT_URL=http://127.0.0.1:{HTTP}/report REPORT_KEY={pair.root}/key exec {sys.executable} {EXAMPLE}"
    )
    open_to_all = program(pair, "open", f"echo never > {told}.open")
    open_to_all.chmod(0o777)
    names = json.dumps([str(hangs), str(open_to_all), str(writes), f"http://127.0.0.1:{HTTP}/bans", str(reports)])
    with guarded(pair, "PermitRootLogin yes", policy=f'[ssh]\nlimit = "30 per 1m"\n[bans]\nnotify = {names}\n') as g:
        said = pair.root / "said"
        pair.start(pair.server, "sh", "-c", f"exec {QUIETGATE} --root {pair.root} notify 2> {said}")
        wait_for(lambda: pair.server.sh("ss", "-Hx", "state", "established").count("guard/control") >= 1, "it listens", 20)
        pair.quietgate("ban", "203.0.113.77", "--for", "1h")
        for _ in range(2):
            g.guess(A, "root", 3)
        wait_for(lambda: len(receiver.got) >= 3, "it arrives", 15)
        posted = [json.loads(r["body"]) for r in receiver.got if r["path"] == "/bans"]
        assert [(p["event"], p["source"], p["by"] == "guard") for p in posted] == [("ban", "203.0.113.77", False), ("ban", A, True)]
        (reported,) = [r for r in receiver.got if r["path"] == "/report"]
        fields = parse_qs(reported["body"])
        assert fields["ip"] == [A], "and not what a person banned"
        assert fields["categories"] == ["18,22"]
        assert fields["comment"][0].startswith("SSH: burst")
        assert reported["headers"].get("Key") == "secret"
        wait_for(lambda: told.exists() and told.read_text().count("\n") == 2, "the program was told", 10)
        words, _, form = told.read_text().splitlines()[1].partition(" {")
        assert words == f"2 ban {A}"
        assert json.loads("{" + form)["source"] == A
        assert "SSH_" not in Path(f"{told}.env").read_text(), "it gets no environment but a path"
        assert "must be a file of root's that nobody else may write" in said.read_text()
        assert not Path(f"{told}.open").exists()

        g.stop()
        g.start()
        wait_for(lambda: pair.server.sh("ss", "-Hx", "state", "established").count("guard/control") >= 1, "it listens again", 20)
        pair.quietgate("unban", A)
        wait_for(lambda: "2 unban" in told.read_text(), "it goes on", 10)


def test_where_nobody_is_named_it_ends_at_once(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    assert "the policy names nobody to be told of bans" in pair.quietgate("notify")
