"""What old logs tell, and in which order they are read."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quietgate.hindsight.logs import Logs
from quietgate.ui.cli import cli

DATA = Path(__file__).parents[3] / "shared/data/openssh-2k.log"
A, B = "203.0.113.9", "198.51.100.7"


def failed(minute: int, address: str = A, user: str = "bob", host: str = "gate", pid: int = 0) -> str:
    number = pid or 1000 + minute
    return f"2026-11-24T17:{minute:02}:05+00:00 {host} sshd[{number}]: Failed password for {user} from {address} port 40000 ssh2\n"


def report(tmp_path: Path, *words: object) -> Result:
    return CliRunner().invoke(cli, ["--root", str(tmp_path), "report", *map(str, words)], catch_exceptions=True)


def form(tmp_path: Path, *words: object) -> dict[str, object]:
    done = report(tmp_path, *words, "--json")
    found: dict[str, object] = json.loads(done.stdout.splitlines()[0])
    return found


def test_rotated_logs_are_read_from_the_oldest_on(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "auth.log.2.gz", "wt") as file:
        file.write(failed(1))
    (tmp_path / "auth.log.1").write_text(failed(2))
    (tmp_path / "auth.log").write_text(failed(3))
    named = [tmp_path / n for n in ("auth.log", "auth.log.1", "auth.log.2.gz")]  # as a shell names them
    assert [e.at for e in Logs.of(named).events()] == sorted(e.at for e in Logs.of(named).events())
    assert [p.name for p in Logs.of([tmp_path]).groups[0]] == ["auth.log.2.gz", "auth.log.1", "auth.log"], "a directory has the same"
    dated = [tmp_path / n for n in ("secure", "secure-20261101", "secure-20261108.xz")]
    for path in dated:
        path.write_bytes(lzma.compress(b"") if path.suffix == ".xz" else b"")
    assert [p.name for p in Logs.of(dated).groups[0]] == ["secure-20261101", "secure-20261108.xz", "secure"]


def test_what_they_tell(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "".join(failed(n) for n in range(7)) + failed(8, B, "invalid user admin")
        + f"2026-11-24T17:30:05+00:00 gate sshd[9]: Accepted publickey for anna from {B} port 1 ssh2: ED25519 SHA256:x\n"
    )  # fmt: skip
    found = form(tmp_path, tmp_path / "log")
    assert (found["attempts"], found["sources"], found["made"]) == (8, 2, {"burst": 1})
    assert found["names"] == [{"name": "bob", "attempts": 7}]
    assert found["unknown"] == 1
    assert [x["address"] for x in found["logins"]] == [B]  # type: ignore[attr-defined]
    part = form(tmp_path, tmp_path / "log", "--since", "2026-11-24 17:04Z", "--until", "2026-11-24 17:08Z")
    assert part["attempts"] == 3
    page = report(tmp_path, tmp_path / "log", "--html", "-").stdout
    assert page.startswith("<!doctype html>")
    assert "203.0.113.9" in page
    assert "<h1>quietgate, looking back</h1>" in page
    assert "in force" not in page + report(tmp_path, tmp_path / "log").stdout, "a log knows of no ban that is in force"


def test_the_policy_decides_who_would_have_been_banned_and_for_how_long(tmp_path: Path) -> None:
    lines = [failed(n) for n in range(6)] + [failed(n, B) for n in range(6)] + [failed(n + 30) for n in range(6)]
    (tmp_path / "log").write_text("".join(lines))
    place = tmp_path / "etc/quietgate"
    place.mkdir(parents=True)
    (place / "quietgate.toml").write_text(f'version = 1\n[guard]\nnever_ban = ["{B}"]\n[bans]\njitter = 0\n')
    found = form(tmp_path, tmp_path / "log")
    assert found["made"] == {"burst": 2}, "the second time too, and nobody who is never banned"
    text = report(tmp_path, tmp_path / "log").stdout
    assert re.search(rf"{re.escape(A)} +12 +until 2026-11-24 18:34", text), "an hour, since it is the second"
    assert form(tmp_path, tmp_path / "log") == found, "the same log, the same answer"


def test_two_hosts_in_two_files_are_told_together_by_time(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(failed(n, host="a") for n in (1, 3, 5)))
    (tmp_path / "b.log").write_text("".join(failed(n, host="b") for n in (2, 4, 6)))
    events = list(Logs.of([tmp_path / "a.log", tmp_path / "b.log"]).events())
    assert [e.host for e in events] == ["a", "b"] * 3
    assert form(tmp_path, tmp_path / "a.log", tmp_path / "b.log")["made"] == {"burst": 1}


def test_what_is_wrong_with_a_log_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = gzip.compress("".join(failed(n % 60, pid=n + 1) for n in range(5000)).encode())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "rubbish").write_bytes(failed(1).encode() + os.urandom(4096) + b"\n" + failed(2).encode())
    done = report(tmp_path, tmp_path / "cut.gz", tmp_path / "rubbish")
    assert done.exit_code == 0
    assert "cut.gz: it was read until it broke" in done.stderr
    assert int(str(form(tmp_path, tmp_path / "rubbish")["attempts"])) == 2
    assert "no line of an SSH server" in report(tmp_path, "/dev/null").stderr
    gone = report(tmp_path, tmp_path / "gone", tmp_path / "too")
    assert gone.exception is not None
    assert str(gone.exception).count("No such file or directory") == 2


def test_a_year_that_no_stamp_names_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "auth.log"
    file.write_text(
        f"Dec 31 23:59:50 gate sshd[1]: Failed password for root from {A} port 1 ssh2\nJan  1 00:00:10 gate sshd[2]: Failed password for root from {A} port 2 ssh2\n"
    )
    os.utime(file, (1735693200, 1735693200))  # 2025-01-01 01:00 UTC
    first, second = Logs.of([file]).events()
    assert 0 < second.at - first.at < 60


def test_times_that_run_backwards_count_every_attempt(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(failed(n) for n in (9, 8, 7, 6, 5, 4)))
    assert form(tmp_path, tmp_path / "log")["attempts"] == 6


@pytest.mark.skipif(not DATA.exists(), reason="the real log is not here")
def test_a_real_log_by_an_independent_count(tmp_path: Path) -> None:
    """Guesses of the busiest sources: failed passwords as grep counts them, with what syslog summed up."""
    counted: Counter[str] = Counter()
    for line in DATA.read_text().splitlines():
        match = re.search(r"(?:message repeated (\d+) times: \[ )?Failed password for .* from (\S+) port", line)
        if match:
            counted[match[2]] += int(match[1] or 1)
    found = form(tmp_path, DATA)
    busiest = {x["source"]: x["attempts"] for x in found["busiest"]}  # type: ignore[attr-defined]
    for source, attempts in busiest.items():
        assert attempts >= counted[source], source
        assert attempts <= counted[source] * 1.05 + 1, (source, attempts, counted[source])
