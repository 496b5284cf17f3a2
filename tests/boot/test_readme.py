"""A newcomer on a fresh Debian who follows README.md: from the clone to the first attacker banned, and the three usual mistakes."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from quietgate.ui.cli import COMMANDS
from tests.boot.machine import INSIDE, Machine, machine
from tests.boot.readme import missing, sessions, to_type
from tests.boot.tree import CHECKOUT
from tests.kernel.guarded import type_passwords
from tests.kernel.lab import wait_for

TIMES = {"demo": 90}
ATTACKER, SECONDS = "198.18.208.66", 300
# Who wrote a policy in a hurry.
MISTYPED = """version = 1
[ssh]
prots = [22]
limit = "5 per minutee"
trusted = ["300.1.1.1"]
[firewal]
"""
pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.fixture
def newcomer() -> Iterator[Machine]:
    """A fresh Debian with a user who may sudo; the repository is at hand, and so is what pip would fetch."""
    with machine("bookworm", "git", "sudo", "jq") as m:
        m.write("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /wheels\n")
        m.write("/etc/sudoers.d/alice", "alice ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        m.write("/root/.gitconfig", "[safe]\n\tdirectory = *\n")
        m.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n")
        m.write("/etc/hostname", "debian\n")
        m.boot(f"--bind-ro={CHECKOUT}:/repository")
        m.sh("useradd -m -s /bin/bash alice && echo alice:correct | chpasswd && cp /root/.gitconfig /home/alice")
        yield m


def alice(m: Machine, *commands: str) -> str:
    """What she types, in her clone, as she would."""
    return m.sh("su - alice <<'TYPED'\nset -e\n" + "\n".join(commands) + "\nTYPED")


def test_from_the_clone_to_the_first_attacker_banned(newcomer: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    m = newcomer
    begun = time.monotonic()
    alice(m, "git clone -q /repository quietgate")
    said = alice(m, "cd quietgate", *to_type("./install.sh"))
    installed = time.monotonic() - begun
    assert re.search(r"^up: generation 1 is in force", said, re.MULTILINE), "the status"
    assert re.search(r"^  without quietgate: .*\n  with    quietgate: the administrator got in (\d+) of \1 times", said, re.MULTILINE), said
    for _ in range(2):
        type_passwords(m.outside, ATTACKER, INSIDE, "root", 3)
    wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "the attacker is banned", 10)
    seconds = time.monotonic() - begun
    assert not m.answers(ATTACKER)
    with capsys.disabled():
        print(f"\nfrom the clone to the first attacker banned: {seconds:.0f} s, {installed:.0f} of them to install and see the demo")
    assert seconds < SECONDS
    shown = sessions()
    why = next(c for c in shown if c.startswith("quietgate why "))
    assert missing(shown[why], m.sh(re.sub(r"\S+$", ATTACKER, why))) == []
    assert missing(shown["quietgate up"], changed_and_proven(m)) == []


def changed_and_proven(m: Machine) -> str:
    """The policy is changed, `quietgate up` waits in one terminal, a login comes from another: what the first one showed."""
    m.ssh("sed -i 's/^#* *limit = .*//; s/^\\[ssh\\]/[ssh]\\nlimit = \"6 per 1m\"/' /etc/quietgate/quietgate.toml; quietgate check")
    words = [*m.ssh_words(), "quietgate up 2>&1"]  # one stream, as on a terminal: ssh carries two beside each other
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
        assert first.stdout is not None
        lines = []
        for line in first.stdout:
            lines.append(line)
            if "without either" in line:
                second = subprocess.Popen([*m.ssh_words(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert first.wait(60) == 0, lines
    second.kill()
    second.wait()
    return "".join(lines)


def test_the_three_usual_mistakes_are_answered_with_a_remedy(newcomer: Machine) -> None:
    m = newcomer
    alice(m, "git clone -q /repository quietgate")
    done = m.run("su - alice -c 'cd quietgate && ./install.sh'")
    assert (done.returncode, done.stderr) == (77, "install.sh: this needs root: sudo ./install.sh\n")
    alice(m, "cd quietgate", "sudo ./install.sh")
    policy = m.sh("cat /etc/quietgate/quietgate.toml")
    without_root(m)
    m.write("/etc/quietgate/quietgate.toml", MISTYPED)
    for command, code in (("doctor", 1), ("why 192.0.2.1", 0)):
        assert re.search(r"/etc/quietgate/quietgate.toml:3: .*; ", m.sh(f"quietgate {command}", expect=code)), (
            "they answer for what is in force"
        )
    assert "is in force all the same, with:" in m.sh("quietgate diff", expect=2)
    for command in ("check", "show", "up", "up --now"):
        said = m.sh(f"quietgate {command}", expect=2)
        assert [int(n) for n in re.findall(r"^/etc/quietgate/quietgate.toml:(\d): .*; ", said, re.MULTILINE)] == [3, 4, 5, 6], said
        assert "did you mean ssh.ports?" in said
        assert said.endswith("4 mistakes; nothing was changed\n")
    assert "This goes by the policy in force" in m.sh("quietgate ban 192.0.2.1"), "whoever is attacked need not mend a file first"
    m.sh("rm /etc/quietgate/quietgate.toml")
    assert "there is no policy. This goes by the policy in force" in m.sh("quietgate ban 192.0.2.2")
    for command, code in (("doctor", 1), ("why 192.0.2.1", 0), ("diff", 2)):
        assert "there is no policy" in m.sh(f"quietgate {command}", expect=code)
    for command in ("check", "show", "up", "up --now"):
        said = m.sh(f"quietgate {command}", expect=2)
        assert said == "/etc/quietgate/quietgate.toml: there is no policy\nwrite one that fits this host: quietgate init\n"
    assert m.sh("quietgate status").endswith("next: quietgate init\n"), "what is in force stays, and the remedy is named"
    m.sh("quietgate init && quietgate check")
    assert m.sh("cat /etc/quietgate/quietgate.toml") == policy, "the remedy is one"


def without_root(m: Machine) -> None:
    needs = ("init --force", "init --print", "diff", "up", "up --now", "confirm", "revert", "down", "status", "doctor", "bans",
             "ban 192.0.2.1", "unban 192.0.2.1", "refresh", "boot", "run", "events -f", "demo", "report", "report --observed", "alerts", "alerts ack all", "alerts test")  # fmt: skip
    for command in needs:
        done = m.run(f"su - alice -c '/usr/local/sbin/quietgate {command} </dev/null'")
        said = f"{command}: {done.returncode}\n{done.stderr}"
        assert done.returncode == 77, said
        assert done.stderr.count("\n") == 2, said
        assert "run this as root" in done.stderr, said
        assert not done.stdout, said
    for command in ("check", "show", "why 192.0.2.1", "parse /dev/null", "--help"):
        done = m.run(f"su - alice -c '/usr/local/sbin/quietgate {command}'")
        assert done.returncode == 0, f"{command}\n{done.stderr}"


# What the examples of `--help` ask for that this host has not got, or what goes on until it is told to stop (124, by timeout(1)).
ANSWERS = {
    "quietgate init": "there is a policy already",
    "quietgate revert": "there is no earlier generation",
    "quietgate revert 7": "there is no generation 7",
    "quietgate confirm": "no trial is running",
    "quietgate run": "guards already",
    "quietgate alerts ack 3 4": "there is no alert 3",
    "quietgate alerts test": "the policy has no route",
    "quietgate deliver < job.json": "job.json: No such file",
    "quietgate events -f": "",
    "quietgate events --since 1h -f": "",
    "quietgate parse /var/log/auth.log.2.gz": "No such file",
    "quietgate helper": "no socket was handed over",
    "quietgate events -f --json | jq 'select(.event == \"ban\")'": "",
}


def test_each_example_of_the_help_works(newcomer: Machine) -> None:
    m = newcomer
    m.sh("cd /src && ./install.sh")
    m.sh("cd /root && cp /etc/quietgate/quietgate.toml . && cp quietgate.toml new.toml && echo 203.0.113.77 > addresses.txt")
    m.write("/var/log/auth.log", "2026-11-24T20:19:33+00:00 host sshd[7]: Failed password for root from 203.0.113.9 port 7 ssh2\n")
    tried, wrong = 0, []
    for command in COMMANDS:
        for line in re.findall(r"^  ((?:\S+ .*\| |sudo )?quietgate .*)$", m.sh(f"quietgate {command} --help"), re.MULTILINE):
            if line.startswith("quietgate down") or "sudo quietgate down" in line:
                continue  # the rest needs it up; tests/kernel has it
            example = re.split(r"   +", line)[0].replace("sudo ", "")
            m.write("/root/example", f"cd /root\n{example}\n")
            done = m.run(f"timeout {TIMES.get(command, 5)} bash -o pipefail /root/example </dev/null")
            said = f"{example}: {done.returncode}\n{done.stdout[-500:]}{done.stderr}"
            expected = (
                done.returncode in {1, 2, 10, 124} and ANSWERS[example] in done.stderr if example in ANSWERS else done.returncode == 0
            )
            if not expected:
                wrong.append(said)
            tried += 1
    assert not wrong, "\n".join(wrong)
    assert tried > 30
