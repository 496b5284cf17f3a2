"""The guard's decisions as scripts: lines in, commands out, moment by moment."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import MOST_SPARED, SAID_AGAIN, Ban, Check, Command, Engine, Know, LoggedIn, Remember, Settings, Spared
from quietgate.guard.never import Never, Reason
from quietgate.guard.sentences import Past, Sentences
from quietgate.net import Counting, Prefix, PrefixSet, parse_address, parse_prefix
from quietgate.sshlog.lines import Event, Trust
from quietgate.values import Guess, Scope
from tests.guard.script import A, B, event

FIVE = {"burst": Threshold(5, 600.0)}
PLAIN = Settings(FIVE, Sentences((600.0, 3600.0), 1e9, 0), widen=None)
BEGIN = 1_790_000_000.0
WRONG = "Failed password for root from {} port 40000 ssh2"
IN = "Accepted publickey for anna from {} port 40000 ssh2: RSA SHA256:abc"


class Script:
    """An engine, and the clock of its events. Every line is of a connection of its own."""

    def __init__(self, settings: Settings = PLAIN, *, trust: Trust = Trust.JOURNAL, past: dict[str, Past] | None = None,
                 until: dict[str, float] | None = None) -> None:  # fmt: skip
        self.trust, self.pid, self.bans = trust, 0, until or {}
        steps = past or {}
        self.engine = Engine(settings, lambda s: steps.get(str(s), Past()), lambda s: self.bans.get(str(s), 0.0), random.Random(1))

    def say(self, message: str, at: float, trust: Trust | None = None) -> list[Command]:
        self.pid += 1
        line: Event = event(message, "0s", self.pid)._replace(at=BEGIN + at)
        return self.engine.read("log", trust or self.trust, line, moment(at))

    def log_in(self, address: str, at: float) -> list[Command]:
        """A login whose session the kernel shows."""
        checks = self.say(IN.format(address), at)
        assert all(isinstance(c, Check) for c in checks)
        return [*self.engine.logged_in("anna", parse_address(address), 40000, moment(at))]

    def guess(self, count: int, address: str = A, at: float = 0.0, trust: Trust | None = None) -> list[Command]:
        """So many wrong passwords; every command but that an attempt is remembered."""
        found = [c for _ in range(count) for c in self.say(WRONG.format(address), at, trust)]
        return [c for c in found if not isinstance(c, Remember)]


def moment(at: float) -> Instant:
    return Instant(BEGIN + at, 5000.0 + at)


def source(address: str) -> Prefix:
    return Counting().source_of(parse_address(address))


def spare(*prefixes: str) -> Never:
    return Never.of([Reason("it is in ssh.trusted", PrefixSet(map(parse_prefix, prefixes)))])


def only_ban(found: list[Command]) -> Ban:
    assert len(found) == 1
    assert isinstance(found[0], Ban), found
    return found[0]


def test_the_fifth_wrong_password_bans() -> None:
    script = Script()
    assert script.guess(4) == []
    ban = only_ban(script.guess(1))
    assert (ban.source, ban.scope, ban.seconds, ban.steps, ban.observed) == (source(A), Scope.SSH, 600.0, 1, False)
    assert (ban.finding.detector, ban.finding.count) == ("burst", 5)
    assert ban.finding.evidence == WRONG.format(A)


def test_every_attempt_is_remembered_of_the_banned_as_well() -> None:
    script = Script()
    found = [c for _ in range(9) for c in script.say(WRONG.format(A), 0)]
    assert sum(isinstance(c, Remember) for c in found) == 9
    assert sum(isinstance(c, Ban) for c in found) == 1


def test_after_the_ban_it_begins_anew_and_the_next_is_longer() -> None:
    script = Script(past={A: Past(1, BEGIN + 600)})
    only_ban(script.guess(5))
    script = Script(past={A: Past(1, BEGIN)})
    assert only_ban(script.guess(5)).seconds == 3600.0
    assert script.guess(20, at=3599.0) == [], "it is banned"
    assert script.guess(4, at=3600.0) == []
    assert only_ban(script.guess(1, at=3600.0)).source == source(A)


def test_a_64_is_one_source() -> None:
    script = Script()
    found = [c for n in range(5) for c in script.guess(1, f"2001:db8:7::{n + 1:x}")]
    assert only_ban(found).source == parse_prefix("2001:db8:7::/64")


def test_who_the_policy_spares_is_named_once_and_not_banned() -> None:
    script = Script(replace(PLAIN, never=spare("203.0.113.0/24")))
    found = script.guess(5)
    assert [type(c) for c in found] == [Spared]
    assert script.guess(50, at=1.0) == [], "not again and again"
    assert [type(c) for c in script.guess(5, at=SAID_AGAIN + 1.0)] == [Spared], "but after a while"


def test_a_whole_source_is_spared_for_one_address_in_it() -> None:
    script = Script(replace(PLAIN, never=spare("2001:db8:7::5")))
    assert [type(c) for c in script.guess(5, "2001:db8:7::9")] == [Spared]


def test_the_floor_is_never_banned_by_any_source_of_lines() -> None:
    for trust in Trust:
        script = Script(trust=trust)
        script.engine.know({}, frozenset({source(A)}))
        (found,) = script.guess(5)
        assert isinstance(found, Spared)
        assert "administrator" in found.why


def test_a_known_source_has_patience_and_is_banned_in_the_end_where_nobody_can_forge_it() -> None:
    script = Script()
    script.engine.know({source(A): BEGIN + 1000}, frozenset())
    assert script.guess(24) == []
    assert only_ban(script.guess(1)).finding.count == 25
    script = Script()
    script.engine.know({source(A): BEGIN + 1000}, frozenset())
    assert only_ban(script.guess(5, at=1001.0)).finding.count == 5, "it is known no more"


def test_a_file_never_bans_a_known_source() -> None:
    """Anybody on this host can write its lines."""
    script = Script(trust=Trust.FILE)
    script.engine.know({source(A): BEGIN + 1000}, frozenset())
    (found,) = script.guess(25)
    assert isinstance(found, Spared)
    assert "forged" in found.why
    assert only_ban(script.guess(5, B)).source == source(B), "strangers it does"


def test_a_login_that_the_kernel_shows_makes_known_and_forgives() -> None:
    script = Script()
    script.guess(3)
    shown = script.engine.logged_in("anna", parse_address(A), 40000, moment(1))
    assert shown == [LoggedIn("anna", parse_address(A), 40000, BEGIN + 1), Know(source(A), 30 * 86400.0)]
    assert script.guess(20, at=2.0) == [], "patience"


@pytest.mark.parametrize("trust", list(Trust))
def test_a_line_that_tells_of_a_login_is_only_a_reason_to_look(trust: Trust) -> None:
    script = Script(trust=trust)
    script.guess(4)
    (found,) = script.say(IN.format(A), 1.0)
    assert isinstance(found, Check)
    assert (found.user, found.address, found.port, found.at, found.trust) == ("anna", parse_address(A), 40000, BEGIN + 1, trust)
    only_ban(script.guess(1, at=2.0))
    script = Script(trust=trust)
    script.guess(4)
    script.engine.logged_in("root", parse_address(A), 40000, moment(1))
    assert script.guess(1, at=2.0) == [], "once the session was seen"


def test_where_nobody_is_known_a_login_makes_nobody_known() -> None:
    script = Script(replace(PLAIN, known_for=None))
    assert [type(c) for c in script.engine.logged_in("anna", parse_address(A), 40000, moment(0))] == [LoggedIn]
    only_ban(script.guess(5))


def test_observe_says_so_and_decides_the_same() -> None:
    script = Script(replace(PLAIN, observe=True))
    assert only_ban(script.guess(5)).observed
    assert script.guess(20, at=1.0) == [], "once for each ban that it would be"


def test_who_is_banned_already_is_not_banned_again() -> None:
    script = Script(until={A: BEGIN + 100})
    assert script.guess(20) == []
    only_ban(script.guess(5, at=100.0))


def test_an_unban_begins_anew() -> None:
    script = Script()
    script.guess(5)
    script.engine.look_again()
    assert script.guess(4) == []
    only_ban(script.guess(1))


def test_what_was_logged_before_is_judged_at_its_own_time() -> None:
    """Five within ten minutes an hour ago: a ban of then. Its end is the driver's to see."""
    script = Script()
    ban = only_ban([c for n in range(5) for c in script.guess(1, at=-3600.0 + n)])
    assert ban.at.wall == BEGIN - 3596
    script = Script()
    assert [c for n in range(5) for c in script.guess(1, at=-3600.0 * n)] == [], "an hour between each"


