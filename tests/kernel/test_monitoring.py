"""What monitoring sees of a real guard: the plugin's line in every state, also when the guard hangs; metrics that are scraped; the digest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kernel.guarded import guarded
from tests.kernel.lab import QUIETGATE, Pair, wait_for
from tests.kernel.people import ADMIN, logged_in
from tests.kernel.receivers import MailServer
from tests.kernel.test_in_force import as_nobody
from tests.ui.test_metrics import prometheus  # noqa: F401  a fixture
from tests.ui.test_nagios import parsed

CHECK = QUIETGATE.with_name("check_quietgate")
LOOSE = '[ssh]\nlimit = "30 per 1m"\n'
GET = """
import socket, sys
s = socket.socket(socket.AF_UNIX) if sys.argv[1].startswith("/") else socket.socket()
s.connect(sys.argv[1] if sys.argv[1].startswith("/") else (sys.argv[1].rpartition(":")[0], int(sys.argv[1].rpartition(":")[2])))
s.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
print(s.makefile("rb").read().decode(), end="")
"""


def check(pair: Pair, *words: str, user: int | None = None) -> tuple[int, str, dict[str, float], float]:
    """State, text, data, and the seconds that it took; the exit code is the state, and there is one line."""
    drop = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    begin = time.monotonic()
    done = subprocess.run(["ip", "netns", "exec", pair.server.name, *drop, str(CHECK), "--root", str(pair.root), *words],
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    took = time.monotonic() - begin
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    state, said, data = parsed(done.stdout.rstrip("\n"))
    assert done.returncode == state
    return state, said, data, took


def test_the_plugin_says_what_is_true(pair: Pair) -> None:
    with guarded(pair, "PermitRootLogin yes", policy=LOOSE) as g:
        state, said, data, _ = check(pair)
        assert (state, said.split(",")[0]) == (0, "generation 1 in force")
        assert data["bans"] == 0
        for _ in range(2):
            g.guess("198.19.66.6", "root", 3)
        wait_for(lambda: g.banned("198.19.66.6"), "banned", 5)
        state, _, data, _ = check(pair, "-w", "0", "-c", "~:5")
        assert (state, data["bans"], data["bans_made"]) == (1, 1, 1)
        assert check(pair, "-c", "0")[0] == 2
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: check(pair)[1].startswith("1 alert of blind"), "an alert is critical", 5)
        assert check(pair)[0] == 2
        pair.quietgate("alerts", "ack", "all")
        assert check(pair)[0] == 0
        # it hangs: no answer, and the plugin is on time all the same
        g.guard.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        state, said, _, took = check(pair, "-t", "10")
        g.guard.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        assert state == 2, said
        assert "does not answer" in said
        assert took < 25, "and not until somebody answers; starting Python takes seconds on a busy machine"
        g.stop()
        assert check(pair)[0] == 2
        pair.quietgate("down")
        assert check(pair)[1].startswith("the guard does not run")


def test_who_may_see_nothing_is_told_so_and_mistakes_are_unknown(pair: Pair) -> None:
    with guarded(pair, policy="", start=False):
        os.chmod(pair.root, 0o755)
        state, said, _, _ = check(pair, "-t", "nonsense")
        assert (state, said.startswith("argument -t")) == (3, True)
        assert check(pair, "--nonsense")[0] == 3
        assert check(pair, "-w", "x")[0] == 3


def test_a_plugin_without_an_answer_ends_in_time(tmp_path: Path) -> None:
    """nft itself hangs."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "nft").write_text("#!/bin/sh\nsleep 60\n")
    (place / "nft").chmod(0o755)
    begin = time.monotonic()
    done = subprocess.run([CHECK, "--root", str(tmp_path), "-t", "2"], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"})  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "QUIETGATE UNKNOWN - no answer in time\n")
    assert time.monotonic() - begin < 15, "and not a minute; starting Python takes seconds on a busy machine"


def test_metrics_without_rights_end_with_77(pair: Pair) -> None:
    with guarded(pair, policy="") as g:
        done = as_nobody(pair, "quietgate", "metrics")
        assert (done.returncode, done.stdout) == (77, ""), done.stderr
        assert "may not be used by this user" in done.stderr
        done = as_nobody(pair, "check_quietgate")
        assert (done.returncode, done.stdout.startswith("QUIETGATE UNKNOWN - nothing can be seen: ")) == (3, True)
        g.stop()
        assert "quietgate_guard_up 0.0" in pair.quietgate("metrics")
        done = as_nobody(pair, "quietgate", "metrics")
        assert (done.returncode, "quietgate_guard_up 0.0" in done.stdout) == (0, True), "that it does not run can be seen by everybody"
        assert "may not be looked at by this user" in done.stderr
        assert as_nobody(pair, "check_quietgate").returncode == 2


@pytest.mark.parametrize("listen", ["127.0.0.1:9911", pytest.param("/run/quietgate/metrics.sock", marks=pytest.mark.long)])
def test_metrics_are_served_and_written(pair: Pair, listen: str) -> None:
    wanted = f'[metrics]\nlisten = "{listen}"\ntextfile = "/node/quietgate.prom"\n'
    (pair.root / "node").mkdir()
    with guarded(pair, "PermitRootLogin yes", policy=LOOSE + wanted) as g:
        for _ in range(2):
            g.guess("198.19.66.6", "root", 3)
        wait_for(lambda: g.banned("198.19.66.6"), "banned", 5)
        pair.start(pair.server, str(QUIETGATE), "--root", str(pair.root), "metrics", "--serve")
        wait_for((pair.root / "node/quietgate.prom").exists, "the file is there", 10)
        where = listen if ":" in listen else str(pair.root / listen.lstrip("/"))
        answer = pair.server.sh(sys.executable, "-c", GET, where)
        head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
        assert head.startswith("HTTP/1.0 200 OK")
        for text in (body, (pair.root / "node/quietgate.prom").read_text(), pair.quietgate("metrics")):
            found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
            assert found["quietgate_bans",] == 1
            assert found["quietgate_guard_up",] == 1
            assert found["quietgate_attempts_total", "failed"] >= 5
            assert found["quietgate_packets_total", "ssh_counted"] >= 2
            assert "198.19.66.6" not in text


@pytest.mark.long
def test_a_real_prometheus_scrapes_it(pair: Pair, prometheus: Path) -> None:  # noqa: F811
    with guarded(pair, policy='[metrics]\nlisten = "127.0.0.1:9911"\n'):
        pair.start(pair.server, str(QUIETGATE), "--root", str(pair.root), "metrics", "--serve")
        config = pair.root / "prometheus.yml"
        rules = Path(__file__).parents[2] / "packaging/monitoring/quietgate.rules.yml"
        config.write_text(f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules}]\n"
                          "scrape_configs: [{job_name: quietgate, static_configs: [{targets: ['127.0.0.1:9911']}]}]\n")  # fmt: skip
        pair.start(pair.server, str(prometheus / "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={pair.root}/tsdb",
                   "--web.listen-address=127.0.0.1:9090")  # fmt: skip

        def asked(query: str) -> list[str]:
            code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/query?query={query}').read().decode())"
            done = pair.server.sh(sys.executable, "-c", code, check=False)
            return [r["value"][1] for r in json.loads(done or '{"data": {"result": []}}')["data"]["result"]]

        wait_for(lambda: asked("quietgate_guard_up") == ["1"], "it has scraped", 60)
        assert asked("quietgate_firewall_up") == ["1"]
        assert asked("ALERTS") == []
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: asked("sum(quietgate_alerts_standing)") == ["1"], "the alert is seen", 20)
        wait_for(lambda: len(asked("ALERTS")) == 1, "and its rule fires", 20)


