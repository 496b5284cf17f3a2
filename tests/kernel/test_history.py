"""Whom did it ban last night, and why: by the history, and by this system's log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.guard import guarding, line

from quietgate.generations.history import SINGLY
from quietgate.host.journal_write import JOURNALD
from tests.host.test_journal_write import fields, heard, listening
from tests.kernel.lab import QUIETGATE, Pair, wait_for

pytestmark = pytest.mark.long

HERE, BY_HAND = "198.19.66.1", "198.19.9.9"
POLICY = '[ssh]\nlimit = "20 per 1m"\n'
OTHER = '[ssh]\nlimit = "25 per 1m"\n'


@contextlib.contextmanager
def journald(pair: Pair) -> Iterator[socket.socket]:
    """Where journald would listen, below the pair's root."""
    with listening(pair.root, JOURNALD) as s:
        yield s


def told(s: socket.socket) -> list[dict[str, str]]:
    return [fields(d) for d in heard(s)]


def rows(pair: Pair, *words: str) -> list[dict[str, Any]]:
    return [json.loads(x) for x in pair.quietgate(*words, "--json").splitlines()]


def events(pair: Pair, *words: str) -> list[tuple[str, object]]:
    return [(e["event"], e.get("source", e.get("generation"))) for e in rows(pair, "events", *words)]


def in_store(pair: Pair, query: str) -> set[Any]:
    return {row[0] for row in sqlite3.connect(pair.root / "var/lib/quietgate/guard/quietgate.db").execute(query)}


def test_the_guards_ban_is_told_and_kept_with_its_end(pair: Pair) -> None:
    with journald(pair) as log:
        with guarding(pair, POLICY) as guard:
            told(log)
            following = pair.start_reading(pair.server, "events", "-f", "--since", "1h", "--json")
            wait_for(lambda: '"event": "up"' in (next(following)), "what was before is told first")
            with guard.log.open("a") as file:
                file.write("".join(line(HERE) for _ in range(5)))
            wait_for(lambda: HERE in pair.quietgate("bans"), "it is banned")
            pair.quietgate("ban", BY_HAND, "--for", "1h", "--reason", "a grudge")
            pair.quietgate("unban", HERE)
        live = [json.loads(x) for x in following]
        [ban, by_hand, unban] = [e for e in live if e["event"] in ("ban", "unban")]
        assert (ban["source"], ban["by"], ban["detector"], ban["reason"]) == (HERE, "guard", "burst", "burst: 5 in 10m")
        assert (by_hand["source"], by_hand["reason"]) == (BY_HAND, "a grudge"), "what a command did, too"
        assert (unban["event"], unban["source"]) == ("unban", HERE)
        assert ban["seq"] < by_hand["seq"] < unban["seq"]
        # The guard is gone; the table is not.
        kept = [e for e in rows(pair, "events", "--since", "1h") if e["event"] != "up"]
        assert kept == [ban, by_hand, unban], "the same rows"
        lines = told(log)
        assert [(x["QUIETGATE_DEED"], x["QUIETGATE_SUBJECT"]) for x in lines] == [("ban", HERE), ("ban", BY_HAND), ("unban", HERE)]
        assert lines[0]["MESSAGE"].startswith(f"banned {HERE} (ssh) until 20")
        assert lines[0]["MESSAGE"].endswith(" by guard: burst: 5 in 10m")
        assert [int(x["QUIETGATE_SEQ"]) for x in lines] == [e["seq"] for e in kept]
    past = {p["prefix"]: p for p in rows(pair, "bans", "--all", "--since", "12h")}
    assert (past[HERE]["how"], past[HERE]["by"], past[HERE]["ended_by"]) == ("lifted", "guard", unban["by"])
    assert past[BY_HAND]["how"] == "in force"
    assert "lifted 20" in pair.quietgate("bans", "--all")
    assert HERE not in pair.quietgate("bans")
    said = pair.quietgate("events")
    assert f"banned {HERE} (ssh) until" in said
    assert "a grudge" in said


def test_times_and_mistakes(pair: Pair) -> None:
    pair.up(POLICY)
    assert events(pair, "--since", "2020-01-01") == [("up", 1)]
    assert "is no length of time and no date" in pair.quietgate("events", "--since", "yesterday", expect=2)
    assert "in the future" in pair.quietgate("bans", "--all", "--since", "2999-01-01", expect=2)
    assert "--all" in pair.quietgate("bans", "--since", "1h", expect=2)
    assert "does not run" in pair.quietgate("events", "-f", "--since", "1h", expect=10)


