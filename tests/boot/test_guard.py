"""The guard on a Debian that boots: by the journal, against the sshd of that release, in its hardened unit."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from quietgate.sshlog.sshd import Kind
from tests.boot.machine import INSIDE, OUTSIDE, Machine, machine
from tests.kernel.guarded import type_passwords
from tests.kernel.lab import wait_for
from tests.kernel.people import Session

# In whichever hierarchy of cgroups systemd keeps its units here.
UNIT_OF_SSHD = (
    "$(ls -d /sys/fs/cgroup/systemd/system.slice/ssh.service /sys/fs/cgroup/system.slice/ssh.service 2>/dev/null | head -n 1)/cgroup.procs"
)
ATTACKER, STRANGER = "198.18.208.66", "198.18.210.7"  # of two networks: neighbours share their places
UNITS = ("quietgate.service", "quietgate-refresh.service", "quietgate-guard.service", "quietgate-helper.service", "quietgate-resolve@.service",
         "quietgate-deliver@.service", "quietgate-metrics.service", "quietgate-notify.service")  # fmt: skip
# Writes down each message, and whose process sent it.
RECEIVER = r"""
import http.server, json, pathlib, re
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mine = "%04X" % self.client_address[1]
        rows = [r.split() for r in open("/proc/net/tcp").read().splitlines()[1:]]
        user = next((r[7] for r in rows if r[1].endswith(":" + mine)), "?")
        with open("/root/posted", "a") as out:
            out.write(json.dumps({"user": user, "signed": self.headers["X-Quietgate-Signature"], "body": json.loads(body)}) + "\n")
        self.send_response(204); self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), H).serve_forever()
"""
RECORDED = Path(__file__).parents[1] / "guard" / "recorded"


@pytest.mark.boot
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_who_guesses_is_banned_by_the_journal(release: str) -> None:
    with machine(release) as m:
        m.boot()
        m.sh("cd /src && ./install.sh && useradd -m alice && echo alice:correct | chpasswd")
        said = m.sh("quietgate status")
        assert "guard      runs" in said
        assert re.search(r"source +journal: ", said)
        with logged_in(m) as session:
            wait_for(lambda: OUTSIDE in m.sh("nft list set inet quietgate floor4_32"), "the administrator is on the floor", 10)
            held = m.outside.connect(ATTACKER, INSIDE, 22)
            assert held is not None
            type_passwords(m.outside, ATTACKER, INSIDE, "alice", 3)
            wait_for(lambda: m.answers(ATTACKER), "three do not, when its places are free again", 5)
            type_passwords(m.outside, ATTACKER, INSIDE, "alice", 3)
            wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "the fifth bans", 5)
            assert not m.answers(ATTACKER)
            wait_for(lambda: ATTACKER not in m.sh("ss -Htn state established"), "what it held is ended", 2)
            assert "burst: 5 in 10m" in m.sh("quietgate bans")
            the_log_says_it(m)
            assert "alice" in m.sh(f"quietgate why {ATTACKER}"), "the story, with the name of a user that exists"
            assert session.alive()
            assert m.ssh("echo in") == "in\n"
        assert m.answers(STRANGER)
        forged_lines_are_not_believed(m)
        the_guard_comes_back(m)
        messages_and_figures_go_out(m)
        record(m, release)
        for unit in UNITS:
            level = re.search(r"exposure level for \S+: ([\d.]+)", m.sh(f"systemd-analyze security --no-pager {unit.replace('@', '@1')}"))
            assert level is not None
            assert float(level[1]) < 2.0, f"{unit}: {level[1]}"
        assert m.sh("journalctl -b -u quietgate-guard -p err --no-pager -q") == ""


def logged_in(m: Machine) -> _Open:
    return _Open(m)


class _Open:
    """An administrator who is logged in from outside."""

    def __init__(self, m: Machine) -> None:
        self.session = Session(subprocess.Popen([*m.ssh_words(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def __enter__(self) -> Session:
        assert self.session.alive(10)
        return self.session

    def __exit__(self, *_: object) -> None:
        self.session.close()


def messages_and_figures_go_out(m: Machine) -> None:
    """Through the unit that may reach the network, and by the one that may not change anything; for a user of the monitoring too."""
    m.write("/root/receiver.py", RECEIVER)
    m.sh("systemd-run -q --unit receiver python3 /root/receiver.py")
    m.write("/etc/quietgate/hook.key", "a-secret-of-twenty-characters\n", 0o600)
    m.write(
        "/etc/quietgate/conf.d/tell.toml",
        """
