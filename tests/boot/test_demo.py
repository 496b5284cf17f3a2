"""The demo on a fresh Debian, as README.md tells one to see it: soon there, and without a trace, whenever it is interrupted."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time

import pytest

from tests.boot.machine import OUTSIDE, Machine, machine
from tests.boot.readme import to_type
from tests.kernel.lab import wait_for

SECONDS, TURNS = 90, 10
# Of every file: its name, size and last change. Not what the guard, the journal and systemd write meanwhile.
FILES = """find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log/journal -o -path /var/lib/quietgate \\) -prune -o -printf '%p %s %T@\\n'
find /run /tmp /dev/shm \\( -path /run/systemd -o -path /run/log -o -path /run/quietgate \\) -prune -o ! -type d -printf '%p %s %T@\\n'
ls -A /run /tmp /var/tmp /dev/shm"""
REST = ("ip -br addr", "nft list ruleset | grep -v packets | sed -E 's/ (timeout|expires) [0-9a-z]+//g'", "cat /proc/mounts", "lsns -no TYPE,COMMAND", "pgrep -af '[d]emo|[s]shd|[1]98.19'; true",
        "loginctl 2>/dev/null; true")  # fmt: skip
pytestmark = [pytest.mark.boot, pytest.mark.long]


def seen(m: Machine) -> dict[str, set[str]]:
    """What somebody could have left behind."""
    return {command: set(m.sh(command).splitlines()) for command in (FILES, *REST)}


def quiet(m: Machine) -> None:
    """Installed, and what comes with the first login is over."""
    with subprocess.Popen([*m.ssh_words(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as session:
        for noted in ("known4_32", "floor4_32"):
            wait_for(lambda noted=noted: OUTSIDE in m.sh(f"nft list set inet quietgate {noted}"), f"{noted} has the login", 20)  # type: ignore[misc]
        session.terminate()
    m.sh("systemctl stop quietgate-refresh.timer")


def test_from_the_first_command_to_the_end_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    with machine("bookworm", "sudo") as m:
        m.write("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /wheels\n")
        m.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n")
        m.write("/etc/hostname", "debian\n")
        m.boot()
        begun = time.monotonic()
        said = m.sh("cd /src\nset -e\n" + "\n".join(to_type("quietgate demo")))
        seconds = time.monotonic() - begun
        with capsys.disabled():
            print(f"\nfrom the first command to the end of the demo: {seconds:.0f} s")
        assert "  with    quietgate: the administrator got in " in said
        assert seconds < SECONDS
        told = json.loads(m.sh("quietgate demo --seconds 30 --json 2>/dev/null"))
        without, guarded = told["servers"]
        assert guarded["failed"] == 0 < without["failed"]


def test_interrupted_at_any_moment_it_leaves_nothing_behind() -> None:
    with machine("bookworm") as m:
        m.boot()
        m.sh("cd /src && ./install.sh")
        quiet(m)
        before = seen(m)
        dice = random.Random(TURNS)
        for turn in range(TURNS):
            words = ["nsenter", "-t", str(m.pid), "-a", "/usr/local/sbin/quietgate", "demo"]
            child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            assert child.stderr is not None
            assert child.stderr.readline().startswith("setting the stage")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(dice.uniform(0, 15))
            inside = m.sh("pgrep -f 'quietgate demo'").split()[0]
            m.sh(f"kill -s {dice.choice([signal.SIGINT, signal.SIGTERM]).name[3:]} {inside}")
            _, said = child.communicate(timeout=40)
            assert child.returncode == 130, f"turn {turn}: {child.returncode}\n{said}"
            assert "Traceback" not in said
            after = seen(m)
            left = {c: sorted(before[c] ^ after[c]) for c in before if before[c] != after[c]}
            assert not left, f"turn {turn}: {left}"