def test_who_did_it_is_the_kernels_word_and_sudos_is_marked(pair: Pair) -> None:
    pair.up(POLICY)
    pair.run("ban", BY_HAND, env={"SUDO_USER": "mallory"})
    assert rows(pair, "bans")[0]["by"] == "mallory (SUDO_USER)"
    pair.quietgate("ban", BY_HAND)
    assert rows(pair, "bans")[0]["by"] == "root (no login)"
    # A login user number cannot be taken back: in a child that ends.
    script = f"echo 65534 > /proc/self/loginuid && exec ip netns exec {pair.server.name} {QUIETGATE} --root {pair.root} ban {BY_HAND}"
    done = subprocess.run(["sh", "-c", script], env={**os.environ, "SUDO_USER": "mallory"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rows(pair, "bans")[0]["by"] == "nobody"
    assert [p["how"] for p in rows(pair, "bans", "--all")] == ["replaced", "replaced", "in force"]


def test_thousands_at_once_are_all_kept_and_told_in_few_lines(pair: Pair) -> None:
    pair.up(POLICY)
    with journald(pair) as log:
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        got: list[dict[str, str]] = []
        log.settimeout(0.2)
        addresses = pair.root / "addresses"
        addresses.write_text("\n".join(f"20.{n >> 8}.{n & 255}.7" for n in range(3000)))
        child = pair.start(pair.server, "sh", "-c", f"exec {QUIETGATE} --root {pair.root} ban --for 1h < {addresses}")
        while child.poll() is None:
            with contextlib.suppress(TimeoutError):
                got.append(fields(log.recv(100_000)))
        log.setblocking(False)
        got += told(log)
    assert child.returncode == 0
    assert len(in_store(pair, "SELECT subject FROM history WHERE deed='ban'")) == 3000
    assert len(got) == SINGLY + 1
    assert got[-1]["QUIETGATE_COUNT"] == str(3000 - SINGLY)


def test_what_becomes_of_generations(pair: Pair) -> None:
    with journald(pair) as log:
        pair.up(POLICY)
        pair.policy(OTHER)
        pair.quietgate("up", "--detach", "--trial", "30s")
        pair.quietgate("confirm")
        pair.quietgate("revert")
        pair.policy('[ssh]\nlimit = "26 per 1m"\n')
        pair.quietgate("up", "--detach", "--trial", "30s")
        pair.quietgate("revert")
        pair.quietgate("up", "--trial", "10s", expect=1)
        pair.quietgate("down")
        pair.quietgate("down")
        found = events(pair)
        assert [what for what, _ in found] == ["up", "up", "confirm", "revert", "up", "revert", "up", "lapse", "down"]
        numbers = [number for _, number in found]
        assert numbers[:4] == [1, 2, 2, 2]
        assert numbers[4] == numbers[5], "the trial that was ended"
        assert numbers[6] == numbers[7], "the trial that nobody confirmed (a number that was never confirmed is given again)"
        assert numbers[8] == 3
        assert [(x["QUIETGATE_DEED"], int(x["QUIETGATE_SUBJECT"])) for x in told(log)] == events(pair)
    reasons = [e["reason"] for e in rows(pair, "events")]
    assert reasons[2] == "without a new login"
    assert reasons[3] == "generation 3 is in force, with the rules of generation 1"
    assert reasons[5] == "its trial was ended; generation 3 is in force"
    assert reasons[7] == "nobody confirmed it; generation 3 is in force"


def test_a_history_that_cannot_be_written_stops_nobody(pair: Pair) -> None:
    pair.up(POLICY)
    pair.policy(OTHER)
    pair.quietgate("up", "--detach", "--trial", "60s")
    store = pair.root / "var/lib/quietgate/guard/quietgate.db"
    for file in store.parent.glob("quietgate.db*"):
        file.unlink()
    store.write_bytes(b"this is no database, " * 100)
    with journald(pair) as log:
        said = pair.quietgate("confirm")
        assert "generation 2 is confirmed" in said
        assert "warning: confirm of generation 2 is done, but the history was not written" in said
        assert [x["QUIETGATE_DEED"] for x in told(log)] == ["confirm"], "the log has it"


# Ends the process with the ban in the kernel; at each of these moments.
MOMENTS = {
    "before the commit": "from quietgate.bans.writer import Bans as C; name = '_to_kernel'",
    "after it": "from quietgate.generations.history import Teller as C; name = 'tell'",
}
DIES = """
import os, signal

{moment}
def dying(self, *a, real=getattr(C, name), **k):
    real(self, *a, **k)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(C, name, dying)
"""


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_killed_a_ban_and_its_row_are_both_there_or_neither(pair: Pair, tmp_path: Path, moment: str) -> None:
    pair.up(POLICY)
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(DIES.format(moment=MOMENTS[moment]))
    done = pair.run("ban", HERE, env={"PYTHONPATH": str(place)})
    assert done.returncode in (-9, 137), done
    bans, history = in_store(pair, "SELECT hex(first) FROM bans"), in_store(pair, "SELECT subject FROM history WHERE deed='ban'")
    assert len(bans) == len(history) == (1 if moment == "after it" else 0)


def test_kill_9_of_the_guard_loses_neither_alone(pair: Pair) -> None:
    with guarding(pair, POLICY) as guard:
        for n in range(6):
            with guard.log.open("a") as file:
                file.write("".join(line(f"{30 + n}.{m}.1.7") for m in range(40) for _ in range(5)))
            wait_for(lambda n=n: in_store(pair, "SELECT 1 FROM bans") and guard.events() > 20 * n, "it is at it", 30)  # type: ignore[misc]
            guard.stop(9)
            bans = in_store(pair, "SELECT hex(first) FROM bans WHERE author='guard'")
            history = {
                "".join(f"{int(b):02X}" for b in s.split("."))
                for s in in_store(pair, "SELECT subject FROM history WHERE deed='ban' AND subject NOT LIKE '%/%'")
            }
            assert {b for b in bans if not b.endswith("00")} == {h for h in history if not h.endswith("00")}
            guard.start()


def test_a_boot_and_a_refresh_say_what_they_did(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.policy("")
    pair.quietgate("boot")
    pair.policy(OTHER)
    pair.quietgate("up", "--detach", "--trial", "60s")
    pair.server.sh("nft", "flush", "ruleset")  # the host goes down
    pair.quietgate("boot")
    pair.quietgate("boot")
    sshd.move(2022)
    pair.quietgate("refresh")
    pair.quietgate("refresh")
    found = rows(pair, "events")
    assert [(e["event"], e["generation"], e["by"]) for e in found] == [
        ("up", 1, "boot"), ("up", 2, "root (no login)"), ("lapse", 2, "kernel"), ("up", found[-1]["generation"], "root (no login)")]  # fmt: skip
    assert found[2]["reason"] == "nobody confirmed it; the host went down; generation 1 is in force"
    assert found[3]["reason"] == "refresh: host names or sshd's ports have changed"
