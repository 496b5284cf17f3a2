"""One damaged file takes nothing else with it: each file of state, in each way, under each command."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.lab import QUIETGATE, SERVER4, Pair, wait_for

pytestmark = pytest.mark.long

BANNED = "198.19.0.9"
FILES = {
    "generations/2.json": "var/lib/quietgate/generations/2.json",
    "generations/1.json": "var/lib/quietgate/generations/1.json",
    "candidate": "var/lib/quietgate/generations/candidate.json",
    "highest": "var/lib/quietgate/highest-generation",
    "generations": "var/lib/quietgate/generations",
    "database": "var/lib/quietgate/guard/quietgate.db",
    "wal": "var/lib/quietgate/guard/quietgate.db-wal",
    "shm": "var/lib/quietgate/guard/quietgate.db-shm",
    "key": "var/lib/quietgate/guard/key",
    "proposed": "var/lib/quietgate/proposed.toml",
    "down": "run/quietgate/down",
    "lock": "run/quietgate/lock",
    "guard.lock": "run/quietgate/guard/lock",
    "control": "run/quietgate/guard/control",
    "machine-id": "etc/machine-id",
}  # fmt: skip
COMMANDS = (["status"], ["doctor"], ["why", "198.19.0.30"], ["bans"], ["ban", "198.19.0.77"], ["refresh"], ["report"], ["check"], ["diff"])


def truncated(path: Path) -> None:
    data = path.read_bytes() if path.is_file() else b"{" * 100
    put(path, data[: len(data) // 2])


def empty(path: Path) -> None:
    put(path, b"")


def nuls(path: Path) -> None:
    put(path, bytes(max(64, path.stat().st_size if path.is_file() else 0)))


def wrong_types(path: Path) -> None:
    """JSON that is right, and values that are none."""
    try:
        raw = json.loads(path.read_bytes())
        raw = {k: {"x": [v]} if isinstance(v, (int, str)) else 7 for k, v in raw.items()}
    except (OSError, ValueError, AttributeError):
        raw = [1, {"a": None}]
    put(path, json.dumps(raw).encode())


def flipped(path: Path) -> None:
    """One bit, in the middle."""
    data = bytearray(path.read_bytes() if path.is_file() else b"{" * 100)
    data[len(data) // 2] ^= 1
    put(path, bytes(data))


def directory(path: Path) -> None:
    clear(path)
    path.mkdir(parents=True)
    (path / "something").write_text("of somebody's")


def fifo(path: Path) -> None:
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, 0o020600, os.makedev(1, 5))  # /dev/zero: whoever reads it never comes to an end


def link(path: Path) -> None:
    """To something that must stay as it is."""
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent / "precious")


DAMAGES: dict[str, Callable[[Path], None]] = {
    d.__name__: d for d in (truncated, empty, nuls, wrong_types, flipped, directory, fifo, device, link)
}


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(path.name + ".was"))
    path.unlink(missing_ok=True)


def put(path: Path, data: bytes) -> None:
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def run(pair: Pair, *words: str) -> subprocess.CompletedProcess[str]:
    """A command: it ends, and never in an error that nobody expected."""
    full = ["ip", "netns", "exec", pair.server.name, str(QUIETGATE), "--root", str(pair.root), *words]
    done = subprocess.run(full, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
    said = done.stdout + done.stderr
    assert "bug of ours" not in said, f"{words}: {said}"
    assert "Traceback" not in said, f"{words}: {said}"
    return done


def deciding(pair: Pair) -> int | None:
    found: int | None = json.loads(run(pair, "status", "--json").stdout)["generation"]
    return found


def numbers_used(pair: Pair) -> int:
    """The highest generation that the kernel has."""
    return max(map(int, re.findall(r"chain g(\d+)_", pair.server.sh("nft", "list", "table", "inet", "quietgate"))))


def prepare(pair: Pair) -> None:
    (pair.root / "etc").mkdir(exist_ok=True)
    (pair.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", BANNED)
    pair.up('[ssh]\nlimit = "7 per 30s"\n')
    (pair.root / "var/lib/quietgate/guard/key").write_bytes(bytes(range(32)))


SOME = [
    ("generations/2.json", "flipped"), ("generations/2.json", "directory"), ("generations/2.json", "fifo"), ("generations", "fifo"),
    ("candidate", "truncated"), ("database", "empty"), ("database", "fifo"), ("wal", "nuls"), ("lock", "fifo"), ("down", "directory"),
    ("machine-id", "truncated"),
]  # fmt: skip
ALL = [(file, damage) for file in FILES for damage in DAMAGES if (file, damage) not in SOME]


@pytest.mark.parametrize(("file", "damage"), [*SOME, *(pytest.param(*one, marks=pytest.mark.long) for one in ALL)])
def test_a_boot_loads_the_newest_whole_generation_and_every_command_works(pair: Pair, file: str, damage: str) -> None:
    prepare(pair)
    pair.server.sh("nft", "delete", "table", "inet", "quietgate")  # the host goes down
    path = pair.root / FILES[file]
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "precious").write_text("precious")
    DAMAGES[damage](path)

    booted = run(pair, "boot")
    assert booted.returncode in (0, 3), booted.stderr
    lost = file in ("generations/2.json", "generations")
    # The newest whole one; where all are gone the policy on disk, under a number that nobody had.
    # So where the machine seems to be another: a generation is its own machine's.
    another = (file, damage) == ("machine-id", "flipped")
    assert deciding(pair) == (3 if another else {"generations/2.json": 1, "generations": 3}.get(file, 2))
    assert pair.client.banner("198.19.0.30", SERVER4), "the door is open"
    if file != "database":
        assert not pair.client.banner(BANNED, SERVER4, timeout=0.3), "and the ban is in force"
    if lost:
        assert booted.returncode == 3 or file == "generations", booted.stderr
    if lost and (file, damage) != ("generations", "directory"):  # an empty directory is what a fresh host has
        said = run(pair, "doctor")
        assert "2.json" in said.stdout or "generations" in said.stdout, said.stdout
    for words in COMMANDS:
        run(pair, *words)
    done = run(pair, "up", "--now")
    assert done.returncode == 0, done.stderr
    after = deciding(pair)
    assert after is not None
    if lost:
        assert after > 2, "a number is never used again"
    shown = run(pair, "status").stdout
    assert shown.startswith(("up", "unguarded")), shown  # nobody guards here
    assert (path.parent / "precious").read_text() == "precious", "no link was followed"
    assert run(pair, "boot").returncode in (0, 3)
    assert deciding(pair) == after


GUARDED = [
    ("generations/2.json", "nuls"),
    ("database", "directory"),
    ("key", "fifo"),
    ("guard.lock", "directory"),
    ("control", "directory"),
]
MORE = [(f, d) for f in ("generations/2.json", "database", "key", "guard.lock", "control", "machine-id") for d in ("nuls", "directory", "fifo")
        if (f, d) not in GUARDED]  # fmt: skip


@pytest.mark.parametrize(("file", "damage"), [*GUARDED, *(pytest.param(*one, marks=pytest.mark.long) for one in MORE)])
def test_the_guard_starts_and_bans_whatever_lies_there(pair: Pair, file: str, damage: str) -> None:
    prepare(pair)
    log = pair.root / "var/log/auth.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    DAMAGES[damage](pair.root / FILES[file])
    guard = pair.start(pair.server, str(QUIETGATE), "--root", str(pair.root), "run")
    wait_for(lambda: json.loads(run(pair, "status", "--json").stdout)["guard"], "the guard answers", 15)
    with log.open("a") as stream:
        for n in range(6):
            stream.write(f"2026-11-24T18:00:00+00:00 host sshd[{n + 7}]: Failed password for root from 198.19.0.50 port {n + 4000} ssh2\n")
    wait_for(lambda: not pair.client.banner("198.19.0.50", SERVER4, timeout=0.2), "it bans", 15)
    assert not pair.client.banner(BANNED, SERVER4, timeout=0.3), "and the ban of before holds"
    assert numbers_used(pair) == 2, "what decides in the kernel stays"
    guard.terminate()
    guard.wait(15)


def test_numbers_are_never_used_again(pair: Pair) -> None:
    """Neither of what was reverted, nor of what was confirmed and lost, nor of a trial that nobody confirmed."""
    prepare(pair)
    pair.policy('[ssh]\nlimit = "8 per 30s"\n')
    run(pair, "up", "--detach")
    assert deciding(pair) == 3
    run(pair, "revert")
    assert deciding(pair) == 2
    run(pair, "up", "--detach")
    assert deciding(pair) == 4
    run(pair, "revert")
    pair.quietgate("up", "--now")
    assert deciding(pair) == 5
    place = pair.root / "var/lib/quietgate/generations"
    for file in place.glob("*.json"):
        file.unlink()
    pair.quietgate("down")
    pair.quietgate("up", "--now")
    assert deciding(pair) == 6
    place.with_name("highest-generation").write_text("999999998 0000000000000000\n")  # nobody wrote that
    pair.up('[ssh]\nlimit = "9 per 30s"\n')
    assert deciding(pair) == 7
