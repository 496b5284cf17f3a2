"""A fresh Debian tree that boots with systemd as its first process, in a network namespace of its own."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.lab import sh, wait_for

CACHE = Path("/var/tmp/quietgate-trees")
CHECKOUT = Path(__file__).parents[2]
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
INSIDE, OUTSIDE = "198.18.200.2", "198.18.200.1"
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,iproute2,ca-certificates,python3"
# What install.sh fetches, fetched beforehand: in the booted tree there is no network, so that no rule can reach this host.
FETCH = """set -e
apt-get update -q >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nftables python3-venv >/dev/null
python3 -m venv /tmp/fetch
/tmp/fetch/bin/pip download -q --disable-pip-version-check -d /wheels --require-hashes -r /src/requirements/run.txt
"""


def fresh(release: str) -> Path:
    """A tree of that release with what install.sh needs; made once, then kept."""
    tree = CACHE / release
    if (tree / "ready").exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    sources = "".join(p.read_text() for p in Path("/etc/apt").rglob("*.sources")) + "".join(
        p.read_text() for p in Path("/etc/apt").rglob("*.list")
    )
    mirror = re.search(r"https?://\S*/debian(?=\s|/?$)", sources, re.MULTILINE)
    assert mirror is not None, "apt's own sources name a Debian mirror"
    sh("debootstrap", f"--include={PACKAGES}", release, str(tree), mirror[0], timeout=600)
    (tree / "src/requirements").mkdir(parents=True)
    shutil.copy(CHECKOUT / "requirements/run.txt", tree / "src/requirements/run.txt")
    sh("systemd-nspawn", "-q", "-D", str(tree), "--resolv-conf=replace-host", "--register=no", "--keep-unit", "--pipe",
       f"--bind-ro={CERTIFICATES}", f"--setenv=PIP_CERT={CERTIFICATES}", "sh", "-c", FETCH, timeout=300)  # fmt: skip
    (tree / "ready").touch()
    return tree


class Machine:
    """A booted tree. `sh` runs a command in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        words = ["nsenter", "-t", str(self.pid), "-a", "env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "sh", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)

    def sh(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def booted(release: str) -> Iterator[Machine]:
    """A copy of the tree with this checkout in /src, booted; gone afterwards."""
    with tempfile.TemporaryDirectory(dir=CACHE if CACHE.exists() else None, prefix="qg") as place:
        tree = Path(place) / "qgt"
        sh("cp", "-a", str(fresh(release)), str(tree), timeout=120)
        shutil.rmtree(tree / "src")
        sh("git", "clone", "-q", str(CHECKOUT), str(tree / "src"))
        shutil.copytree(CHECKOUT / "src", tree / "src/src", dirs_exist_ok=True)  # what is not committed yet is tested too
        words = ["systemd-nspawn", "-D", str(tree), "-b", "--network-veth", "--register=no", "--keep-unit", "--console=pipe"]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: _inner(child.pid), "the tree boots", 30)
            machine = Machine(_inner(child.pid))
            wait_for(lambda: machine.run("systemctl is-active ssh").returncode == 0, "its sshd runs", 60)
            sh("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "ve-qgt")
            sh("ip", "link", "set", "ve-qgt", "up")
            machine.sh(f"ip addr add {INSIDE}/24 dev host0; ip link set host0 up")
            yield machine
        finally:
            if pid := _inner(child.pid):
                subprocess.run(["nsenter", "-t", str(pid), "-a", "systemctl", "poweroff"], capture_output=True, check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()
            child.wait()


def _inner(parent: int) -> int:
    """The first process of the tree: the child of systemd-nspawn; 0 before it is there."""
    found = sh("pgrep", "-P", str(parent), "-x", "systemd", check=False).split()
    return int(found[0]) if found else 0
