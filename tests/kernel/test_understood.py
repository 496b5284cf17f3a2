"""A guard that does not understand its log says so; it finds the log that lives, and counts nothing twice when one is written anew."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.kernel.guarded import Guarded
from tests.kernel.lab import SERVER4, Pair, wait_for

A = "198.19.66.6"


def line(n: int, source: str = A, head: str = "") -> str:
    stamp = head or time.strftime("%b %e %H:%M:%S")
    return f"{stamp} host sshd[{1000 + n}]: Failed password for alice from {source} port {40000 + n} ssh2\n"


def start(pair: Pair, policy: str = "", *files: str) -> Guarded:
    for name in files or ("var/log/auth.log",):
        (pair.root / name).parent.mkdir(parents=True, exist_ok=True)
        (pair.root / name).touch()
    sshd = pair.sshd()
    pair.up(policy)
    g = Guarded(pair, sshd, pair.root / (files[0] if files else "var/log/auth.log"))
    g.start()
    return g


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


def failed(g: Guarded) -> int:
    return int((g.status() or {"heard": {}})["heard"].get("failed", 0))


def test_a_form_that_is_not_known_is_told_within_a_minute_by_its_right_reason(pair: Pair) -> None:
    g = start(pair)
    append(g.log, *(line(n, head="sie 24 17:00:05") for n in range(6)))
    wait_for(lambda: "unread" in pair.quietgate("status"), "status says so", 10)
    assert "its month is in another language" in pair.quietgate("status")
    told = pair.run("doctor").stdout
    assert "problem: /var/log/auth.log: 6 lines of an SSH server could not be understood" in told
    assert "sie 24 17:00:05" in told
    wait_for(lambda: "does not understand /var/log/auth.log" in pair.quietgate("alerts"), "somebody is told", 60)
    said = pair.quietgate("alerts")
    assert "its month is in another language" in said
    assert "LogLevel" not in said
    append(g.log, line(7))
    wait_for(lambda: failed(g) == 1, "what is understood counts", 10)
    g.stop()


def test_an_empty_journal_is_not_preferred_to_a_file_that_tells(pair: Pair) -> None:
    (pair.root / "var/log/journal").mkdir(parents=True)
    g = start(pair)
    append(g.log, *(line(n) for n in range(6)))
    wait_for(lambda: g.banned(A), "the file is read", 10)
    g.stop()


def test_messages_is_read_where_sshd_is_in_it(pair: Pair) -> None:
    messages = pair.root / "var/log/messages"
    messages.parent.mkdir(parents=True)
    messages.write_text(line(0, "198.19.1.1"))
    g = start(pair, "", "var/log/auth.log")
    append(messages, *(line(n) for n in range(1, 7)))
    wait_for(lambda: g.banned(A), "it is read", 10)
    g.stop()


def test_the_same_lines_in_two_files_count_once(pair: Pair) -> None:
    g = start(pair, '[guard]\nsources = ["/var/log/auth.log", "/var/log/syslog"]\n', "var/log/auth.log", "var/log/syslog")
    for n in range(4):
        append(g.log, line(n))
        append(pair.root / "var/log/syslog", line(n))
    wait_for(lambda: failed(g) >= 4, "read", 10)
    time.sleep(1)  # for what must not come
    assert failed(g) == 4
    assert not g.banned(A)
    g.stop()


def test_a_log_that_is_written_anew_in_its_place_counts_nothing_twice(pair: Pair) -> None:
    g = start(pair)
    append(g.log, *(line(n) for n in range(4)))
    wait_for(lambda: failed(g) == 4, "read", 10)
    kept = g.log.read_text()
    for write in (
        lambda: g.log.write_text(kept),
        lambda: _replace(g.log, kept),
        lambda: g.log.write_text("".join(kept.splitlines(keepends=True)[1:])),
    ):
        write()
        pair.server.sh("sync", str(g.log), check=False)
        before = failed(g)
        append(g.log, "Nov 24 00:00:00 host cron[1]: x\n")
        wait_for(lambda: (g.status() or {})["sources"][0]["lines"] >= 4, "looked at", 10)
        time.sleep(1)
        assert failed(g) == before == 4
    append(g.log, line(99, "198.19.66.7"))
    wait_for(lambda: failed(g) == 5, "what is new counts", 10)
    g.stop()
    g.start()
    assert failed(g) == 0, "and nothing again after a restart"
    g.stop()


def _replace(path: Path, text: str) -> None:
    other = path.with_name("tmp")
    other.write_text(text)
    other.rename(path)


def test_a_declared_source_needs_no_name_in_its_lines(pair: Pair) -> None:
    policy = '[guard]\nsources = [{ path = "/var/log/box.log", program = "sshd" }]\n'
    g = start(pair, policy, "var/log/box.log")
    rows = [json.dumps({"log": f"Failed password for alice from {A} port {40000 + n} ssh2\r\n", "stream": "stderr",
                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}) + "\n" for n in range(6)]  # fmt: skip
    append(g.log, *rows)
    wait_for(lambda: g.banned(A), "banned", 10)
    assert not pair.client.banner(A, SERVER4, timeout=0.3)
    g.stop()


def test_logins_are_counted_where_a_file_is_read(pair: Pair) -> None:
    g = start(pair)
    stamp = time.strftime("%b %e %H:%M:%S")
    append(g.log, *(f"{stamp} host sshd[{n}]: Accepted publickey for alice from {A} port {n} ssh2: RSA SHA256:x\n" for n in (1, 2, 3)))
    wait_for(lambda: "3 logins" in pair.quietgate("status"), "status counts them", 10)
    assert "quietgate_logins_total 3.0" in pair.quietgate("metrics")
    g.stop()
