"""A month in virtual time: millions of attack lines are no news, and what a person must know is not lost among them."""

from __future__ import annotations

import datetime
import heapq
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.replayed import Replay
from tests.guard.test_data import own

REAL = Path(__file__).parents[3] / "shared/data/openssh-2k.log"
BEGIN = datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC).timestamp()
DAY, MONTH = 86400.0, 30
WORDS = ("admin", "test", "oracle", "postgres", "ubuntu", "git", "user", "ftp", "deploy", "pi")
GUESSER, PEOPLE = "198.51.100.77", {"alice": "192.0.2.10", "bob": "192.0.2.11", "carol": "2001:db8:5::7"}
# The day and its second on which he comes in after eleven guesses in as many days.
CAME = 25 * DAY + 43_210.0

Said = tuple[float, str]


def line(at: float, pid: int, message: str) -> Said:
    return at, f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%dT%H:%M:%S.%f+00:00} host sshd[{pid}]: {message}\n"


def attackers(dice: random.Random, count: int, days: float) -> Iterator[Said]:
    """So many lines of a botnet, evenly over the days: each guess three lines, of existing names, unknown ones and root."""
    step = days * DAY / count
    at, pid, said = BEGIN, 1000, 0
    while said < count:
        pid = pid % 4_000_000 + 1
        source = f"203.0.{dice.randrange(1, 113)}.{dice.randrange(1, 255)}"
        name = dice.choice(WORDS)
        unknown = dice.random() < 0.7
        who = f"invalid user {name}" if unknown else "root"
        port = dice.randrange(1024, 65535)
        yield line(at, pid, f"Invalid user {name} from {source} port {port}" if unknown else
                   f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={source}  user=root")  # fmt: skip
        yield line(at + 0.2 * step, pid, f"Failed password for {who} from {source} port {port} ssh2")
        yield line(
            at + 0.4 * step,
            pid,
            f"Connection closed by {'invalid user ' + name if unknown else 'authenticating user root'} {source} port {port} [preauth]",
        )
        at += 3 * step
        said += 3


def people(dice: random.Random, days: int) -> Iterator[Said]:
    """Who belongs here: logs in every day from where he always does, and mistypes now and then, at first as well."""
    for day in range(days):
        for number, (user, source) in enumerate(PEOPLE.items()):
            at = BEGIN + day * DAY + 30_000 + number * 1000.0
            for turn in range(dice.choice((0, 0, 1, 3)) if day else 3):
                yield line(at + turn, 5_000_000 + number, f"Failed password for {user} from {source} port 50000 ssh2")
            yield line(at + 10, 5_000_000 + number, f"Accepted password for {user} from {source} port 50000 ssh2")


def guesser() -> Iterator[Said]:
    """Once a day, and one day he is right."""
    for day in range(2, 13):
        yield line(BEGIN + day * DAY + 7777, 6_000_000, f"Failed password for bob from {GUESSER} port 40000 ssh2")
        yield line(BEGIN + day * DAY + 7778, 6_000_000, f"Connection closed by authenticating user bob {GUESSER} port 40000 [preauth]")
    yield line(BEGIN + CAME, 6_000_001, f"Accepted password for bob from {GUESSER} port 40000 ssh2")


def other_source(days: float) -> Iterator[Said]:
    """Of another sshd, a line each twenty minutes."""
    for n in range(int(days * 72)):
        yield line(BEGIN + n * 1200.0 + 600.0, 7_000_000, f"Connection closed by 203.0.1.{n % 250} port 4000 [preauth]")


def month(count: int, *, events: bool) -> Iterator[tuple[str, str]]:
    """Source and block of lines. With `events`: a break-in, a source that falls silent on the 20th day."""
    dice = random.Random(7)
    journal = [attackers(dice, count, MONTH), people(random.Random(8), MONTH), *([guesser()] if events else [])]
    merged = heapq.merge(
        (("journal", *said) for said in heapq.merge(*journal)),
        (("other", *said) for said in other_source(20 if events else MONTH)),
        key=lambda x: x[1],
    )
    block: list[str] = []
    of = "journal"
    for source, _, text in merged:
        if source != of or len(block) == 2000:
            yield of, "".join(block)
            block, of = [], source
        block.append(text)
    yield of, "".join(block)


def run(place: Path, count: int, *, events: bool) -> Replay:
    replay = Replay(place, BEGIN)
    flushed = not events
    for source, block in month(count, events=events):
        replay.lines(source, block)
        if not flushed and replay.now > BEGIN + 12 * DAY:
            flushed = True
            replay.take(replay.engine.alerts.table("generation 4 was put back, with 5,000 bans", replay.now))
    replay.until(BEGIN + MONTH * DAY)
    return replay


def nothing_at_all(replay: Replay, count: int) -> None:
    assert replay.attempts >= count / 3, "they were understood"
    assert replay.alerts == []
    assert replay.messages == []


def exactly_three(replay: Replay) -> None:
    told = [(t.raised.topic.value, t.raised.subject, t.count) for m in replay.messages for t in m.things]
    assert sorted(told) == [("blind", "other", 1), ("blind", "table", 1), ("break_in", GUESSER, 1)]
    assert len(replay.messages) == 3
    (entry,) = [m for m in replay.messages if m.things[0].raised.topic.value == "break_in"]
    assert 0 <= entry.at - (BEGIN + CAME) < 1.0
    assert (
        entry.things[0].raised.evidence[0].startswith(f"11 failed attempts from {GUESSER} between 2026-10-03 02:09:37 UTC and 2026-10-13 ")
    )
    (silent,) = [m for m in replay.messages if m.things[0].raised.subject == "other"]
    last = BEGIN + 20 * DAY - 600.0
    assert 6 * 3600 < silent.at - last <= 6 * 3600 + 30


def test_a_real_log_of_attacks_is_no_news(tmp_path: Path) -> None:
    for number, text in enumerate([own(), *([REAL.read_text()] if REAL.exists() else [])]):
        place = tmp_path / str(number)
        place.mkdir()
        replay = Replay(place, 0.0)
        replay.now = replay._ticked = replay._forgot = 1.8e9
        replay.lines("log", text)
        assert replay.attempts > 10
        assert replay.alerts == []
        assert replay.messages == []


@pytest.mark.long
def test_a_month_of_attacks_is_no_news(tmp_path: Path) -> None:
    nothing_at_all(run(tmp_path, 30_000, events=False), 30_000)


def test_a_month_with_a_break_in_a_silent_source_and_a_flushed_table_are_three_messages(tmp_path: Path) -> None:
    exactly_three(run(tmp_path, 30_000, events=True))


@pytest.mark.long
def test_five_million_lines_of_attack_are_no_news(tmp_path: Path) -> None:
    nothing_at_all(run(tmp_path, 5_000_000, events=False), 5_000_000)


@pytest.mark.long
def test_what_matters_is_not_lost_among_five_million_lines(tmp_path: Path) -> None:
    exactly_three(run(tmp_path, 5_000_000, events=True))
