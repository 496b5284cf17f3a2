"""A place for the administrator in sshd's MaxStartups, while 200 bots within their limits hammer: two mechanisms, and none.

    sudo .venv/bin/python -m bench.reserve
    sudo .venv/bin/python -m bench.reserve knowing     only the attackers who know our rules, six minutes instead of some twelve

none        [ssh] reserve = 0
ct count    the same, and `ct count over 6 drop` by hand before the gates of the SYN: conntrack's count of connections
ours        places of proven strangers who have not logged in (docs/architecture.md)

sshd has MaxStartups 10:30:60 and LoginGraceTime 5; the bots stay until it ends them. The administrator is known; he and a new stranger by turns try once each,
and succeed if sshd's banner comes at the first try. Then, without bots, six people log in whom nobody knew, stay, and new
strangers try. Last, without those bots, attackers who know our rules: fourteen addresses in as many networks that by turns send
resets which end nothing and third packets which are wrong, then right; two addresses that hold all they get; and a known
source that opens a connection each second and stays. LoginGraceTime is 120 there, and with `ours` the guard runs.
Everything happens in network namespaces of its own.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.kernel.attack import strangers
from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, Pair, Wire, make_pair
from tests.kernel.people import have_logged_in, logged_in
from tests.kernel.test_attacks_places import FILLER, refused_then_right, reset_in_window
from tests.kernel.test_reserve import KNOWN, STARTUPS, attacked, known

from bench import machine
from bench.guard import guarding

TRIES, ROUNDS = 20, 3
PAUSE = 12.2  # seconds between two tries of a bot: the five a minute that it may have, without an end
HOLDERS = ("198.19.1.1", "198.19.2.1")
WARM = 15  # seconds before the first try: whatever the attackers can hold, they hold
GATES_AT = 4  # the first rule of ssh_syn after those for known sources


def hammered(pair: Pair) -> tuple[int, int, float]:
    """Successes of the administrator and of the strangers, and bots that get in each second."""
    known(pair)
    ours = theirs = 0
    with attacked(pair, PAUSE) as bots:
        opened, begin = bots.opened, time.perf_counter()
        for n in range(TRIES):
            time.sleep(max(0.0, begin + n - time.perf_counter()))  # one of each a second, however soon they are refused
            ours += pair.client.banner(KNOWN, SERVER4, timeout=0.45)
            theirs += pair.client.banner(f"198.19.201.{n + 1}", SERVER4, timeout=0.45)
        return ours, theirs, (bots.opened - opened) / (time.perf_counter() - begin)


def policy(way: str) -> str:
    return "" if way == "ours" else "[ssh]\nreserve = 0\n"


def counted(pair: Pair, way: str) -> None:
    if way == "ct count":
        pair.server.nft(f"insert rule inet quietgate g1_ssh_syn index {GATES_AT} ct count over 6 drop\n")


def after_logins(way: str) -> int:
    """How many of the strangers get in while six people whom nobody knew are logged in."""
    with make_pair(Path(tempfile.mkdtemp())) as pair, guarded(pair, STARTUPS, policy=policy(way), start=False) as g:
        counted(pair, way)
        g.start()  # it takes what it finds for right: nobody has confirmed a table without that rule since
        with contextlib.ExitStack() as open_now:
            for n in range(6):
                open_now.enter_context(logged_in(g.sshd, f"198.19.210.{n + 1}", user="nobody"))
            time.sleep(2)
            found = 0
            for n in range(TRIES):
                found += pair.client.banner(f"198.19.211.{n + 1}", SERVER4, timeout=1)
                time.sleep(0.3)  # sshd takes a moment to notice that one has left
            return found


class Cunning(threading.Thread):
    """Attackers who know our rules, each within its limit of five a minute."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(daemon=True)
        self.pair, self.stop = pair, threading.Event()
        self.held: list[socket.socket | None] = []

    def run(self) -> None:
        begin, turn = time.monotonic(), 0
        with Wire(self.pair) as wire:
            while not self.stop.wait(max(0.0, begin + turn - time.monotonic())):
                turn += 1
                if turn % 12 == 1:  # five a minute
                    for number in range(14):
                        with contextlib.suppress(AssertionError):  # no SYN-ACK: sshd is full, or the limit holds
                            (reset_in_window, refused_then_right)[number % 2](wire, number, 4000 + turn)
                    self.held += [self.pair.client.connect(a, SERVER4, 22, timeout=0.2) for a in HOLDERS]
                self.held.append(self.pair.client.connect(FILLER, SERVER4, 22, timeout=0.2))
        for s in self.held:
            if s is not None:
                s.close()


def cunning(way: str) -> tuple[int, int]:
    """Successes of a known administrator and of newcomers among attackers who know our rules, of TRIES each."""
    with make_pair(Path(tempfile.mkdtemp())) as pair, contextlib.ExitStack() as stack:
        strangers(pair)
        pair.sshd(STARTUPS)
        have_logged_in(pair, *(("anna", a, time.time() - 86400) for a in (KNOWN, FILLER)))
        if way == "ours":
            stack.enter_context(guarding(pair, policy(way)))
        else:
            pair.up(policy(way))
        counted(pair, way)
        attackers = Cunning(pair)
        attackers.start()
        time.sleep(WARM)
        ours = theirs = 0
        begin = time.perf_counter()
        for n in range(TRIES):
            time.sleep(max(0.0, begin + n - time.perf_counter()))
            ours += pair.client.banner(KNOWN, SERVER4, timeout=0.45)
            theirs += pair.client.banner(f"198.19.{130 + n}.1", SERVER4, timeout=0.45)
        attackers.stop.set()
        attackers.join(20)
        return ours, theirs


def main() -> None:
    print(machine.about(), machine.quiet(), sep="\n", flush=True)
    for way in ("none", "ct count", "ours"):
        if sys.argv[1:] == ["knowing"]:
            knowing(way)
            continue
        rows = []
        for _ in range(ROUNDS):
            with make_pair(Path(tempfile.mkdtemp())) as pair:
                pair.sshd(STARTUPS, "LoginGraceTime 5")
                pair.up(policy(way))
                counted(pair, way)
                rows.append(hammered(pair))
        ours, theirs = sum(r[0] for r in rows), sum(r[1] for r in rows)
        print(f"{way:9} administrator {ours:3} of {TRIES * ROUNDS}, strangers {theirs:3} of {TRIES * ROUNDS}, bots that get in: "
              f"{sum(r[2] for r in rows) / ROUNDS:5.1f} a second; beside six logins strangers {after_logins(way):3} of {TRIES}", flush=True)  # fmt: skip
        knowing(way)


def knowing(way: str) -> None:
    found = [cunning(way) for _ in range(ROUNDS)]
    print(f"{way:9} among attackers who know the rules: administrator {sum(f[0] for f in found):3} of {TRIES * ROUNDS}, "
          f"newcomers {sum(f[1] for f in found):3} of {TRIES * ROUNDS}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