def test_a_wall_clock_that_jumps_changes_no_window() -> None:
    script = Script()
    found: list[Command] = []
    for n in range(5):
        line = event(WRONG.format(A), "0s", 1000 + n)._replace(at=BEGIN + n * 100_000)
        found += script.engine.read("log", Trust.JOURNAL, line, Instant(BEGIN + n * 100_000, 5000.0 + n))
    assert [type(c) for c in found if not isinstance(c, Remember)] == [Ban]


def test_replayed_guesses_decide_nothing_and_count() -> None:
    script = Script()
    for n in range(4):
        script.engine.replay(Guess(BEGIN - 60 + n, source(A), parse_address(A), "failed", "root", "password", "x", 1), moment(0))
    only_ban(script.guess(1))
    script = Script()
    for n in range(7):
        script.engine.replay(Guess(BEGIN - 60 + n, source(A), parse_address(A), "failed", "root", "password", "x", 1), moment(0))
    assert script.guess(2) == [], "five of them were a ban of then, which is over or in the store"


def test_a_change_of_policy_keeps_windows_and_bans() -> None:
    script = Script()
    script.guess(3)
    script.engine.change(replace(PLAIN, thresholds={"burst": Threshold(4, 600.0)}))
    assert only_ban(script.guess(1)).finding.count == 4
    assert script.guess(9, at=1.0) == []
    script.engine.change(replace(PLAIN, counting=Counting(24, 64)))
    assert only_ban(script.guess(5, B)).source == parse_prefix("198.51.100.0/24")


