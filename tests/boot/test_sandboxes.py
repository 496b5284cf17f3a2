"""What who takes over one of our processes can do: tried from inside each unit's own sandbox, on a Debian that boots.

A copy of each unit, its program replaced by one that tries everything and writes down what it could do. What each may do stands in
`MAY`; what is not there, it cannot. docs/security.md says the same in words.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.boot.machine import OUTSIDE, Machine, machine
from tests.kernel.guarded import type_passwords
from tests.kernel.lab import wait_for

PACKAGING = Path(__file__).parents[2] / "packaging"
ATTACKER, BY_HAND = "198.18.208.66", "198.18.208.67"
# Of a unit what says how it is run, not in which sandbox.
OURS = ("Exec", "Type=", "Restart", "WatchdogSec", "RemainAfterExit", "StandardInput", "StandardError", "RuntimeMaxSec", "NotifyAccess", "Success",
        "Timeout")  # fmt: skip
PROBE = r"""#!/usr/bin/python3
import os, socket, subprocess, sys
os.path.isdir("/var/lib/quietgate") and os.access("/var/lib/quietgate", os.X_OK) and os.chdir("/var/lib/quietgate")
sshd = int(open("/run/sshd.pid").read())
def run(*words): subprocess.run(words, check=True, timeout=20, capture_output=True)
def read(path): open(path, "rb").read(1)
def write(path): open(os.path.join(path, f"probe-{os.getpid()}"), "w").close()
def reach(path): socket.socket(socket.AF_UNIX).connect(path)
manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
deeds = {
    "start a unit": lambda: run("systemd-run", "-q", "--no-ask-password", "true"),
    "restart a unit": lambda: run("systemctl", "--no-ask-password", "restart", "cron"),
    "ask the bus": lambda: run("busctl", "--timeout=3", "call", *manager, "StartUnit", "ss", "ssh.service", "replace"),
    "signal sshd": lambda: os.kill(sshd, 0),
    "look into PID 1": lambda: read("/proc/1/environ"),
    "see sshd's sockets": lambda: os.readlink(f"/proc/{sshd}/fd/3"),
    "read passwords": lambda: read("/etc/shadow"),
    "read host keys": lambda: read("/etc/ssh/ssh_host_ed25519_key"),
    "read the webhook's key": lambda: read("/etc/quietgate/hook.key"),
    "read TLS keys": lambda: read("/etc/ssl/private/site.key"),
    "read what was confirmed": lambda: read("/var/lib/quietgate/generations/1.json"),
    "read the database": lambda: read("/var/lib/quietgate/guard/quietgate.db"),
    "read the journal": lambda: run("journalctl", "-n1", "-q", "--no-pager", "-t", "sshd"),
    "write the database": lambda: write("/var/lib/quietgate/guard"),
    "write what was confirmed": lambda: write("/var/lib/quietgate/generations"),
    "replace what was confirmed": lambda: [os.rename(*ends) for ends in (("generations", "guard/away"), ("guard/away", "generations"))],
    "write beside the state": lambda: write("/var/lib/quietgate"),
    "write /run/quietgate": lambda: write("/run/quietgate"),
    "write its own /run": lambda: write("/run/quietgate/guard"),
    "write /run": lambda: write("/run"),
    "write units": lambda: write("/run/systemd/system"),
    "write /etc": lambda: write("/etc"),
    "write /etc/quietgate": lambda: write("/etc/quietgate"),
    "write /var/lib": lambda: write("/var/lib"),
    "write /opt": lambda: write("/opt/quietgate"),
    "lay a link": lambda: os.symlink("/etc/shadow", f"/var/lib/quietgate/guard/link-{os.getpid()}"),
    "lay a pipe": lambda: os.mkfifo(f"/var/lib/quietgate/guard/pipe-{os.getpid()}"),
    "use TCP": lambda: socket.create_connection(("127.0.0.1", 22), 3),
    "use UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "change the firewall": lambda: run("nft", "add table inet probe; delete table inet probe"),
    "hold the lock": lambda: open("/run/quietgate/lock", "r+").close(),
    "ask the helper": lambda: reach("/run/quietgate/helper"),
    "ask the guard": lambda: reach("/run/quietgate/guard/control"),
    "send a message": lambda: reach("/run/quietgate/deliverer"),
    "ask resolvers": lambda: reach("/run/quietgate/resolver"),
    "make namespaces": lambda: run("unshare", "-Ur", "true"),
    "become root": lambda: os.setuid(0) if os.getuid() else 1 / 0,
}
for name, deed in deeds.items():
    try:
        deed()
    except Exception:
        continue
    print(name)
