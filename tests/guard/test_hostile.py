"""No address that the server did not write is ever blamed, trusted or cleared, whatever a client says (see attacker.py)."""

from __future__ import annotations

import pytest

from quietgate.clock import Instant
from quietgate.guard.detect import NAMES, Threshold
from quietgate.guard.engine import Check, Engine, Know, LoggedIn, Settings
from quietgate.net import Counting, Prefix, parse_address
from quietgate.sshlog.lines import Stamps, Trust, read
from quietgate.sshlog.sshd import Kind
from tests.guard.attacker import INNOCENT, Attacker

EAGER = Settings({name: Threshold(1, 600.0) for name in NAMES}, widen=None)  # the first attempt bans


@pytest.mark.parametrize("seed", range(5))
def test_fifty_thousand_hostile_lines(seed: int) -> None:
    attack(seed, 10_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_two_million_hostile_lines(seed: int) -> None:
    attack(seed, 100_000)


def attack(seed: int, count: int) -> None:
    """Each line alone must name the server's address or none; all together must come to nothing for anybody else."""
    engine, stamps, counting = Engine(EAGER), Stamps(0.0), Counting()
    attackers: dict[str, Prefix] = {}
    innocent = {counting.source_of(parse_address(a)) for a in INNOCENT}
    blamed: set[Prefix] = set()
    welcomed: set[Prefix] = set()
    unclear = 0
    for n, (line, truth, login) in enumerate(Attacker(seed).lines(count)):
        events = list(read(line, stamps))
        assert len(events) <= 1, line
        for event in events:
            said = event.said
            if said.address is not None:
                assert truth is not None, line
                assert said.address == attackers.setdefault(truth, parse_address(truth)), line
            assert login or said.kind is not Kind.ACCEPTED, line
            unclear += said.kind is Kind.UNCLEAR
            for command in engine.read("journal", Trust.JOURNAL, event, Instant(1e9 + n, float(n))):
                found = getattr(command, "source", None) or getattr(command, "address", None)
                assert found is not None
                into = welcomed if isinstance(command, Know | LoggedIn | Check) else blamed
                into.add(counting.source_of(found) if found.single else found)
    assert not innocent & (blamed | welcomed)
    assert len(blamed) > 300, "the attackers themselves are"
    assert len(welcomed) > 200, "and who has logged in is"
    assert 0 < unclear < count / 5, "it takes care, but it is not blind"