@pytest.mark.long
def test_the_report_and_the_digest_by_mail(pair: Pair) -> None:
    mail = MailServer(pair)
    mail.start(25)
    digest = '[digest]\nevery = "daily"\nto = ["ops@example.net", "boss@example.net"]\n'
    with guarded(pair, "PermitRootLogin yes", policy=LOOSE + digest) as g:
        with logged_in(g.sshd, ADMIN):
            wait_for(lambda: json.loads(pair.quietgate("report", "--json"))["logins"], "the login is recorded", 10)
        for user in ("root", "hunter2-my-password"):
            g.guess("198.19.66.6", user, 3)
        wait_for(lambda: g.banned("198.19.66.6"), "banned", 5)
        wait_for(lambda: json.loads(pair.quietgate("report", "--json"))["attempts"] >= 5, "written", 5)
        text = pair.quietgate("report")
        assert "198.19.66.6" in text
        assert "banned     1: " in text
        assert "1 that does not exist here" in text
        assert "hunter2" not in text + pair.quietgate("report", "--html", "-")
        found = json.loads(pair.quietgate("report", "--json", "--for", "1h"))
        assert (found["sources"], found["busiest"][0]["source"], found["busiest"][0]["banned"]) == (1, "198.19.66.6", True)
        assert found["logins"][0]["user"] == "root"
        assert "ops@example.net, boss@example.net" in pair.quietgate("report", "--send")
        wait_for(lambda: mail.got, "it arrives", 15)
        (letter,) = mail.got
        assert letter["To"] == "ops@example.net, boss@example.net"
        kinds = [part.get_content_type() for part in letter.walk()]
        assert kinds == ["multipart/alternative", "text/plain", "text/html"]
        assert "attempt" in letter["Subject"]
        assert "hunter2" not in letter.as_string()
    assert "--for: 'x' is no duration" in pair.quietgate("report", "--for", "x", expect=2)
