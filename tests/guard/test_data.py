"""A real log, and a small one of our own: attempts and bans of each address equal a count from first principles.

The count below knows nothing of the product: it looks for words, holds every attempt, and tries every window.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Ban, Engine, Remember, Settings
from quietgate.guard.sentences import Sentences
from quietgate.sshlog.connection import Outcome
from quietgate.sshlog.lines import Stamps, Trust, read

REAL = Path(__file__).parents[3] / "shared/data/openssh-2k.log"
THRESHOLDS = {"burst": Threshold(5, 600), "slow": Threshold(10, 86400), "names": Threshold(4, 3600), "root": Threshold(3, 600)}
IP = r"(\d+\.\d+\.\d+\.\d+)"


def own() -> str:
    """Old forms, in the order in which sshd 6 writes them: guessers, a list of names, a person, a health check."""
    lines: list[str] = []

    def say(second: int, pid: int, *messages: str) -> None:
        at = datetime.datetime(2026, 12, 10, 6, 0, 0) + datetime.timedelta(seconds=second)  # noqa: DTZ001  a log without zones
        lines.extend(f"{at:%b %d %H:%M:%S} host sshd[{pid}]: {message}" for message in messages)

    def guess(second: int, pid: int, address: str, name: str, *, exists: bool = True, times: int = 1) -> None:
        who = name if exists else f"invalid user {name}"
        pam = f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address} " + (
            f" user={name}" if exists else ""
        )
        if not exists:
            say(second, pid, f"Invalid user {name} from {address}", f"input_userauth_request: invalid user {name} [preauth]")
        say(second, pid, pam, f"Failed password for {who} from {address} port {20000 + pid} ssh2")
        if times > 1:
            say(second + 3, pid, f"message repeated {times - 1} times: [ Failed password for {who} from {address} port {20000 + pid} ssh2]")
            say(
                second + 3, pid, pam.replace("pam_unix(sshd:auth): authentication failure", f"PAM {times - 1} more authentication failures")
            )
        else:
            say(second + 1, pid, f"Received disconnect from {address}: 11: Bye Bye [preauth]")

    for n in range(12):
        guess(n * 30, 100 + n, "203.0.113.1", "root")
        guess(n * 7000, 200 + n, "203.0.113.2", "mysql")
        guess(n * 400, 300 + n, "203.0.113.3", f"name{n}", exists=False)
        guess(n * 1000, 400 + n, "203.0.113.4", f"name{n}", exists=False)
        say(n * 60, 500 + n, "Connection closed by 203.0.113.5 [preauth]", "Did not receive identification string from 203.0.113.5")
    guess(50, 600, "203.0.113.6", "admin", times=6)
    guess(60, 700, "203.0.113.7", "anna", times=3)
    say(
        70,
        701,
        "Accepted password for anna from 203.0.113.7 port 5 ssh2",
        "pam_unix(sshd:session): session opened for user anna by (uid=0)",
    )
    say(80, 800, "Invalid user  0101 from 203.0.113.8", "Failed password for invalid user  0101 from 203.0.113.8 port 5 ssh2")
    say(
        90,
        801,
        "reverse mapping checking getaddrinfo for x [203.0.113.9] failed - POSSIBLE BREAK-IN ATTEMPT!",
        "Connection closed by 203.0.113.9 [preauth]",
    )
    return "\n".join(sorted(lines, key=lambda line: line[:15])) + "\n"


LOGS = {"own": own()} | ({"real": REAL.read_text()} if REAL.exists() else {})


class Slow:
    """The count. `guesses`: address -> (when, name, whether it exists here)."""

    def __init__(self, text: str) -> None:
        self.guesses: dict[str, list[tuple[float, str, bool]]] = defaultdict(list)
        connections = defaultdict(list)
        for line in text.splitlines():
            found = re.match(r"\w+ +\d+ [\d:]+ \S+ sshd\[(\d+)\]: (.*)", line)
            if found:
                at = datetime.datetime.strptime(f"2026 {line[:15]}", "%Y %b %d %H:%M:%S").timestamp()  # noqa: DTZ007  local
                connections[found[1]].append((at, found[2]))
        for lines in connections.values():
            self._connection(lines)

    def _connection(self, lines: list[tuple[float, str]]) -> None:
        """Passwords that failed, or what PAM counted, whichever is more; a name that does not exist is one at least."""
        failed = pam = told = 0
        name, exists, address = "", True, ""
        for at, message in lines:
            times = int(found[1]) if (found := re.match(r"message repeated (\d+) times", message)) else 1
            if found := re.search(rf"Failed password for (invalid user )?(.*) from {IP} port \d+ ssh2\]?$", message):
                failed, name, exists, address = failed + times, found[2], not found[1], found[3]
            elif found := re.match(
                rf"(?:pam_unix\(sshd:auth\): authentication failure|PAM (\d+) more authentication failures?); .*rhost={IP}(?: +user=(.*))? *$",
                message,
            ):
                pam, address = pam + int(found[1] or 1), found[2]
                name = found[3] or name
            elif found := re.match(rf"Invalid user (.*) from {IP}$", message):
                name, exists, address, failed = found[1], False, found[2], max(failed, 0)
                if not told:
                    self.guesses[address].append((at, name, exists))
                    told = 1
            for _ in range(max(failed, pam) - told):
                self.guesses[address].append((at, name, exists))
            told = max(told, failed, pam)

    def banned(self, address: str) -> bool:
        """Any five within ten minutes, ten within a day, four names within an hour, or three of root within ten minutes."""
        guesses = sorted(self.guesses[address])
        for begin, _, _ in guesses:
            after = [(at - begin, name, exists) for at, name, exists in guesses if at >= begin]
            if sum(at <= 600 for at, _, _ in after) >= 5 or sum(at <= 86400 for at, _, _ in after) >= 10:
                return True
            if len({name for at, name, exists in after if at <= 3600 and not exists}) >= 4:
                return True
            if sum(at <= 600 and name == "root" for at, name, _ in after) >= 3:
                return True
        return False


def guarded(text: str) -> Iterator[object]:
    """What the product makes of it: every command. A ban lasts a second, so that none hides what comes after it."""
    engine = Engine(Settings(THRESHOLDS, Sentences((1e-9,), 1.0, 0), widen=None))
    now = datetime.datetime(2026, 12, 12).timestamp()  # noqa: DTZ001  local
    for event in read(text, Stamps(now)):
        yield from engine.read("log", Trust.FILE, event, Instant(event.at, event.at))
    yield from engine.due(Instant(now, now))  # the log ends between PAM's line and sshd's


@pytest.mark.parametrize("name", LOGS)
def test_guesses_of_each_address(name: str) -> None:
    found: dict[str, int] = defaultdict(int)
    for command in guarded(LOGS[name]):
        if isinstance(command, Remember) and command.attempt.outcome is Outcome.FAILED:
            found[str(command.attempt.address)] += command.attempt.times
    assert dict(found) == {address: len(guesses) for address, guesses in Slow(LOGS[name]).guesses.items()}


@pytest.mark.parametrize("name", LOGS)
def test_who_is_banned(name: str) -> None:
    slow = Slow(LOGS[name])
    found = {str(command.source) for command in guarded(LOGS[name]) if isinstance(command, Ban)}
    assert found == {address for address in slow.guesses if slow.banned(address)}


def test_our_own_log_holds_what_it_says() -> None:
    """So that the count itself is checked by somebody who can count on his fingers."""
    slow = Slow(LOGS["own"])
    assert {a[-1]: len(g) for a, g in slow.guesses.items()} == {"1": 12, "2": 12, "3": 12, "4": 12, "6": 6, "7": 3, "8": 1}
    assert {a[-1] for a in slow.guesses if slow.banned(a)} == {"1", "2", "3", "4", "6"}


@pytest.mark.skipif("real" not in LOGS, reason="../shared/data/openssh-2k.log is not here")
def test_the_real_log_is_an_attack() -> None:
    slow = Slow(LOGS["real"])
    assert sum(map(len, slow.guesses.values())) > 500
    assert sum(slow.banned(a) for a in slow.guesses) > 10
