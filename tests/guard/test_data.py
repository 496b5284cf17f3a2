"""A real attack log: attempts and bans for each address equal a slow, obvious count."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Ban, Engine, Remember, Settings
from quietgate.guard.record import Stamps, Trust, read

REAL = Path(__file__).parents[3] / "shared/data/openssh-2k.log"
EXCERPT = Path(__file__).parent / "golden"


def slow_count(text: str) -> dict[str, int]:
    """Guesses for each address: of each connection (one process) the largest of what "Failed", PAM and "Invalid user" tell."""
    failed: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in text.splitlines():
        head = re.match(r"\w{3} [ \d]\d [\d:]{8} \S+ sshd\[(\d+)\]: (.*)", line)
        if head is None:
            continue
        pid, said = int(head[1]), head[2]
        times = 1
        if repeated := re.fullmatch(r"message repeated (\d+) times: \[ (.*)\]", said):
            times, said = int(repeated[1]), repeated[2]
        if found := re.fullmatch(r"Failed (\w+) for .* from ([\d.]+) port \d+ ssh2", said):
            if found[1] != "none":
                failed[pid, found[2]]["failed"] += times
        elif found := re.match(r"pam_unix\(sshd:auth\): authentication failure;.*? rhost=([\d.]+)(?: |$)", said):
            failed[pid, found[1]]["pam"] += times
        elif found := re.match(r"PAM (\d+) more authentication failures?;.*? rhost=([\d.]+)(?: |$)", said):
            failed[pid, found[2]]["pam"] += int(found[1])
        elif found := re.fullmatch(r"Invalid user .* from ([\d.]+)", said):
            failed[pid, found[1]]["least"] = 1
    total: dict[str, int] = defaultdict(int)
    for (_, address), counts in failed.items():
        total[address] += max(counts.values())
    return dict(total)


@pytest.mark.skipif(not REAL.exists(), reason="the real log lies beside the project; the goldens show the same without it")
def test_attempts_and_bans_of_a_real_attack() -> None:
    text = REAL.read_text()
    engine = Engine(Settings({"burst": Threshold(5, 600)}, widen=None))
    attempts: dict[str, int] = defaultdict(int)
    moments: dict[str, list[float]] = defaultdict(list)
    banned: dict[str, int] = defaultdict(int)
    for event in read(text, Stamps(1.8e9)):
        for command in engine.read("log", Trust.FILE, event, Instant(event.at, event.at)):
            if isinstance(command, Remember):
                attempts[str(command.source)] += command.attempt.times
                moments[str(command.source)] += [command.attempt.at] * command.attempt.times
            elif isinstance(command, Ban):
                banned[str(command.source)] += 1
    assert dict(attempts) == slow_count(text)
    # Who made five guesses within ten minutes, at any time, was banned; who never did was not.
    for address, times in moments.items():
        reached = any(b - a <= 600 for a, b in zip(times, times[4:], strict=False))
        assert bool(banned[address]) == reached, address
    assert sum(banned.values()) > 5
