"""Beside fail2ban, observed and enforced: what each shuts out, from a database as fail2ban itself makes it."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from tests.kernel.guarded import guarded
from tests.kernel.lab import Pair, wait_for

# fail2ban 1.0's table, as `.schema bans` of sqlite3 prints it on Debian 12
SCHEMA = "CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON)"


@pytest.mark.long
def test_both_are_compared_source_by_source(pair: Pair) -> None:
    with guarded(pair, "PermitRootLogin yes", policy='[ssh]\nlimit = "off"\n[guard]\nmode = "observe"\n') as g:
        for _ in range(5):
            g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: "198.19.66.6" in pair.quietgate("report", "--observed"), "it would have been banned", 3)
        assert pair.quietgate("report", "--observed").startswith("guard.mode is observe; in the last 7d: 1 source would have been banned\n")
        assert "no fail2ban here" in pair.quietgate("report", "--observed")
        file = pair.root / "var/lib/fail2ban/fail2ban.sqlite3"
        file.parent.mkdir(parents=True)
        with sqlite3.connect(file) as db:
            db.execute(SCHEMA)
            now = int(time.time())
            for ip, at in (
                ("198.19.66.6", now),
                ("198.19.77.7", now - 5),
                ("2001:db8:9::5", now - 90),
                ("198.19.88.8", now - 9 * 86400),
                ("nonsense", now),
            ):
                db.execute("INSERT INTO bans VALUES ('sshd', ?, ?, 600, 1, '{}')", (ip, at))
        said = pair.quietgate("report", "--observed")
        assert "fail2ban banned 3: 1 of them the same, 2 that we would not have; it missed 0" in said
        rows = {r["source"]: r for r in json.loads(pair.quietgate("report", "--observed", "--json"))["rows"]}
        assert set(rows) == {"198.19.66.6", "198.19.77.7", "2001:db8:9::/64"}
        assert rows["198.19.66.6"]["why"].startswith("burst: 5 in 10m")
        assert not g.banned("198.19.66.6")


@pytest.mark.long
def test_enforced_the_real_bans_are_compared(pair: Pair) -> None:
    """A ban that was made and lifted counts too: the offender is remembered."""
    with guarded(pair, "PermitRootLogin yes", policy='[ssh]\nlimit = "off"\n') as g:
        for source in ("198.19.66.6", "198.19.66.7"):
            for _ in range(5):
                g.guess(source, "root", 1)
        wait_for(lambda: "2 sources banned" in pair.quietgate("report", "--observed"), "both are banned", 10)
        pair.quietgate("unban", "198.19.66.7")
        file = pair.root / "var/lib/fail2ban/fail2ban.sqlite3"
        file.parent.mkdir(parents=True)
        with sqlite3.connect(file) as db:
            db.execute(SCHEMA)
            for ip in ("198.19.66.6", "198.19.77.7"):
                db.execute("INSERT INTO bans VALUES ('sshd', ?, ?, 600, 1, '{}')", (ip, int(time.time())))
        said = pair.quietgate("report", "--observed")
        assert said.startswith("guard.mode is enforce; in the last 7d: 2 sources banned\n")
        assert "fail2ban banned 2: 1 of them the same, 1 that we did not; it missed 1" in said
        assert "WE BANNED" in said
        assert "would have" not in said.lower()
        form = json.loads(pair.quietgate("report", "--observed", "--json"))
        assert form["mode"] == "enforce"
        rows = {r["source"]: (r["ours"] is not None, r["theirs"] is not None, r["observed"]) for r in form["rows"]}
        assert rows == {"198.19.66.6": (True, True, False), "198.19.66.7": (True, False, False), "198.19.77.7": (False, True, False)}
