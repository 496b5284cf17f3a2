"""What makes the guard blind or the door narrow, on a real host, told to a person: with the times of an hour made seconds."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.kernel.guarded import Guarded, guarded, syslog_sshd, type_passwords
from tests.kernel.lab import SERVER4, Pair, wait_for, wrong_clock
from tests.kernel.people import logged_in
from tests.kernel.receivers import MailServer

YES = ("PermitRootLogin yes",)
LOOSE = '[ssh]\nlimit = "30 per 1m"\n'
# Nothing of what is decided, only how long it takes.
SOONER = """
import quietgate.daemon.main as daemon, quietgate.daemon.health as senses, quietgate.guard.alerts as alerts
daemon.TICK = 0.5
senses.QUIET, senses.ASKED, senses.SILENT_ASKED, senses.LAST_GUESSES = 1.0, 1.0, 1.0, 2.0
alerts.SILENT_COUNTED, alerts.FAILING, alerts.UNSEEN = 3.0, 2.0, 6
"""


@contextlib.contextmanager
def hurried(pair: Pair, monkeypatch: pytest.MonkeyPatch, *options: str, policy: str, start: bool = True) -> Iterator[Guarded]:
    for name, value in wrong_clock(pair.root, 0, SOONER).items():
        monkeypatch.setenv(name, value)
    with guarded(pair, *options, policy=policy, start=start) as g:
        yield g


def told(pair: Pair, *words: str) -> dict[str, dict[str, object]]:
    """By subject."""
    rows = [json.loads(line) for line in pair.quietgate("alerts", "--json", *words).splitlines()]
    return {row["subject"]: row for row in rows}


def test_a_log_that_is_gone_is_told_and_that_it_is_back_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried(pair, monkeypatch, policy="") as g:
        away = g.log.with_name("away")
        g.log.rename(away)
        wait_for(lambda: "/var/log/auth.log" in told(pair), "it is told", 15)
        assert told(pair)["/var/log/auth.log"]["evidence"] == ["the file is not there"]
        away.rename(g.log)
        wait_for(lambda: not told(pair), "it is over", 15)
        assert told(pair, "--all")["/var/log/auth.log"]["over"] == "/var/log/auth.log can be read again"


@pytest.mark.long
def test_a_syslog_that_has_died_is_told_when_the_kernel_counts_connections(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried(pair, monkeypatch, *YES, policy=LOOSE) as g:
        g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: (g.status() or {})["sources"][0]["events"] > 0, "it was heard", 5)
        time.sleep(4)
        assert told(pair) == {}, "nobody comes: nothing to say"
        os.kill(int((pair.root / "syslog/pid").read_text()), 9)
        for n in range(14):
            assert pair.client.banner(f"198.19.66.{n + 20}", SERVER4, timeout=3)
        wait_for(lambda: "/var/log/auth.log" in told(pair), "it is told", 15)
        one = told(pair)["/var/log/auth.log"]
        assert str(one["what"]).startswith("/var/log/auth.log has told nothing of sshd for")
        assert "new SSH connections meanwhile" in str(one["evidence"])


def test_a_log_that_tells_while_ours_is_silent_is_read_as_well(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd's lines go to another file now: the kernel counts connections of which ours does not tell."""
    with hurried(pair, monkeypatch, *YES, policy=LOOSE) as g:
        os.kill(int((pair.root / "syslog/pid").read_text()), 9)
        messages = pair.root / "var/log/messages"
        stamp = time.strftime("%b %e %H:%M:%S")
        messages.write_text(
            "".join(f"{stamp} gate sshd[{n}]: Failed password for root from 198.19.66.6 port {n} ssh2\n" for n in range(1, 7))
        )
        time.sleep(3)
        assert not g.banned("198.19.66.6"), "nobody comes, so nothing is missed"

        def found() -> bool:
            pair.client.banner("198.19.67.1", SERVER4)
            return any(s["name"] == "/var/log/messages" for s in (g.status() or {"sources": []})["sources"])

        wait_for(found, "it is read as well", 20)
        wait_for(lambda: g.banned("198.19.66.6"), "and bans", 10)
        assert "/var/log/messages tells of SSH while /var/log/auth.log is silent" in (pair.root / "guard.err").read_text()


