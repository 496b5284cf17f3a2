"""A server whose sshd logs through a real rsyslog, and a guard that reads it; clients that guess."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quietgate.firewall.names import ban, ban_net
from quietgate.host.netlink import SetWriter
from quietgate.net import Counting, parse_address
from quietgate.values import Scope
from tests.kernel.lab import QUIETGATE, Host, Pair, Sshd, wait_for
from tests.kernel.people import target_of

RSYSLOG = """
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{place}/log" CreatePath="on" UsePIDFromSystem="off" RateLimit.Interval="0")
template(name="line" type="string" string="%timestamp:::date-rfc3339% %hostname% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n")
action(type="omfile" file="{file}" template="line" flushOnTXEnd="on" asyncWriting="off")
"""


class Guarded:
    """One server: sshd, rsyslog, quietgate's guard."""

    def __init__(self, pair: Pair, sshd: Sshd, log: Path) -> None:
        self.pair, self.sshd, self.log = pair, sshd, log
        self.guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the guard, and wait until it answers."""
        words = ["ip", "netns", "exec", self.pair.server.name, str(QUIETGATE), "--root", str(self.pair.root), "run"]
        self.said = (self.pair.root / "guard.err").open("ab")
        self.guard = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said)
        self.pair.children.append(self.guard)
        wait_for(lambda: self.status() is not None, "the guard answers", 30)

    def stop(self, how: int = 15) -> None:
        """Stop it, or kill it."""
        assert self.guard is not None
        self.guard.send_signal(how)
        self.guard.wait(15)

    def status(self) -> dict[str, Any] | None:
        """What the guard says of itself; None while it does not."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(2)
                s.connect(str(self.pair.root / "run/quietgate/guard/control"))
                s.sendall(b'{"ask": "status"}\n')
                found: dict[str, Any] = json.loads(s.makefile().readline())
                return found
        except (OSError, ValueError):
            return None

    def banned(self, address: str) -> bool:
        """True if the address is in the kernel's set of bans. (Without a command of ours: a test asks a hundred times.)"""
        source = Counting().source_of(parse_address(address))
        key = source.value.to_bytes(4 if source.version == 4 else 16, "big")
        with self.pair.server.inside(), SetWriter() as kernel:
            if any(kernel.get(ban(source.version, scope, Counting()), key) is not None for scope in Scope):
                return True
            networks = any(kernel.keys(ban_net(source.version, scope)) for scope in Scope)
        return networks and '"verdict": "drop"' in self.pair.quietgate("why", address, "--json")

    def guess(self, source: str, user: str = "root", passwords: int = 1) -> None:
        """A real client that types wrong passwords."""
        guess(self.pair, source, user, passwords, self.sshd.port)


def guess(pair: Pair, source: str, user: str, passwords: int, port: int = 22) -> None:
    """`passwords` wrong ones over one connection to the pair's server."""
    type_passwords(pair.client, source, target_of(source), user, passwords, port)


def type_passwords(host: Host, source: str, target: str, user: str, passwords: int, port: int = 22) -> None:
    """`passwords` wrong ones over one connection, through a real ssh on a terminal."""
    words = ["ip", "netns", "exec", host.name, "ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", f"BindAddress={source}", "-o", "PreferredAuthentications=password", "-o", f"NumberOfPasswordPrompts={passwords}",
             "-o", "PubkeyAuthentication=no", "-o", "ConnectTimeout=2", "-o", "ControlPath=none", "-p", str(port), "-l", user, target]  # fmt: skip
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    heard = b""
    until = time.monotonic() + 30
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 0.5)[0]:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    pid = 0
                    break
                continue
            heard += os.read(terminal, 4096)
            if heard.lower().rstrip().endswith(b"password:"):
                os.write(terminal, b"wrong\n")
                heard = b""
    os.close(terminal)
    if pid:
        with contextlib.suppress(OSError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def syslogged(pair: Pair) -> tuple[Path, Path]:
    """A real rsyslog: the socket to put in the place of /dev/log (which exists afterwards), and the auth.log that it writes."""
    place = pair.root / "syslog"
    place.mkdir()
    log = pair.root / "var/log/auth.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    config = place / "rsyslog.conf"
    config.write_text(RSYSLOG.format(place=place, file=log))
    words = ["rsyslogd", "-n", "-f", str(config), "-i", str(place / "pid")]
    pair.children.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_for((place / "log").exists, "rsyslog listens")
    if not Path("/dev/log").exists():
        Path("/dev/log").touch()  # a place to mount on; nothing listens there outside
    return place / "log", log


@contextlib.contextmanager
def guarded(pair: Pair, *options: str, policy: str = "", start: bool = True) -> Iterator[Guarded]:
    """sshd under a mount namespace in which /dev/log is a real rsyslog's, which writes <root>/var/log/auth.log."""
    dev_log, log = syslogged(pair)
    sshd = syslog_sshd(pair, dev_log, *options)
    sshd.log = log
    pair.up(policy)
    found = Guarded(pair, sshd, log)
    if start:
        found.start()
    try:
        yield found
    finally:
        if found.guard is not None and found.guard.poll() is None:
            found.stop()


def syslog_sshd(pair: Pair, dev_log: Path, *options: str, port: int = 22) -> Sshd:
    """A real sshd whose /dev/log is that socket."""
    usual = (
        ()
        if any(o.startswith("PasswordAuthentication") for o in options)
        else ("PasswordAuthentication yes", "KbdInteractiveAuthentication no")
    )
    sshd = Sshd.__new__(Sshd)
    sshd.prepare(pair, port, (*options, *usual, "UsePAM yes"))
    command = f"mount --bind {dev_log} /dev/log && exec /usr/sbin/sshd -D -f {sshd.config}"
    sshd.process = pair.start(pair.server, "unshare", "-m", "sh", "-c", command)
    wait_for(lambda: pair.server.sh("ss", "-Htln", f"sport = :{port}"), "sshd listens", 10)
    return sshd