print("done")
"""
GUARD = {"read what was confirmed", "read the database", "read the journal", "write the database", "write its own /run", "change the firewall",
         "hold the lock", "ask the helper", "ask the guard"}  # fmt: skip
ROOT = {"read host keys", "read the webhook's key", "read what was confirmed", "read the database", "read the journal", "write the database",
        "write what was confirmed", "replace what was confirmed", "write beside the state", "write /run/quietgate", "change the firewall", "hold the lock", "ask the helper",
        "send a message", "ask resolvers"}  # fmt: skip
MAY = {
    "quietgate-guard.service": GUARD,
    "quietgate-metrics.service": {"use TCP", "use UDP", "ask the guard"},
    "quietgate-notify.service": {"use TCP", "use UDP", "ask the guard"},
    "quietgate-deliver@.service": {"use TCP", "use UDP"},
    "quietgate-resolve@.service": {"use TCP", "use UDP"},
    "quietgate.service": ROOT | {"lay a link", "lay a pipe"},
    "quietgate-refresh.service": ROOT | {"lay a link", "lay a pipe"},
}


def copy_of(unit: str) -> str:
    """The unit with the probe in its place."""
    lines = (PACKAGING / unit).read_text().split("[Service]")[1].split("[Install]")[0].splitlines()
    kept = [line for line in lines if not line.startswith(OURS)]
    return "\n".join(
        ["[Service]", "Type=oneshot", "ExecStart=/usr/local/bin/probe", f"StandardOutput=file:/root/{name(unit)}.could", *kept, ""]
    )


def name(unit: str) -> str:
    return "probe-" + unit.removesuffix(".service").removesuffix("@")


@pytest.mark.long
@pytest.mark.boot
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_who_takes_a_process_over_is_shut_in(release: str) -> None:
    with machine(release) as m:
        m.boot()
        m.sh("cd /src && ./install.sh && useradd -m alice && echo alice:correct | chpasswd")
        m.write("/usr/local/bin/probe", PROBE, 0o755)
        for secret in ("/etc/quietgate/hook.key", "/etc/ssl/private/site.key"):
            m.write(secret, "a-secret-of-twenty-characters\n", 0o600)
        for unit in MAY:
            m.sh(f"cat > /run/systemd/system/{name(unit)}.service <<'UNIT'\n{copy_of(unit)}UNIT")
        m.sh("systemctl daemon-reload")
        could = {}
        for unit in MAY:
            m.sh(f"systemctl start {name(unit)}")
            could[unit] = set(m.sh(f"cat /root/{name(unit)}.could").splitlines())
        for unit, may in MAY.items():
            assert could[unit] == may | {"done"}, unit
        assert "start a unit" in m.sh("/usr/local/bin/probe"), "outside of a sandbox the probe can"
        m.sh("rm -f /var/lib/quietgate/guard/link-* /var/lib/quietgate/guard/pipe-*")
        a_guard_that_is_not_root_guards(m)
        root_writes_the_guards_database(m)
        an_earlier_layout_is_taken_over(m)
        assert m.sh("journalctl -b -u quietgate-guard -u quietgate-helper -p err --no-pager -q") == ""


def a_guard_that_is_not_root_guards(m: Machine) -> None:
    """It bans, ends what the source holds, sees a session, and puts the table back."""
    assert m.sh("ps -o user:20= -p $(systemctl show -P MainPID quietgate-guard)").strip() == "quietgate-guard"
    held = m.outside.connect(ATTACKER, "198.18.200.2", 22)
    assert held is not None
    for _ in range(2):
        type_passwords(m.outside, ATTACKER, "198.18.200.2", "alice", 3)
    wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "it is banned", 10)
    wait_for(lambda: ATTACKER not in m.sh("ss -Htn state established"), "what it held is ended", 5)
    m.ssh("sleep 1")
    wait_for(lambda: OUTSIDE in m.sh("nft list set inet quietgate floor4_32"), "the administrator is on the floor", 10)
    m.sh("nft flush ruleset")
    wait_for(lambda: "goto g1_in" in m.run("nft list chain inet quietgate input").stdout, "the rules are back", 10)
    assert not m.answers(ATTACKER)


def root_writes_the_guards_database(m: Machine) -> None:
    """With the guard away, also as the first who makes a file there; then the guard goes on."""
    m.sh("systemctl stop quietgate-guard && rm -f /var/lib/quietgate/guard/quietgate.db-wal /var/lib/quietgate/guard/quietgate.db-shm")
    m.sh(f"umask 077; quietgate ban {BY_HAND} --for 1h && systemctl start quietgate-refresh")
    m.sh("rm /run/quietgate/lock; umask 077; quietgate unban 192.0.2.99; systemctl start quietgate-guard")
    assert BY_HAND in m.sh("quietgate bans")
    m.sh(f"quietgate unban {ATTACKER}")
    for _ in range(3):
        type_passwords(m.outside, ATTACKER, "198.18.200.2", "alice", 3)
    wait_for(lambda: ATTACKER in m.sh("quietgate bans"), "what the guard does is written", 10)
    assert json.loads(m.sh("quietgate status --json"))["guard"]["trouble"] == ""


def an_earlier_layout_is_taken_over(m: Machine) -> None:
    """All of it root's, and the database beside what was confirmed."""
    m.sh("systemctl stop quietgate-guard quietgate-helper.socket quietgate-helper && cd /var/lib/quietgate && mv guard/* . && rmdir guard"
         " && rm -rf /run/quietgate/guard /run/quietgate/lock generations/machine && chown -R root:root . && setfacl -bk . 2>/dev/null;"
         " chmod 700 /var/lib/quietgate /var/lib/quietgate/generations; chmod 600 /var/lib/quietgate/*.db /var/lib/quietgate/generations/*")  # fmt: skip
    assert "guard      runs" in m.sh("cd /src && ./install.sh")
    said = m.sh("quietgate bans")
    assert BY_HAND in said
    assert ATTACKER in said
    assert not m.exists("/var/lib/quietgate/quietgate.db")
    assert json.loads(m.sh("quietgate status --json"))["guard"]["trouble"] == ""
