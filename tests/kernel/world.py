"""A whole server while things break: a guard, sshd, an administrator, attackers; and what must hold of them, whatever happens.

The five promises, each of which `Broken` names when it is broken:
    ruleset     the kernel holds a confirmed ruleset, or a trial that ends
    way in      the administrator's next connection logs in
    bans        no ban that a command or the store acknowledged is lost, in the kernel or on the disk
    records     of each attacker exactly the attempts that he made are in the store
    guarding    within `SOON` seconds of the fault's end an attacker is banned as before, and nothing is in trouble any more
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.guard import SET, Guard, address, line

from quietgate.firewall.names import TABLE
from quietgate.host.netlink import SetWriter
from tests.kernel.lab import Pair, Sshd, sh, wrong_clock
from tests.kernel.people import ADMIN, PAM, log_in, logged_in

SOON = 5.0  # seconds
GUESSES = 5  # after which the policy bans
# His guesses are an attacker's as well: the administrator mistypes, or somebody forges his lines.
POLICY = '[bans]\nsteps = ["1d"]\n[guard]\npatience = 1\n[lockout]\ntrial = "10s"\n'


class Broken(AssertionError):
    """A promise that does not hold."""


@dataclass
class World:
    """One of it. `attack` and `ban` may be called at any time; faults are in `faults.py`."""

    pair: Pair
    sshd: Sshd
    guard: Guard
    attackers: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # lines that could not be written: the log was gone
    from_record: int = 0  # attackers before this one are not counted: their records were destroyed
    flushes: int = 0  # the guard puts our table back three times
    _next: int = 0

    # -- what goes on

    def attack(self) -> str:
        """A new attacker guesses until he is banned; and somebody guesses from the administrator's address."""
        source = self._new()
        self.attackers.append(source)
        self.write("".join(line(source) for _ in range(GUESSES)) + line(ADMIN))
        return source

    def ban(self) -> None:
        """A command bans somebody, if it can; what it acknowledges holds."""
        source = self._new()
        if self.run("ban", source, "--scope", "ssh", "--for", "1d").returncode == 0:
            self.by_hand.append(source)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The real command, under the same clock."""
        return self.pair.run(*words, env=self.guard.environment)

    def _new(self) -> str:
        self._next += 1
        return address(self._next)

    def write(self, text: str) -> None:
        """Lines into the log; while it is gone they wait."""
        try:
            with self.guard.log.open("ab", buffering=0) as stream:
                stream.write(text.encode())
        except FileNotFoundError:
            self.waiting.append(text)

    def write_what_waited(self) -> None:
        """The log is back."""
        waiting, self.waiting = self.waiting, []
        for text in waiting:
            self.write(text)

    def start_guard(self) -> None:
        """What systemd does when it has ended."""
        self.guard.start(wait=False)

    @property
    def state(self) -> Path:
        """The state directory: a small disk of its own."""
        return self.pair.root / "var/lib/quietgate"

    def pid(self) -> int:
        """The guard's process."""
        assert self.guard.child is not None
        return self.guard.child.pid

    # -- what must hold

    def holds(self, *, table: bool = True) -> None:
        """While a fault lasts. Without `table` somebody took it away, and nobody can put it back."""
        if table and TABLE not in self.pair.server.sh("nft", "list", "tables"):
            raise Broken("ruleset: our table is gone")
        if not log_in(self.sshd):
            raise Broken("way in: the administrator does not get in")
        if table:
            self._keeps(self.by_hand)

    def recovers(self) -> None:
        """After its end."""
        ended = time.monotonic()
        self._restarted()
        newest = self.attack()
        self._soon(ended, "ruleset: it is not in force", self._in_force)
        self._soon(ended, "guarding: a new attacker is not banned", lambda: self.in_kernel(newest))
        self._soon(ended, "guarding: what waited is not banned", lambda: all(map(self.in_kernel, self.attackers)))
        self._soon(ended, "bans: the store does not have them", lambda: not self._unwritten())
        self._soon(ended, "guarding: it is still in trouble", self._well)
        self._keeps(self.by_hand + self.attackers)
        for source in self.attackers[self.from_record :]:
            if self._records(source) != GUESSES:
                raise Broken(f"records: {source} has {self._records(source)} attempts, not {GUESSES}")
        if not log_in(self.sshd):
            raise Broken("way in: the administrator does not get in")

    def _restarted(self) -> None:
        """As systemd does: a signal may have ended it a moment ago."""
        if self.guard.child is not None and self.guard.child.poll() is not None:
            self.start_guard()

    def _well(self) -> bool:
        told = self.guard.status()
        return told is not None and not told["trouble"] and not any(s["trouble"] for s in told["sources"])

    def _in_force(self) -> bool:
        """Whatever becomes of the guard meanwhile."""
        said = self.run("status").stdout
        return said.startswith(("up", "trial", "hung", "unguarded", "blind", "stale")) or (
            "nobody confirmed" in said and "its trial is over" in said
        )

    def _soon(self, ended: float, what: str, condition: Callable[[], bool]) -> None:
        while not condition():
            self._restarted()
            if time.monotonic() > ended + SOON:
                told = self.run("status").stdout.partition("\n")[0]
                raise Broken(
                    f"{what}; status: {told!r}; the guard says: {(self.guard.status() or {}).get('trouble', 'nothing')!r}; {self.said()[-500:]}"
                )
            time.sleep(0.02)

    def in_kernel(self, source: str) -> bool:
        """True if the address is in the set of bans."""
        with self.pair.server.inside(), SetWriter() as kernel:
            try:
                return kernel.get(SET, bytes(map(int, source.split(".")))) is not None
            except Exception:
                return False

    def _keeps(self, sources: list[str]) -> None:
        lost = [s for s in sources if not self.in_kernel(s)]
        if lost:
            raise Broken(f"bans: the kernel has lost {lost}")

    def _unwritten(self) -> set[str]:
        done = self.run("bans", "--json")
        if done.returncode:
            return {done.stderr}
        return {f"{s}" for s in self.by_hand + self.attackers} - {json.loads(row)["prefix"] for row in done.stdout.splitlines()}

    def _records(self, source: str) -> int:
        db = sqlite3.connect(f"file:{self.state}/guard/quietgate.db?mode=ro", uri=True, timeout=10)
        try:
            key = bytes(map(int, source.split(".")))
            return int(db.execute("SELECT ifnull(sum(times), 0) FROM attempts WHERE source=?", (key,)).fetchone()[0])
        finally:
            db.close()

    def said(self) -> str:
        """What the guard wrote to its log."""
        return (self.pair.root / "guard.err").read_text()


