"""What can break, one generator each: up to the `yield` it is done to the world, after it the fault ends.

Real faults of a real process: signals, mounts, a full disk, errors of single system calls (strace injects them on the netlink
sockets, or on the database's files, and nowhere else), garbage in files. A fault yields False where our table is gone meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.guard import SET

from quietgate.firewall.names import TABLE
from tests.kernel.lab import QUIETGATE, wait_for
from tests.kernel.world import POLICY, World, in_namespace_of

Fault = Callable[[World, random.Random], Iterator[bool]]
MOST_FLUSHES = 3  # that the guard mends within ten minutes
HOUR = 3600
FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    """One of them, by its name."""
    FAULTS[function.__name__] = function
    return function


# -- the process


@fault
def killed(w: World, dice: random.Random) -> Iterator[bool]:
    w.guard.stop(9)
    yield True
    w.start_guard()


@fault
def killed_while_it_works(w: World, dice: random.Random) -> Iterator[bool]:
    w.attack()
    time.sleep(dice.uniform(0, 0.02))
    w.guard.stop(9)
    yield True
    w.start_guard()


@fault
def stopped(w: World, dice: random.Random) -> Iterator[bool]:
    """For a minute, where there is time for it."""
    w.guard.child.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
    yield True
    time.sleep(60 if os.environ.get("QUIETGATE_MINUTE") else dice.uniform(0, 1))
    w.guard.child.send_signal(signal.SIGCONT)  # type: ignore[union-attr]


@fault
def reloaded_again_and_again(w: World, dice: random.Random) -> Iterator[bool]:
    for _ in range(dice.randrange(2, 20)):
        w.guard.child.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    yield True


@fault
def out_of_memory(w: World, dice: random.Random) -> Iterator[bool]:
    """A control group that is too small for what the guard would need next."""
    group = memory_group(f"quietgate-test-{w.pid()}")
    try:
        if group is not None:
            set_limit(group, resident(w.pid()) + 1_000_000)
            (group / "cgroup.procs").write_text(str(w.pid()))
        # Thousands of sources that guess once each: it has to remember them.
        w.write("".join(_once(dice) for _ in range(10_000)))
        time.sleep(0.3)
        yield True
        if w.guard.child.poll() is None:  # type: ignore[union-attr]
            w.guard.stop(9)  # whatever it does there: it begins anew
        w.start_guard()
    finally:
        if group is not None:
            wait_for(lambda: not (group / "cgroup.procs").read_text().strip(), "nobody is in it", 10)
            group.rmdir()


def _once(dice: random.Random) -> str:
    source = f"100.{dice.randrange(64, 128)}.{dice.randrange(256)}.{dice.randrange(256)}"
    return f"2026-11-24T18:00:00+00:00 host sshd[{dice.randrange(4_000_000)}]: Failed password for bob from {source} port 4 ssh2\n"


def memory_group(name: str) -> Path | None:
    """A control group for memory of version 1 or 2; None where this host gives none."""
    for parent in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        place = parent / name
        with contextlib.suppress(OSError):
            place.mkdir()
            if (place / "memory.limit_in_bytes").exists() or (place / "memory.max").exists():
                return place
            place.rmdir()
    return None


def set_limit(group: Path, size: int) -> None:
    file = next(f for f in (group / "memory.limit_in_bytes", group / "memory.max") if f.exists())
    file.write_text(str(size))


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


# -- the disk


@fault
def disk_full(w: World, dice: random.Random) -> Iterator[bool]:
    filler = w.state / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    yield True
    filler.unlink()


@fault
def disk_read_only(w: World, dice: random.Random) -> Iterator[bool]:
    """As ext4 becomes when it meets an error: every write to the database fails."""
    files = [w.state / f"guard/quietgate.db{end}" for end in ("", "-wal", "-shm")]
    with failing(w.pid(), [str(f) for f in files], "pwrite64,fdatasync,fsync,ftruncate", "EROFS"):
        yield True


@fault
def database_damaged(w: World, dice: random.Random) -> Iterator[bool]:
    """Garbage on one of its pages, found there at the next start. The records on it are lost; no ban is."""
    w.guard.stop(9)
    with contextlib.suppress(OSError):
        database = w.state / "guard/quietgate.db"
        pages = database.stat().st_size // 4096
        with database.open("r+b") as stream:
            stream.seek(dice.randrange(pages) * 4096)
            stream.write(dice.randbytes(4096))
    w.from_record = len(w.attackers)
    yield True
    w.from_record = len(w.attackers)
    w.start_guard()


@fault
def database_overwritten(w: World, dice: random.Random) -> Iterator[bool]:
    """By something else, while the guard runs."""
    database = w.state / "guard/quietgate.db"
    for end in ("", "-wal"):
        file = database.with_name(database.name + end)
        with contextlib.suppress(OSError), file.open("r+b") as stream:
            stream.write(dice.randbytes(min(65536, file.stat().st_size)))
    w.guard.stop(9)
    yield True
    w.from_record = len(w.attackers)
    w.start_guard()


@fault
def generation_damaged(w: World, dice: random.Random) -> Iterator[bool]:
    """The file of the one in force: garbage, cut off, or something else in its place. What decides in the kernel stays."""
    place = w.state / "generations"
    newest = max(place.glob("[0-9]*.json"), key=lambda p: int(p.stem))
    if dice.random() < 0.5:
        newest.write_bytes(dice.choice((dice.randbytes(5000), b"", newest.read_bytes()[:-9])))
    else:
        newest.unlink()
        dice.choice((newest.mkdir, lambda: os.mkfifo(newest)))()
    w.guard.child.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    w.run("status")
    w.run("refresh")
    yield True
    w.run("up", "--now")


@fault
def something_in_the_place_of_a_file(w: World, dice: random.Random) -> Iterator[bool]:
    """Of the key, a lock, the socket, the switch: a directory or a FIFO, while nobody looks."""
    w.guard.stop(9)
    run = w.pair.root / "run/quietgate"
    for file in dice.sample([w.state / "guard/key", run / "lock", run / "guard/lock", run / "guard/control"], 2):
        file.unlink(missing_ok=True)
        dice.choice((file.mkdir, lambda file=file: os.mkfifo(file)))()
    yield True
    w.start_guard()


@fault
def policy_damaged(w: World, dice: random.Random) -> Iterator[bool]:
    file = w.pair.root / "etc/quietgate/quietgate.toml"
    file.write_bytes(dice.randbytes(200))
    w.guard.child.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    w.run("up", "--now")
    yield True
    file.write_text(POLICY)
    w.guard.child.send_signal(signal.SIGHUP)  # type: ignore[union-attr]


# -- the log


@fault
def log_gone(w: World, dice: random.Random) -> Iterator[bool]:
    """Its directory with it."""
    place = w.guard.log.parent
    away = place.with_name("log.away")
    place.rename(away)
    yield True
    away.rename(place)
    w.write_what_waited()


@fault
def log_rotated(w: World, dice: random.Random) -> Iterator[bool]:
    w.attack()
    for n in range(dice.randrange(1, 4)):
        w.guard.log.rename(w.guard.log.with_name(f"auth.log-20261124.{int(time.time() * 1000)}{n}"))
        w.guard.log.touch()
        w.attack()
    yield True


# -- the kernel


@fault
def everything_flushed(w: World, dice: random.Random) -> Iterator[bool]:
    w.flushes += 1
    w.pair.server.sh("nft", "flush", "ruleset")
    yield False


@fault
def sets_flushed(w: World, dice: random.Random) -> Iterator[bool]:
    w.flushes += 1
    w.pair.server.sh("nft", "flush", "set", "inet", TABLE, SET)
    yield False


@fault
def flushed_without_nft(w: World, dice: random.Random) -> Iterator[bool]:
    """Whoever flushed our table took the program too: the guard cannot mend, and says why."""
    w.flushes += 1
    real = os.path.realpath(subprocess.run(["sh", "-c", "command -v nft"], capture_output=True, text=True, check=True).stdout.strip())
    pid = w.pid()
    in_namespace_of(pid, "mount", "--bind", "/dev/null", real)
    w.pair.server.sh("nft", "flush", "ruleset")
    wait_for(lambda: w.guard.child.poll() is not None or (w.guard.status() or {}).get("trouble", ""), "it says why", 5)  # type: ignore[union-attr]
    yield False
    with contextlib.suppress(subprocess.CalledProcessError):
        in_namespace_of(pid, "umount", real)


def _netlink(error: str) -> Fault:
    def injected(w: World, dice: random.Random) -> Iterator[bool]:
        with failing(w.pid(), netlink_sockets(w.pid()), dice.choice(("sendto", "recvfrom", "sendto,recvfrom")), error):
            yield True

    injected.__name__ = f"netlink_says_{error}"
    return fault(injected)


for _error in ("ENOBUFS", "EBUSY", "ENOENT", "ENFILE"):  # the last: a set is full
    _netlink(_error)


def netlink_sockets(pid: int) -> list[str]:
    """The netfilter sockets of a process, as /proc names them."""
    rows = [r.split() for r in Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]]
    inodes = {r[-1] for r in rows if r[1] == "12"}
    found = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{n}")}
    return sorted(name for name in found if name.startswith("socket:[") and name[8:-1] in inodes)


@contextlib.contextmanager
def failing(pid: int, paths: list[str], calls: str, error: str) -> Iterator[None]:
    """These system calls of a process fail on these files."""
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), *(w for p in paths for w in ("-P", p)), "-e", f"trace={calls}",
             "-e", f"inject={calls}:error={error}"]  # fmt: skip
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(
        lambda: tracer.poll() is not None or f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text(), "strace holds it", 10
    )
    assert tracer.poll() is None, "strace cannot attach"
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(2)
        except subprocess.TimeoutExpired:  # one of its threads does not stop for it; the kernel lets them go
            tracer.kill()
            tracer.wait(10)


# -- the clock


def _clock(hours: int) -> Fault:
    def jumped(w: World, dice: random.Random) -> Iterator[bool]:
        clock = w.pair.root / "clock"
        clock.write_text(f"{hours * HOUR}\n")
        yield True
        clock.write_text("0\n")

    jumped.__name__ = f"clock_{hours:+d}_hours"
    return fault(jumped)


for _hours in (12, -1, -87_600):
    _clock(_hours)


# -- commands and sockets


@fault
def socket_abused(w: World, dice: random.Random) -> Iterator[bool]:
    """Floods, half lines, huge ones, from as many clients as get in."""
    path = str(w.pair.root / "run/quietgate/guard/control")
    held = []
    for n in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(0.5)
        with contextlib.suppress(OSError):
            s.connect(path)
            s.sendall(
                dice.choice((b'{"ask": "sta', b"x" * 100_000, b"[" * 4000 + b"\n", b'{"ask": "events"}\n', dice.randbytes(500), b"\n" * 50))
            )
        if n % 3:
            s.close()
        else:
            held.append(s)
    yield True
    for s in held:
        s.close()


@fault
def command_killed(w: World, dice: random.Random) -> Iterator[bool]:
    """`up` and `ban` at a random moment."""
    for words in (["up", "--now"], ["ban", "203.0.113.77"]):
        full = ["ip", "netns", "exec", w.pair.server.name, str(QUIETGATE), "--root", str(w.pair.root), *words]
        child = subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
        time.sleep(dice.uniform(0.05, 0.5))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    yield True


@fault
def trial_that_locks_out(w: World, dice: random.Random) -> Iterator[bool]:
    """A candidate that lets only strangers' addresses in, armed by force: the floor holds, and it ends by itself."""
    file = w.pair.root / "etc/quietgate/quietgate.toml"
    file.write_text(POLICY + '[ssh]\nfrom = ["203.0.113.0/24"]\n[firewall]\ndefault = "drop"\n')
    armed = w.run("up", "--detach", "--force")
    assert armed.returncode or w.run("status").stdout.startswith("trial"), armed.stdout
    yield True
    file.write_text(POLICY)
