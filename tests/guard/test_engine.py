"""The engine as a script: what is read, and what is commanded."""

from __future__ import annotations

import itertools

import pytest

from quietgate.clock import Instant
from quietgate.guard.bans import Past, Sentences
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Ban, Check, Command, Engine, Know, LoggedIn, Remember, Settings, Spared
from quietgate.guard.record import Trust
from quietgate.net import Prefix, PrefixSet, parse_address, parse_prefix
from tests.guard.script import A, B, event, seconds

BURST = {"burst": Threshold(5, 600)}
FAILED = "Failed password for root from {} port 5 ssh2"
ACCEPTED = "Accepted publickey for alice from {} port 5 ssh2: ED25519 SHA256:x"
_pids = itertools.count(1000)


def engine(**more: object) -> Engine:
    return Engine(Settings(BURST, sentences=Sentences((600, 3600), 30 * 86400, 0), **more))  # type: ignore[arg-type]


def reads(e: Engine, message: str, address: str, when: str, trust: Trust = Trust.JOURNAL) -> list[Command]:
    at = seconds(when)
    return e.read("one", trust, event(message.format(address), when, next(_pids)), Instant(at, at))


def attack(e: Engine, address: str, trust: Trust = Trust.JOURNAL, count: int = 5, begin: int = 0) -> list[Command]:
    """So many guesses, a second apart; what they made beyond being remembered."""
    return [c for n in range(count) for c in reads(e, FAILED, address, f"{begin + n}s", trust) if not isinstance(c, Remember)]


def test_the_fifth_guess_bans_and_each_is_remembered() -> None:
    e = engine()
    assert [type(c) for n in range(5) for c in reads(e, FAILED, A, f"{n}s")] == [Remember] * 5 + [Ban]


def test_a_ban_says_how_long_from_when_and_why() -> None:
    (ban,) = attack(engine(), A)
    assert isinstance(ban, Ban)
    assert (str(ban.source), ban.seconds, ban.steps, ban.at.wall, ban.observed) == (A, 600, 1, 4.0, False)
    assert (ban.finding.detector, ban.finding.count) == ("burst", 5)


def test_while_it_is_banned_nothing_more_is_made_of_it_and_afterwards_it_begins_anew() -> None:
    e = engine()
    attack(e, A)
    assert attack(e, A, count=50, begin=10) == []
    assert len(attack(e, A, begin=700)) == 1


def test_the_past_makes_the_next_one_longer() -> None:
    e = Engine(Settings(BURST, sentences=Sentences((600, 3600), 30 * 86400, 0)), past=lambda _source: Past(1, 0.0))
    (ban,) = attack(e, A)
    assert isinstance(ban, Ban)
    assert ban.seconds == 3600


@pytest.mark.parametrize(("who", "trust"), [("spared", Trust.JOURNAL), ("floor", Trust.JOURNAL), ("known", Trust.FILE)])
def test_who_belongs_here_is_spared_and_that_is_said_once(who: str, trust: Trust) -> None:
    source = parse_address(A)
    e = engine(spared=PrefixSet([source] if who == "spared" else []))
    e.know({source: 9e9} if who == "known" else {}, frozenset([source] if who == "floor" else []))
    found = attack(e, A, trust, 25) + attack(e, A, trust, 25, 30)
    assert [type(c) for c in found] == [Spared]


def test_a_known_source_is_banned_after_its_patience_where_the_line_cannot_be_forged() -> None:
    e = engine()
    e.know({parse_address(A): 9e9}, frozenset())
    assert attack(e, A, Trust.JOURNAL, 24) == []
    assert [type(c) for c in attack(e, A, Trust.JOURNAL, 1, 24)] == [Ban]


def test_a_login_in_the_journal_makes_known_and_one_in_a_file_is_only_checked() -> None:
    assert [type(c) for c in reads(engine(), ACCEPTED, A, "0s")] == [LoggedIn, Know]
    assert [type(c) for c in reads(engine(), ACCEPTED, A, "0s", Trust.FILE)] == [Check]


def test_a_line_in_a_file_that_tells_of_a_login_forgives_nothing() -> None:
    e = engine()
    attack(e, A, Trust.FILE, 4)
    reads(e, "Accepted password for root from {} port 5 ssh2", A, "5s", Trust.FILE)
    assert len(attack(e, A, Trust.FILE, 1, 6)) == 1


def test_observed_it_is_only_said() -> None:
    (ban,) = attack(engine(observe=True), A)
    assert isinstance(ban, Ban)
    assert ban.observed


def test_who_is_banned_already_is_not_banned_again() -> None:
    e = Engine(Settings(BURST), until=lambda source: 1e9 if source == parse_address(A) else 0.0)
    assert attack(e, A) == []
    assert len(attack(e, B)) == 1


def test_an_unban_is_seen_when_it_is_told_to_look_again() -> None:
    banned: set[Prefix] = set()
    e = Engine(Settings(BURST), until=lambda source: 1e9 if source in banned else 0.0)
    attack(e, A)
    e.look_again()
    assert len(attack(e, A, begin=20)) == 1


def test_a_whole_64_is_one_source_and_nat64_is_not() -> None:
    e = engine()
    found = [c for n in range(5) for c in reads(e, FAILED, f"2001:db8:7::{n + 1:x}", f"{n}s") if isinstance(c, Ban)]
    assert [str(b.source) for b in found] == ["2001:db8:7::/64"]
    assert [c for n in range(9) for c in reads(e, FAILED, f"64:ff9b::{n + 1:x}", f"{n}s") if isinstance(c, Ban)] == []


def test_another_policy_keeps_the_windows() -> None:
    e = engine()
    attack(e, A, count=4)
    e.change(Settings({"burst": Threshold(5, 600)}, spared=PrefixSet([parse_prefix("192.0.2.0/24")])))
    assert len(attack(e, A, count=1, begin=4)) == 1


def test_what_a_restart_finds_again_counts_no_guess_twice() -> None:
    before, after = engine(), engine()
    pam = event(f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root", "0s", 77)
    said = event(FAILED.format(A), "2s", 77)
    assert len(before.read("one", Trust.FILE, pam, Instant(0, 0))) == 1
    after.resume("one", before.unfinished("one"))
    assert after.read("one", Trust.FILE, said, Instant(2, 2)) == []