def test_an_sshd_that_never_says_anything_is_told_when_the_kernel_counts_connections(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first day on: nothing was ever heard that could fall silent."""
    with hurried(pair, monkeypatch, *YES, "LogLevel QUIET", policy=LOOSE):
        time.sleep(4)
        assert told(pair) == {}, "nobody comes: nothing to say"
        until = time.monotonic() + 30
        while "/var/log/auth.log" not in told(pair) and time.monotonic() < until:
            for n in range(4):
                assert pair.client.banner(f"198.19.66.{n + 20}", SERVER4, timeout=3)
        assert "unless its LogLevel is below INFO" in str(told(pair)["/var/log/auth.log"]["evidence"])


@pytest.mark.long
def test_a_part_of_the_guard_that_fails_again_and_again_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pair.root / "broken"
    broken = f"""
from pathlib import Path
import quietgate.host.conntrack as conntrack
conntrack.fill = lambda real=conntrack.fill: 1 / 0 if Path({str(file)!r}).exists() else real()
"""
    monkeypatch.setattr("tests.kernel.test_blind.SOONER", SOONER + broken)
    with hurried(pair, monkeypatch, *YES, policy=LOOSE) as g:
        file.touch()
        wait_for(lambda: "tick" in told(pair), "it is told", 15)
        assert "ZeroDivisionError" in str(told(pair)["tick"]["evidence"])
        g.guess("198.19.66.6", "root", 6)
        wait_for(lambda: g.banned("198.19.66.6"), "it guards all the same", 10)
        file.unlink()
        wait_for(lambda: not told(pair), "it is over", 10)


@pytest.mark.long
def test_a_limit_that_counts_nobody_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy names one port, and sshd has another as well."""
    with hurried(
        pair, monkeypatch, *YES, policy='[ssh]\nports = [22]\n[guard]\ndetect.burst = "off"\ndetect.slow = "off"\ndetect.root = "off"\n'
    ) as g:
        other = syslog_sshd(pair, pair.root / "syslog/log", *YES, port=2222)
        until = time.monotonic() + 60
        while "limit" not in told(pair) and time.monotonic() < until:
            type_passwords(pair.client, "198.19.66.6", SERVER4, "root", 3, other.port)
        one = told(pair)["limit"]
        assert one["what"] == "the limit has no effect: strangers reach sshd, and the kernel counts none of them"
        assert g.status() is not None


def test_an_sshd_that_is_nearly_full_is_told_and_that_it_is_not_any_more(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried(pair, monkeypatch, "MaxStartups 10:30:100", policy='[ssh]\nlimit = "off"\nreserve = 0\n'):
        held = [pair.client.connect(f"198.19.66.{n + 20}", SERVER4, 22) for n in range(10)]
        wait_for(lambda: "MaxStartups" in told(pair), "it is told", 15)
        assert told(pair)["MaxStartups"]["evidence"] in (["10 of 10"], ["9 of 10"])
        for s in held:
            assert s is not None
            s.close()
        wait_for(lambda: not told(pair), "it is over", 15)


def test_an_sshd_that_was_started_again_is_watched_as_the_first_was(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried(pair, monkeypatch, "MaxStartups 10:30:100", policy='[ssh]\nlimit = "off"\nreserve = 0\n') as g:
        wait_for(lambda: (g.status() or {})["startups"] == [[0, 10, 100]], "it is known", 5)
        g.sshd.stop()
        syslog_sshd(pair, pair.root / "syslog/log", "MaxStartups 20:30:100")
        wait_for(lambda: (g.status() or {})["startups"] == [[0, 20, 100]], "so is the next one", 5)


@pytest.mark.long
def test_a_ban_that_would_hit_an_administrator_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried(pair, monkeypatch, *YES, policy=LOOSE + "[guard]\npatience = 1\n") as g, logged_in(g.sshd, "198.19.66.6"):
        wait_for(lambda: "198.19.66.6" in pair.server.sh("nft", "list", "set", "inet", "quietgate", "floor4_32"), "he is on the floor", 5)
        for _ in range(2):
            g.guess("198.19.66.6", "root", 3)
        wait_for(lambda: "198.19.66.6" in told(pair), "it is told", 10)
        assert told(pair)["198.19.66.6"]["topic"] == "refused"


def test_the_digest_goes_out_when_it_is_due_and_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = MailServer(pair)
    mail.start(25)
    with hurried(pair, monkeypatch, policy='[digest]\nevery = "daily"\nto = ["ops@example.net"]\n') as g:
        wait_for(lambda: since(pair) is not None, "it knows since when", 10)
        g.stop()
        db = sqlite3.connect(pair.root / "var/lib/quietgate/guard/quietgate.db")
        db.execute("UPDATE about SET value=? WHERE key='digest:until'", (str(time.time() - 2 * 86400),))
        db.commit()
        db.close()
        g.start()
        wait_for(lambda: mail.got, "it arrives", 30)
        time.sleep(3)
        assert len(mail.got) == 1
        assert "[quietgate" in mail.got[0]["Subject"]
        last = since(pair)
        assert last is not None
        assert time.time() - last < 60


def since(pair: Pair) -> float | None:
    db = sqlite3.connect(f"file:{pair.root}/var/lib/quietgate/guard/quietgate.db?mode=ro", uri=True)
    try:
        row = db.execute("SELECT value FROM about WHERE key='digest:until'").fetchone()
        return None if row is None else float(row[0])
    finally:
        db.close()


@pytest.mark.long
def test_a_limit_that_is_blind_to_most_is_told_though_syns_pass(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tool puts our label on every connection: SYNs are let in and counted as such, and no connection takes a place."""
    quiet = '[guard]\ndetect.burst = "off"\ndetect.slow = "off"\ndetect.root = "off"\n'
    with hurried(pair, monkeypatch, *YES, policy=LOOSE + quiet) as g:
        pair.server.nft("table inet other {\n chain c { type filter hook output priority mangle;\n ct label set 100\n }\n }\n")
        until = time.monotonic() + 60
        while "limit" not in told(pair) and time.monotonic() < until:
            g.guess("198.19.66.6", "root", 3)
        assert told(pair)["limit"]["what"] == "the limit has no effect: strangers reach sshd, and the kernel counts none of them"
        found = {f["id"] for f in json.loads(pair.run("doctor", "--json").stdout)["findings"]}
        assert {"blind", "ssh-label"} <= found
        assert "strangers reach sshd, and the kernel counts none of them" in pair.run("status").stdout
