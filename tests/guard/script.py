"""Words for scripts of what happens: lines at moments, attempts of somebody."""

from __future__ import annotations

from math import inf

from quietgate.clock import parse_duration
from quietgate.net import parse_address
from quietgate.sshlog.attempts import Connections
from quietgate.sshlog.connection import Attempt, Outcome
from quietgate.sshlog.lines import Event
from quietgate.sshlog.sshd import understand

A, B = "203.0.113.9", "198.51.100.66"


def seconds(when: str) -> float:
    """ "1h 5m" after the beginning; "0s" is the beginning."""
    return float(sum(parse_duration(part) for part in when.split()))


def event(message: str, when: str = "0s", pid: int = 100) -> Event:
    said = understand(message)
    assert said is not None, message
    return Event(seconds(when), pid, said, message)


def attempt(address: str, user: str, when: str, outcome: Outcome = Outcome.FAILED, *, invalid: bool = False, times: int = 1,
            method: str = "password") -> Attempt:  # fmt: skip
    return Attempt(seconds(when), parse_address(address), outcome, user, invalid, method, f"{user} from {address}", times)


def counted(*lines: str | tuple[str, str] | tuple[str, str, int], into: Connections | None = None) -> list[tuple[str, str, str, int]]:
    """What these lines come to: outcome, user, address, times. A line is a message, or with a moment, or with a process number."""
    connections = into if into is not None else Connections()
    made: list[Attempt | None] = []
    for line in lines:
        one = event(*((line,) if isinstance(line, str) else line))
        made += connections.due(one.at)
        made.append(connections.take(one))
    made += connections.due(inf)
    return [(one.outcome.value, one.user, str(one.address), one.times) for one in made if one is not None]
