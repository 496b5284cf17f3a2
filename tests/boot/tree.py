"""Fresh Debian trees, made once and kept: what a test copies, changes and boots."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.kernel.lab import sh

CACHE = Path("/var/tmp/quietgate-trees")
CHECKOUT = Path(__file__).parents[2]
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SYSTEMD = "systemd,systemd-sysv,dbus,libpam-systemd,polkitd,openssh-server,iproute2,ca-certificates,python3"
SYSV = "sysvinit-core,openssh-server,iproute2,ca-certificates,python3,ifupdown,cron,procps,rsyslog"
# What install.sh fetches, fetched beforehand: in the booted tree there is no network, so that no rule can reach this host.
FETCH = """set -e
apt-get update -q >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nftables python3-venv >/dev/null
python3 -m venv /tmp/fetch
/tmp/fetch/bin/pip download -q --disable-pip-version-check -d /wheels --require-hashes -r /src/requirements/run.txt
rm -rf /tmp/fetch
"""
INSTALL = (
    "set -e\napt-get update -q >/dev/null\nDEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends %s >/dev/null\n"
)


def fresh(release: str, *packages: str, systemd: bool = True) -> Path:
    """A tree of that release with what install.sh needs, and with more packages; made once, then kept. Copy it."""
    requirements = (CHECKOUT / "requirements/run.txt").read_text()
    made_of = "\0".join((SYSTEMD if systemd else SYSV, FETCH, INSTALL, requirements, *packages))
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    wanted = CACHE / "-".join((release, *([] if systemd else ["sysv"]), *packages, digest))
    if wanted.exists():
        return wanted
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="making") as place:
        tree = Path(place) / "tree"
        if packages:
            copy(fresh(release, systemd=systemd), tree)
            outside_network(tree, INSTALL % " ".join(packages))
        else:
            variant = [f"--include={SYSTEMD}"] if systemd else ["--variant=minbase", f"--include={SYSV}"]
            sh("debootstrap", *variant, release, str(tree), _mirror(), timeout=900)
            (tree / "src/requirements").mkdir(parents=True)
            (tree / "src/requirements/run.txt").write_text(requirements)
            outside_network(tree, FETCH)
        with contextlib.suppress(OSError):  # another run was faster
            os.rename(tree, wanted)
    return wanted


def minimal(release: str, *packages: str) -> Path:
    """A tree of that release with these packages and nothing else, to run one program of it; made once, then kept. Copy it."""
    wanted = CACHE / "-".join((release, "minimal", *packages))
    if not wanted.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="making") as place:
            tree = Path(place) / "tree"
            sh("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(tree), _mirror(), timeout=900)
            with contextlib.suppress(OSError):  # another run was faster
                os.rename(tree, wanted)
    return wanted


def copy(tree: Path, to: Path) -> None:
    """A copy with its owners, modes and links."""
    sh("cp", "-a", str(tree), str(to), timeout=300)


def outside_network(tree: Path, script: str) -> None:
    """Run a script in a tree that is not booted, with this host's network, and without the right to change it."""
    sh("systemd-nspawn", "-q", "-D", str(tree), "--resolv-conf=replace-host", "--register=no", "--keep-unit", "--pipe",
       f"--bind-ro={CERTIFICATES}", f"--setenv=PIP_CERT={CERTIFICATES}", "sh", "-c", script, timeout=600)  # fmt: skip


def place_checkout(tree: Path) -> None:
    """This checkout in /src, as it lies here; not by git, which refuses where the checkout belongs to somebody else."""
    shutil.rmtree(tree / "src", ignore_errors=True)
    shutil.copytree(CHECKOUT, tree / "src", ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "bench"))


def _mirror() -> str:
    """The Debian mirror that apt itself uses here."""
    files = [*Path("/etc/apt").rglob("*.sources"), *Path("/etc/apt").rglob("*.list")]
    found = re.search(r"https?://\S*/debian(?=\s|/?$)", "".join(f.read_text() for f in files), re.MULTILINE)
    assert found is not None, "apt's own sources name a Debian mirror"
    return found[0]
