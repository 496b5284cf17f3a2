"""A Debian tree as a machine on a cable: it boots, reboots, is reached from outside, and is gone after the test.

The other end of the cable is a network namespace of its own (`outside`), a bridge that outlives a reboot: whoever
attacks from there goes on while the machine is down. Nothing of it touches the root namespace.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.boot.tree import CACHE, copy, fresh, place_checkout
from tests.kernel.lab import Host, sh, wait_for

INSIDE, OUTSIDE = "198.18.200.2", "198.18.200.1"
LIMITED = [True] * 5 + [False] * 3  # what becomes of a stranger's first eight connections in a minute
OURS = ("/opt", "/usr/local", "/etc/systemd", "/etc/init.d", "/etc/rc*.d", "/etc/cron.d", "/etc/quietgate", "/var/lib/quietgate",
        "/run/quietgate", "/run/systemd/system")  # fmt: skip
STRANGERS = "198.18.208.0/20"  # all of these are addresses of `outside` too
OFFLINE = "PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels"
NETWORKD = f"[Match]\nName=host0\n[Network]\nAddress={INSIDE}/24\nGateway={OUTSIDE}\n"
IFUPDOWN = f"auto host0\niface host0 inet static\n  address {INSIDE}/24\n  gateway {OUTSIDE}\n"
_numbers = itertools.count()


class Machine:
    """One machine. `sh` runs a command in it while it runs, `offline` while it does not."""

    def __init__(self, tree: Path, outside: Host, name: str) -> None:
        self.tree = tree
        self.outside = outside
        self.name = name
        self.child: subprocess.Popen[bytes] | None = None
        self.key = tree.parent / "key"
        self.ready = "systemctl is-active multi-user.target"

    # -- what it is

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of it."""
        file = self.tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def exists(self, path: str) -> bool:
        """True if there is such a file, or a link of that name."""
        return os.path.lexists(self.tree / path.lstrip("/"))

    def offline(self, command: str) -> str:
        """Run a command in the tree while it is not booted, as a builder of images does: no systemd, no network."""
        return sh("systemd-nspawn", "-q", "-D", str(self.tree), "--private-network", "--register=no", "--keep-unit", "--pipe",
                  "env", *OFFLINE.split(), "sh", "-c", command, timeout=300)  # fmt: skip

    # -- its life

    def boot(self, *options: str) -> None:
        """Boot it and wait until it is ready. `options` go to systemd-nspawn."""
        words = ["nsenter", f"--net=/run/netns/{self.outside.name}", "systemd-nspawn", "-D", str(self.tree), "-M", self.name, "-b",
                 "--network-bridge=br0", "--register=no", "--keep-unit", "--console=pipe", *options]  # fmt: skip
        with open(self.tree.parent / "console", "ab") as console:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        wait_for(lambda: self.pid, "the machine boots", 30)
        wait_for(lambda: self.run(self.ready).returncode == 0, "it is ready", 90)
        wait_for(lambda: "1 received" in self.outside.sh("ping", "-c1", "-W1", INSIDE, check=False), "it is on the network", 30)

    def reboot(self) -> None:
        """Reboot it, and wait until it is ready again."""
        assert self.child is not None
        self.run("reboot")
        assert self.child.wait(90) == 133, "with --keep-unit this is how systemd-nspawn says that it wants to reboot"
        self.boot()

    def off(self) -> None:
        """Power it off. Idempotent."""
        if self.child is None:
            return
        if self.pid:
            self.run("poweroff")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(30)
        self.child.kill()
        self.child.wait()
        self.child = None

    @property
    def pid(self) -> int:
        """Its first process: the child of systemd-nspawn; 0 while there is none."""
        if self.child is None:
            return 0
        found = sh("pgrep", "-P", str(self.child.pid), "-x", "systemd|init", check=False).split()
        return int(found[0]) if found else 0

    # -- what is done in it

    def run(self, command: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a command in it, whatever comes of it."""
        words = ["nsenter", "-t", str(self.pid), "-a", "env", *OFFLINE.split(), "sh", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)

    def sh(self, command: str, expect: int = 0) -> str:
        """Run a command in it; what it printed on both streams."""
        done = self.run(command)
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def moment(self, words: str) -> float:
        """When the journal of this boot first says so, in seconds of the monotonic clock."""
        lines = [x for x in self.sh("journalctl -b -o short-monotonic").splitlines() if words in x]
        assert lines, f"the journal has a line with: {words}"
        return float(lines[0].split("]")[0].strip("[ "))

    def files(self) -> set[str]:
        """Every file where an installation puts any; the numbers of services in rcS.d move when one comes or goes."""
        listed = self.sh(f"find {' '.join(OURS)} -not -name __pycache__ -not -name '*.pyc' -not -name '.depend.*' 2>/dev/null; true")
        return {re.sub(r"(/etc/rc.\.d/[SK])\d\d", r"\1", line) for line in listed.splitlines()}

    # -- what is done from outside

    def answers(self, source: str, port: int = 22) -> bool:
        """True if a new connection from that address hears sshd."""
        return self.outside.banner(source, INSIDE, port, timeout=0.5)

    def lets_in(self, source: str, tries: int = 8, port: int = 22) -> list[bool]:
        """What becomes of so many new connections in a row."""
        return [self.answers(source, port) for _ in range(tries)]

    def ssh_words(self, source: str = OUTSIDE, port: int = 22) -> list[str]:
        """A real ssh, as root, from an address outside; a command may follow."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5", f"BindAddress={source}"]
        return ["ip", "netns", "exec", self.outside.name, "ssh", "-q", "-F", "/dev/null", "-i", str(self.key), "-p", str(port),
                *(w for o in options for w in ("-o", o)), f"root@{INSIDE}"]  # fmt: skip

    def ssh(self, command: str, source: str = OUTSIDE, port: int = 22) -> str:
        """What a command printed over a real ssh."""
        return sh(*self.ssh_words(source, port), command, timeout=180)


@contextlib.contextmanager
def machine(release: str, *packages: str, network: str = "networkd", systemd: bool = True) -> Iterator[Machine]:
    """A copy of a fresh tree on its cable, not booted yet; gone afterwards with all it ran."""
    name = f"qg{os.getpid() % 100000}-{next(_numbers)}"
    source = fresh(release, *packages, systemd=systemd)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="running") as place, _cable(f"{name}-out") as outside:
        tree = Path(place) / "tree"
        copy(source, tree)
        made = Machine(tree, outside, name)
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made.key))
        made.write("/root/.ssh/authorized_keys", made.key.with_suffix(".pub").read_text(), 0o600)
        if network == "networkd":
            made.write("/etc/systemd/network/10-host0.network", NETWORKD)
            sh("systemctl", "-q", f"--root={tree}", "enable", "systemd-networkd.service")
        else:
            made.write("/etc/network/interfaces.d/host0", IFUPDOWN)
        place_checkout(tree)
        try:
            yield made
        finally:
            made.off()


@contextlib.contextmanager
def _cable(name: str) -> Iterator[Host]:
    outside = Host(name)
    sh("ip", "netns", "add", name)
    try:
        outside.sh("ip", "link", "set", "lo", "up")
        outside.sh("ip", "link", "add", "br0", "type", "bridge")
        outside.sh("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "br0")
        outside.sh("ip", "link", "set", "br0", "up")
        outside.sh("ip", "route", "add", "local", STRANGERS, "dev", "lo")
        yield outside
    finally:
        sh("ip", "netns", "del", name, check=False)