@contextlib.contextmanager
def world(pair: Pair, planted: str = "", *, ready: bool = True) -> Iterator[World]:
    """Everything runs: sshd with PAM, an administrator who is logged in, the guard, one attacker shut out. The state directory is
    a disk of 24 MB; by how much the wall clock is wrong stands in `<root>/clock`. `planted`: Python that every quietgate runs
    before its own, to plant a bug; then it may not even be `ready`.
    """
    state = pair.root / "var/lib/quietgate"
    state.mkdir(parents=True)
    sh("mount", "-t", "tmpfs", "-o", "size=24m", "quietgate-test", str(state))
    guard = Guard(pair)
    guard.environment = wrong_clock(pair.root, 0, planted)
    guard.log.parent.mkdir(parents=True, exist_ok=True)
    guard.log.touch()
    try:
        sshd = pair.sshd(*PAM)
        with logged_in(sshd, ADMIN):
            pair.up(POLICY)
            guard.start()
            made = World(pair, sshd, guard)
            made.ban()
            if ready:
                made.recovers()
            yield made
    finally:
        if guard.child is not None and guard.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guard.child.pid, 18)
            guard.stop(9)
        sh("umount", "-l", str(state), check=False)


def keep_for_looking(w: World, place: Path) -> None:
    """What the guard said, and the store, for whoever reads a failed test."""
    place.mkdir(parents=True, exist_ok=True)
    for file in (w.pair.root / "guard.err", w.state / "guard/quietgate.db"):
        with contextlib.suppress(OSError):
            shutil.copy(file, place)


def in_namespace_of(pid: int, *words: str) -> None:
    """A program in the mount namespace of a process: `ip netns exec` gave it one of its own."""
    subprocess.run(["nsenter", "-t", str(pid), "-m", *words], check=True, capture_output=True, timeout=20)