[metrics]
listen = "127.0.0.1:9911"
[[alerts.route]]
to = "webhook"
url = "http://127.0.0.1:8099/hook"
secret = "file:/etc/quietgate/hook.key"
""",
    )
    m.sh("quietgate up --now")
    assert "it arrived" in m.sh("quietgate alerts test")
    assert "quietgate-deliver@" in m.sh("journalctl -b -u 'quietgate-deliver@*' -o json --no-pager | head -c 20000")
    m.sh("nft flush ruleset")
    wait_for(lambda: m.sh("wc -l < /root/posted").strip() == "2", "the guard's own message arrives", 10)
    message = json.loads(m.sh("tail -n 1 /root/posted"))
    assert message["user"] != "0", "nobody in particular sent it"
    assert message["body"]["alerts"][0]["subject"] == "table"
    assert message["signed"].startswith("sha256=")
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9911/metrics').read().decode())"
    wait_for(lambda: "quietgate_firewall_up 1.0" in m.run(f'python3 -c "{ask}"').stdout, "metrics are served", 20)
    m.sh("useradd -G quietgate watcher && useradd stranger")
    assert m.run("runuser -u watcher check_quietgate").stdout.startswith("QUIETGATE CRITICAL - 1 alert of blind: quietgate alerts |")
    assert m.run("runuser -u stranger check_quietgate").stdout.startswith("QUIETGATE UNKNOWN - nothing can be seen")
    assert m.run("check_quietgate").stdout.startswith("QUIETGATE CRITICAL - 1 alert of blind")
    m.sh("quietgate alerts ack all && check_quietgate")
    assert m.run("runuser -u watcher check_quietgate").stdout.startswith("QUIETGATE OK - generation ")
    m.sh("rm /etc/quietgate/conf.d/tell.toml && quietgate up --now && systemctl stop receiver")
    wait_for(lambda: m.run("systemctl is-active quietgate-metrics").stdout.strip() == "inactive", "the figures are served no more", 10)


def the_log_says_it(m: Machine) -> None:
    """The guard reaches journald out of its unit, and a command does."""
    m.sh("quietgate ban 198.18.208.200 --reason 'a grudge' && quietgate unban 198.18.208.200 && journalctl --sync")
    said = m.sh("journalctl -b -t quietgate -o cat --no-pager")
    assert re.search(rf"^banned {ATTACKER} \(ssh\) until 20\S+ \S+ by guard: burst: 5 in 10m$", said, re.MULTILINE), said
    assert "unbanned 198.18.208.200 (" in said
    assert "put generation 1 in force by" in said
    found = [json.loads(x) for x in m.sh("journalctl -b QUIETGATE_DEED=ban -o json --no-pager").splitlines()]
    assert {(x["QUIETGATE_SUBJECT"], x["QUIETGATE_REASON"]) for x in found} >= {
        (ATTACKER, "burst: 5 in 10m"),
        ("198.18.208.200", "a grudge"),
    }
    assert [x["_SYSTEMD_UNIT"] for x in found if x["QUIETGATE_BY"] == "guard"] == ["quietgate-guard.service"]
    assert f"banned {ATTACKER} (ssh)" in m.sh("quietgate events --since 1h")
    assert "lifted 20" in m.sh("quietgate bans --all --since 1h")


def forged_lines_are_not_believed(m: Machine) -> None:
    """Any user can log as "sshd"; journald knows better. A link of that name and root's number do not make a program sshd, not even in
    the cgroup of sshd's unit, where a user's processes are as well where PAM makes no session of logind's.
    """
    m.sh("mkdir -p /tmp/links && ln -sf /usr/bin/logger /tmp/links/sshd")
    for line in ("Failed password for root from 198.18.208.96 port 5 ssh2", "Accepted publickey for root from 198.18.208.95 port 5 ssh2"):
        for _ in range(8):
            m.sh(f"/tmp/links/sshd -t 'sshd[79]' -p auth.info '{line}'")
            m.sh(f"echo $$ > {UNIT_OF_SSHD} && exec /tmp/links/sshd -t 'sshd[80]' -p auth.info '{line}'")
    for line in ("Failed password for root from 198.18.208.99 port 5 ssh2", "Accepted publickey for root from 198.18.208.98 port 5 ssh2"):
        for _ in range(8):
            m.sh(f"setpriv --reuid=65534 --clear-groups logger -t 'sshd[77]' -p auth.info '{line}'")
    m.sh("logger -t 'sshd[78]' 'Failed password for root from 198.18.208.97 port 5 ssh2'")
    # A real line after them: when its login is known, they have been read.
    wait_for(lambda: m.ssh("sleep 1", STRANGER) or STRANGER in m.sh("nft list set inet quietgate known4_32"), "the real one is known", 20)
    kernel = m.sh("nft list table inet quietgate")
    assert not [a for a in ("198.18.208.99", "198.18.208.98", "198.18.208.97", "198.18.208.96", "198.18.208.95") if a in kernel]


def the_guard_comes_back(m: Machine) -> None:
    """Killed, it is there again, and reads on where it was; reloaded, it forgets nothing."""
    before = json.loads(m.sh("quietgate status --json"))["guard"]["pid"]
    m.sh("systemctl kill --kill-whom=main -s KILL quietgate-guard")
    wait_for(lambda: (json.loads(m.sh("quietgate status --json"))["guard"] or {"pid": before})["pid"] != before, "it is back", 15)
    assert ATTACKER in m.sh("quietgate bans")
    m.sh("systemctl reload quietgate-guard")
    wait_for(lambda: m.sh("systemctl is-active quietgate-guard || true") == "active\n", "it has read the policy again", 10)


def record(m: Machine, release: str) -> None:
    """The real lines of this release's sshd are understood; with QUIETGATE_REGENERATE they are kept in the checkout."""
    lines = m.sh("journalctl -b -t sshd -t sshd-session -t sshd-auth -o short-iso --no-pager -q")
    kinds = {json.loads(x)["kind"] for x in m.sh(f"cat > /tmp/l <<'LINES'\n{lines}LINES\nquietgate parse --json /tmp/l").splitlines()}
    assert kinds >= {Kind.FAILED.value, Kind.PAM_FAILED.value, Kind.ACCEPTED.value}, kinds
    if os.environ.get("QUIETGATE_REGENERATE"):
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{release}.log").write_text(lines)
