"""What a person is told of, and what not: logins with a history, sources that fall silent, kernel and log that disagree."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from quietgate.clock import Instant
from quietgate.guard.alerts import (
    DISK,
    ENOUGH,
    FAILING,
    FAILURES,
    LEARNED,
    OTHERS,
    SILENT_COUNTED,
    UNSEEN,
    Alert,
    Alerts,
    Clear,
    History,
    Login,
    Raise,
    Severity,
    Topic,
    Usual,
)
from quietgate.guard.detect import Finding, Threshold
from quietgate.guard.engine import STILL_HEARD, Doubt, Engine, LoggedIn, Settings
from quietgate.net import parse_address, parse_prefix
from quietgate.sshlog.lines import Trust
from tests.guard.script import A
from tests.guard.test_engine import BEGIN, IN, PLAIN, Script, moment, source

DAY = 86400.0
ALL = frozenset(Topic)
LOGIN = Login("anna", parse_address(A), source(A), BEGIN, known=False, banned=False)


def _always(history: History, _login: Login) -> History:
    return history


def told(found: list[Alert] | list[Raise] | list[Clear]) -> list[tuple[str, str]]:
    return [("raise" if isinstance(a, Raise) else "clear", a.subject) for a in found]


# -- a login


@pytest.mark.parametrize(
    ("history", "alert"),
    [
        (History(), False),
        (History(failures=3), False),
        (History(failures=FAILURES - 1, others=OTHERS - 1), False),
        (History(failures=FAILURES), True),
        (History(failures=OTHERS, others=OTHERS), True),
        (History(failures=1000, before=True), False),
    ],
)
def test_a_login_after_guesses_is_a_break_in_unless_somebody_came_from_there_before(history: History, alert: bool) -> None:
    assert bool(Alerts().login(LOGIN, history)) is alert
    assert Alerts().login(replace(LOGIN, known=True), history) == [], "who is known may mistype"


def test_a_login_from_a_banned_prefix_is_one_whoever_it_is() -> None:
    (found,) = Alerts().login(replace(LOGIN, banned=True, known=True), History(before=True))
    assert (found.topic, found.severity, found.subject) == (Topic.BREAK_IN, Severity.PAGE, A)
    assert "it is banned" in found.evidence


def test_a_break_in_tells_what_showed_it_what_was_done_and_what_to_type() -> None:
    (found,) = Alerts().login(LOGIN, History(12, BEGIN - 3 * DAY, BEGIN - 60, 4, ("root",)))
    assert found.what == f"anna logged in from {A}, which had guessed passwords here"
    assert found.evidence[0].startswith(f"12 failed attempts from {A} between 20")
    assert found.evidence[1] == "4 other user names were tried from there; of these exist here: root"
    assert found.next == f"quietgate ban --evict {A}"
    assert found.done


def test_what_nobody_wants_to_hear_of_is_not_raised() -> None:
    assert Alerts(frozenset()).login(replace(LOGIN, banned=True), History(failures=99, network_before=False)) == []


def test_a_new_network_is_told_where_it_is_asked_for() -> None:
    (found,) = Alerts().login(replace(LOGIN, known=True), History(network_before=False))
    assert (found.topic, found.subject, found.severity) == (Topic.NEW_NETWORK, "anna 203.0.113.0/24", Severity.WARN)


def test_three_mistypes_and_a_success_are_silence_and_a_slow_guesser_is_not() -> None:
    histories = {"few": History(failures=3), "slow": History(failures=11, first=BEGIN - 9 * DAY, last=BEGIN - DAY)}
    for name, history in histories.items():
        script = Script(replace(PLAIN, alerts=ALL))
        script.engine.history = partial(_always, history)
        found = script.log_in(A, 0)
        assert any(isinstance(c, Raise) for c in found) is (name == "slow")
        assert any(isinstance(c, LoggedIn) for c in found)


def test_a_source_that_this_very_login_made_known_was_not_known_before() -> None:
    """A refresh may read the journal before the guard does."""
    script = Script(replace(PLAIN, alerts=ALL))
    script.engine.history = lambda _login: History(failures=11)
    script.engine.know({source(A): BEGIN + 30 * DAY}, frozenset())
    assert any(isinstance(c, Raise) for c in script.log_in(A, 0))
    script.engine.know({source(A): BEGIN + 29 * DAY}, frozenset())
    assert not any(isinstance(c, Raise) for c in script.log_in(A, 0)), "that is of yesterday"


def test_a_login_that_comes_with_the_ban_is_told() -> None:
    """Five guesses ban; a sixth over a connection that was open then is right."""
    script = Script(replace(PLAIN, alerts=ALL))
    script.guess(5)
    found = [c for c in script.log_in(A, 0.1) if isinstance(c, Raise)]
    assert [c.topic for c in found] == [Topic.BREAK_IN]
    observed = Script(replace(PLAIN, alerts=ALL, observe=True))
    observed.guess(5)
    assert not any(isinstance(c, Raise) for c in observed.log_in(A, 0.1)), "nobody was banned"


def test_a_line_in_a_file_is_no_login_and_no_alert() -> None:
    script = Script(replace(PLAIN, alerts=ALL), trust=Trust.FILE)
    script.engine.history = lambda _login: History(failures=99)
    assert not any(isinstance(c, Raise) for c in script.say(IN.format(A), 0))
    assert any(isinstance(c, Raise) for c in script.engine.logged_in("anna", parse_address(A), 40000, moment(0)))


def test_a_login_whose_session_is_not_found_is_told_as_what_it_is_and_earns_nothing() -> None:
    script = Script(replace(PLAIN, alerts=ALL))
    script.engine.history = lambda _login: History(failures=99, network_before=False)
    (found,) = script.engine.unproven("anna", parse_address(A), moment(0), Trust.FILE)
    assert found.topic is Topic.BREAK_IN
    assert "or a user of this host wrote that line" in found.evidence[-1]
    assert script.engine.is_stranger(source(A))
    script.engine.logged_in("anna", parse_address(A), 40000, moment(1))
    assert script.engine.unproven("anna", parse_address(A), moment(2), Trust.FILE) == [], "the journal has told of it"


# -- a trial that lapsed


def test_a_lapsed_trial_lasts_until_a_later_change_is_kept() -> None:
    alerts = Alerts(ALL)
    (raised,) = alerts.reverted(7, "generation 6 is in force", BEGIN)
    assert isinstance(raised, Raise)
    assert raised.lasting
    assert alerts.in_force(6, BEGIN + 1) == [], "that is the one which came back"
    (over,) = alerts.in_force(8, BEGIN + 2)
    assert isinstance(over, Clear)
    assert (over.topic, over.subject) == (raised.topic, raised.subject)
    assert alerts.in_force(9, BEGIN + 3) == [], "once"


def test_a_lapsed_trial_of_before_a_restart_is_settled_too() -> None:
    alerts = Alerts(ALL)
    alerts.stood(Topic.REVERTED, "generation 7")
    assert [type(a) for a in alerts.in_force(8, BEGIN)] == [Clear]


# -- a ban that was not made


def test_a_ban_that_would_hit_somebody_who_must_get_in_is_told() -> None:
    script = Script(replace(PLAIN, alerts=ALL))
    script.engine.know({}, frozenset({source(A)}))
    found = [c for c in script.guess(5) if isinstance(c, Raise)]
    assert [(c.topic, c.subject) for c in found] == [(Topic.REFUSED, A)]
    assert "administrator" in found[0].what


def test_a_widening_that_was_not_made_is_no_news() -> None:
    finding = Finding("widen", parse_prefix("203.0.113.0/24"), 4, DAY, "")
    assert Alerts().spared(finding.source, "a known source is in there", finding, 0.0) == []


# -- silence


def heard_for(days: int, every: float, alerts: Alerts) -> float:
    """Lines for so many days; the last moment of one."""
    at = 0.0
    while at < days * DAY:
        alerts.heard("journal", moment(at))
        at += every
    return at - every


def test_a_source_is_silent_for_longer_than_usual_and_speaks_again() -> None:
    alerts = Alerts()
    last = heard_for(LEARNED, 3600.0, alerts)
    assert alerts.source("journal", "", None, moment(last + 6 * 3600.0)) == []
    (found,) = alerts.source("journal", "", None, moment(last + 6 * 3600.0 + 1))
    assert isinstance(found, Raise)
    assert (found.topic, found.lasting) == (Topic.BLIND, True)
    assert alerts.source("journal", "", None, moment(last + 9 * 3600.0)) == [], "once"
    assert told(alerts.heard("journal", moment(last + 9 * 3600.0))) == [("clear", "journal")]
    assert alerts.source("journal", "", None, moment(last + 24 * 3600.0)) == [], "nine hours are usual now"


def test_nights_and_weekends_are_usual_after_a_week_and_nothing_is_before() -> None:
    alerts = Alerts()
    at = 0.0
    for day in range(14):
        assert alerts.source("journal", "", None, moment(day * DAY)) == []
        for hour in range(9, 17) if day % 7 < 5 else ():
            at = day * DAY + hour * 3600.0
            assert alerts.source("journal", "", None, moment(at)) == []
            alerts.heard("journal", moment(at))
    assert alerts.source("journal", "", None, moment(at + 72 * 3600.0)) == []
    assert told(alerts.source("journal", "", None, moment(at + 140 * 3600.0))) == [("raise", "journal")]


def test_what_the_kernel_counts_decides_where_it_counts() -> None:
    alerts = Alerts()
    last = heard_for(LEARNED, 60.0, alerts)
    assert alerts.source("journal", "", 0, moment(last + 30 * DAY)) == [], "nobody connects: nothing to write"
    assert alerts.source("journal", "", 50, moment(last + SILENT_COUNTED - 1)) == []
    assert told(alerts.source("journal", "", 50, moment(last + SILENT_COUNTED))) == [("raise", "journal")]


def test_a_source_that_was_never_heard_is_silent_since_it_is_listened_to() -> None:
    alerts = Alerts()
    assert alerts.listen(["journal"], moment(0)) == []
    assert alerts.source("journal", "", 0, moment(30 * DAY)) == [], "nobody connects"
    assert alerts.source("journal", "", 50, moment(SILENT_COUNTED - 1)) == []
    assert told(alerts.source("journal", "", 50, moment(SILENT_COUNTED))) == [("raise", "journal")]


def test_of_a_source_that_is_read_no_more_nothing_stands() -> None:
    alerts = Alerts()
    for subject in ("/var/log/auth.log", "journal", "kernel", "limit"):
        alerts.stood(Topic.BLIND, subject)
    alerts.stood(Topic.STRAIN, "conntrack")
    assert told(alerts.listen(["journal"], moment(0))) == [("clear", "/var/log/auth.log")]


def test_a_clock_that_was_ahead_for_a_while_does_not_keep_us_from_learning() -> None:
    usual = Usual(moment(0))
    for day in range(1, 15):
        usual.heard(Instant((400 + day) * DAY, day * 10.0))  # fourteen days that have not come
    for day in range(1, 15):
        usual.heard(Instant(day * DAY, 1000.0 + day * 20.0))
    assert sorted(usual.gaps) == list(range(1, 15))


def test_a_source_that_fails_for_a_minute() -> None:
    alerts = Alerts()
    assert alerts.source("journal", "journalctl ended", None, moment(0)) == []
    assert alerts.source("journal", "", None, moment(30)) == [], "it works again"
    assert alerts.source("journal", "journalctl ended", None, moment(60)) == []
    (found,) = alerts.source("journal", "journalctl ended", None, moment(60 + FAILING))
    assert isinstance(found, Raise)
    assert found.evidence == ("journalctl ended",)
    assert told(alerts.source("journal", "", None, moment(500))) == [("clear", "journal")]


def test_what_is_usual_survives_a_restart_and_the_time_without_a_guard_is_no_silence() -> None:
    alerts = Alerts()
    last = heard_for(LEARNED, 3600.0, alerts)
    again = Alerts()
    again.restore(alerts.snapshot(), moment(last + 3 * DAY))
    assert again.source("journal", "", None, moment(last + 3 * DAY + 60)) == []
    assert told(again.source("journal", "", None, moment(last + 4 * DAY))) == [("raise", "journal")]
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Alerts().restore({"journal": "x"}, moment(0))
    Alerts().restore("nonsense", moment(0))


# -- kernel and log disagree


def test_strangers_whom_the_kernel_does_not_count() -> None:
    alerts = Alerts()
    assert alerts.uncounted(UNSEEN - 1, False, moment(0)) == []
    assert told(alerts.uncounted(1, False, moment(1))) == [("raise", "limit")]
    assert told(alerts.uncounted(50, True, moment(2))) == [("clear", "limit")]
    assert alerts.uncounted(UNSEEN - 1, False, moment(3)) == []


def test_a_banned_source_that_is_still_heard_is_doubted_once_its_last_connection_must_be_over() -> None:
    script = Script(replace(PLAIN, alerts=ALL))
    script.guess(5)
    assert script.guess(3, at=1.0) == []
    assert script.guess(3, at=STILL_HEARD) == []
    assert script.guess(3, at=1.0 + STILL_HEARD) == [Doubt(source(A), Trust.JOURNAL)], "once for all three"
    observed = Script(replace(PLAIN, observe=True))
    observed.guess(5)
    assert not any(isinstance(c, Doubt) for c in observed.guess(3, at=1.0) + observed.guess(3, at=400.0))


def test_trouble_of_the_guards_own_is_told_when_it_lasts_and_a_broken_policy_is_not() -> None:
    alerts = Alerts()
    assert alerts.trouble("kernel", "EPERM", moment(0)) == []
    assert told(alerts.trouble("kernel", "EPERM", moment(FAILING))) == [("raise", "kernel")]
    assert told(alerts.trouble("kernel", "", moment(90))) == [("clear", "kernel")]
    assert alerts.trouble("store", "disk full", moment(0)) == []
    assert alerts.trouble("store", "disk full", moment(DISK - 1)) == []
    assert told(alerts.trouble("store", "disk full", moment(DISK))) == [("raise", "store")]
    for at in (0.0, 1e6):
        assert alerts.trouble("policy", "policy.toml:3: ...", moment(at)) == [], "who wrote it has seen it"


# -- room


def test_strain_takes_two_looks_and_ends_well_below() -> None:
    alerts = Alerts()
    assert alerts.pressure("conntrack", 95, 100, moment(0)) == []
    (found,) = alerts.pressure("conntrack", 95, 100, moment(30))
    assert isinstance(found, Raise)
    assert (found.severity, found.evidence) == (Severity.WARN, ("95 of 100",))
    assert alerts.pressure("conntrack", int(100 * ENOUGH) + 1, 100, moment(60)) == [], "not yet well"
    assert told(alerts.pressure("conntrack", 80, 100, moment(90))) == [("clear", "conntrack")]
    assert alerts.pressure("conntrack", 95, 100, moment(120)) == [], "one look again"
    assert alerts.pressure("bans", 0, 0, moment(0)) == []


# -- the engine


def test_the_engine_raises_what_the_policy_names() -> None:
    engine = Engine(Settings({"burst": Threshold(5, 600.0)}, alerts=frozenset({Topic.NEW_NETWORK})))
    engine.history = lambda _login: History(failures=99, network_before=False)
    found = engine.logged_in("anna", parse_address(A), 1, Instant(BEGIN, 0.0))
    assert [c.topic for c in found if isinstance(c, Raise)] == [Topic.NEW_NETWORK]
    engine.change(Settings({"burst": Threshold(5, 600.0)}))
    assert not any(isinstance(c, Raise) for c in engine.logged_in("anna", parse_address(A), 1, Instant(BEGIN, 0.0)))
