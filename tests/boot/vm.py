"""This checkout's tests under Debian's own kernel, in a machine that has just been booted: what depends on the kernel's version, or on how
long it runs. By qemu, without help of the processor's, so that it also works within a virtual machine; it has no network card.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.boot.tree import CHECKOUT, copy, fresh, outside_network
from tests.kernel.lab import sh

PACKAGES = (
    "linux-image-amd64",
    "initramfs-tools",
    "openssh-client",
    "ipset",
    "procps",
    "iputils-ping",
    "conntrack",
    "iptables",
    "strace",
    "rsyslog",
)
ENVIRONMENT = """set -e
cd /src
python3 -m venv .venv
.venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
.venv/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
systemctl -q mask ssh rsyslog
systemctl -q enable /etc/systemd/system/job.service
"""
UNIT = """[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh /root/job
StandardOutput=tty
TTYPath=/dev/ttyS1
StandardError=inherit
[Install]
WantedBy=multi-user.target
"""
ONE = """.venv/bin/pytest -q --tb=short --color=no -p no:cacheprovider -m 'not long' {tests}
echo "=== $? $(cut -d. -f1 /proc/uptime)"
"""


def run(place: Path, *tests: str, within: float) -> tuple[str, list[tuple[int, int]]]:
    """Boot, and call pytest with each of these one after the other: what it said; and of each call its status, and for how many seconds
    the machine had been up when it ended.
    """
    tree = place / "tree"
    copy(fresh("bookworm", *PACKAGES), tree)
    shutil.rmtree(tree / "src")
    shutil.copytree(CHECKOUT, tree / "src", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (tree / "etc/systemd/system/job.service").write_text(UNIT)
    (tree / "etc/fstab").write_text("/dev/vda / ext4 rw 0 1\n")
    (tree / "root/job").write_text("cd /src\n" + "".join(ONE.format(tests=t) for t in tests) + "poweroff -f\n")
    outside_network(tree, ENVIRONMENT)
    image, out = place / "image", place / "out"
    sh("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image), "8G", timeout=300)
    (kernel,), (initrd,) = (list((tree / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
    words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "4G", "-smp", "2", "-display", "none", "-no-reboot", "-net", "none",
             "-kernel", str(kernel), "-initrd", str(initrd), "-append", "root=/dev/vda rw quiet console=ttyS0",
             "-drive", f"file={image},format=raw,if=virtio,cache=unsafe", "-monitor", "none", "-serial", "null", "-serial", f"file:{out}"]  # fmt: skip
    try:
        subprocess.run(words, stdin=subprocess.DEVNULL, timeout=within, check=True, capture_output=True)
    finally:
        said = out.read_text(errors="replace") if out.exists() else ""
        image.unlink()
        shutil.rmtree(tree)
    return said, [(int(words[1]), int(words[2])) for words in map(str.split, said.splitlines()) if words[:1] == ["==="]]