def test_ticks_forget_what_is_over() -> None:
    script = Script()
    script.guess(5)
    script.guess(3, B)
    script.engine.know({source(B): BEGIN + 100}, frozenset())
    assert script.engine.figures()["banned"] == 1
    script.engine.tick(moment(5000.0))
    figures = script.engine.figures()
    assert (figures["banned"], figures["known"], figures["sources"]) == (0, 0, 0)


def test_sources_of_lines_do_not_share_process_numbers() -> None:
    engine = Engine(PLAIN)
    line = event(WRONG.format(A), "0s", 7)
    other = event(WRONG.format(B), "0s", 7)
    assert engine.read("one", Trust.FILE, line, moment(0))
    assert engine.read("two", Trust.FILE, other, moment(0))
    assert engine.figures()["mismatched"] == 0


def test_what_is_said_of_the_spared_is_bounded() -> None:
    script = Script(replace(PLAIN, thresholds={"burst": Threshold(1, 600.0)}, never=spare("10.0.0.0/8")))
    for n in range(MOST_SPARED + 500):
        script.guess(1, f"10.0.{n // 250}.{n % 250}")
    assert len(script.engine._spared) <= MOST_SPARED


@pytest.mark.parametrize("trust", list(Trust))
def test_lines_that_blame_nobody_do_nothing(trust: Trust) -> None:
    script = Script(trust=trust)
    for message in (f"Connection closed by {A} port 5", f"Received disconnect from {A} port 5:11: x", "error: beginning MaxStartups throttling",
                    "Failed password for root from host.example.net port 5 ssh2", f"drop connection #9 from [{A}]:5 on [{B}]:22 Maxstartups"):  # fmt: skip
        for _ in range(50):
            assert script.say(message, 0.0) == []
