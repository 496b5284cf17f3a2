"""When messages go out, as scripts: what happens at which moment, and what a person hears."""

from __future__ import annotations

from itertools import pairwise

from quietgate.clock import Instant
from quietgate.guard.alerts import Clear, Raise, Topic
from quietgate.guard.pacing import DAY, MOST, SHOWN, Manners, Message, Quiet

NOON = 12 * 60


def at(seconds: float) -> Instant:
    return Instant(1_790_000_000.0 + seconds, 1000.0 + seconds)


class Script:
    def __init__(self, manners: Manners = Manners()) -> None:  # noqa: B008  immutable
        self.quiet = Quiet(manners)

    def happens(self, when: float, topic: Topic = Topic.STRAIN, subject: str = "conntrack", *, lasting: bool = False) -> None:
        self.quiet.take(Raise(topic, subject, at(when).wall, f"{subject} happened", (), "", "", lasting), at(when))

    def ends(self, when: float, topic: Topic = Topic.STRAIN, subject: str = "conntrack") -> None:
        self.quiet.take(Clear(topic, subject, at(when).wall, f"{subject} is well"), at(when))

    def heard(self, when: float, minute: int = NOON) -> list[tuple[str, int, str]] | None:
        """Subject, count and end of each thing in the message of this moment; None if there is none."""
        found = self.quiet.due(at(when), minute)
        return None if found is None else [(t.raised.subject, t.count, t.over) for t in found.things]

    def until(self, begin: float, end: float, every: float = 10.0) -> list[tuple[float, Message]]:
        found = []
        when = begin
        while when <= end:
            message = self.quiet.due(at(when), NOON)
            if message is not None:
                found.append((when, message))
            when += every
        return found


def test_the_first_thing_is_told_at_once_and_once() -> None:
    s = Script()
    s.happens(0)
    assert s.heard(0) == [("conntrack", 1, "")]
    assert s.heard(0) is None
    assert s.quiet.wake(at(0), NOON) is None, "nothing waits"


def test_repeats_are_counted_and_told_less_and_less_often_down_to_once_a_day() -> None:
    s = Script(Manners(at_most=None))
    times = []
    when = 0.0
    while when < 5 * DAY:
        s.happens(when)
        if (message := s.quiet.due(at(when), NOON)) is not None:
            times.append(when)
            assert message.things[0].count == int(when // 60) + 1
        when += 60
    assert times[:5] == [0, 300, 900, 2100, 4500]
    assert max(b - a for a, b in pairwise(times)) <= DAY + 60
    assert len(times) < 15


def test_what_comes_within_group_for_of_a_message_goes_out_together() -> None:
    s = Script()
    s.happens(0)
    assert s.heard(0)
    s.happens(10, subject="MaxStartups")
    s.happens(20, Topic.REVERTED, "generation 3")
    assert s.heard(299) is None
    assert s.quiet.wake(at(20), NOON) == 280.0
    assert s.heard(300) == [("MaxStartups", 1, ""), ("generation 3", 1, "")]


def test_a_break_in_waits_for_break_ins_only() -> None:
    s = Script(Manners(at_most=(1, 3600.0)))
    s.happens(0)
    assert s.heard(0)
    s.happens(1, Topic.BREAK_IN, "203.0.113.9")
    assert s.heard(1) == [("203.0.113.9", 1, "")]
    s.happens(2, Topic.BREAK_IN, "203.0.113.10")
    assert s.heard(2) is None
    assert s.heard(301) == [("203.0.113.10", 1, "")], "at_most holds no break-in back"


def test_at_most_holds_the_rest_back_and_loses_nothing() -> None:
    s = Script()
    for n in range(5):
        s.happens(n * 400.0, subject=str(n))
        assert (s.heard(n * 400.0) is not None) is (n < 3)
    assert s.heard(3599) is None
    assert s.quiet.wake(at(1600), NOON) == 2000.0
    assert s.heard(3600) == [("3", 1, ""), ("4", 1, "")]


def test_ten_thousand_things_in_a_minute_are_two_messages_and_all_are_counted() -> None:
    s = Script()
    topics = list(Topic)
    messages = []
    for n in range(10_000):
        s.happens(n * 0.006, topics[n % len(topics)], f"{n}")
        if n % 50 == 0 and (m := s.quiet.due(at(n * 0.006), NOON)) is not None:
            messages.append(m)
    messages += [m for _, m in s.until(60.0, 4000.0)]
    assert sum(1 for m in messages if m.at <= at(60).wall) <= 3
    assert sum(len(m.things) + m.more for m in messages) == 10_000
    assert all(len(m.things) <= SHOWN for m in messages)
    assert messages[1].things[0].raised.topic in (Topic.BREAK_IN, Topic.BLIND), "the worst first"


def test_what_lasted_is_said_to_be_over_once() -> None:
    s = Script()
    s.happens(0, lasting=True)
    assert s.heard(0)
    s.ends(100)
    assert s.heard(100) is None, "grouped"
    assert s.heard(300) == [("conntrack", 1, "conntrack is well")]
    s.ends(400)
    assert s.until(400, 4000) == []


def test_what_was_over_before_anybody_was_told_is_told_to_nobody() -> None:
    s = Script()
    s.happens(0, subject="other")
    assert s.heard(0)
    s.happens(10, lasting=True)
    s.ends(20)
    assert s.until(20, 4000) == []


def test_what_comes_and_goes_is_told_less_and_less_often() -> None:
    s = Script(Manners(at_most=None))
    count = 0
    for n in range(144):
        s.happens(n * 600.0, lasting=True)
        count += len(s.until(n * 600.0, n * 600.0 + 290))
        s.ends(n * 600.0 + 300)
        count += len(s.until(n * 600.0 + 300, n * 600.0 + 590))
    assert count < 25, "of 288 changes in a day"


def test_quiet_hours_hold_back_what_is_no_page() -> None:
    s = Script(Manners(hours=(22 * 60, 7 * 60)))
    s.happens(0)
    assert s.heard(0, 23 * 60) is None
    assert s.heard(0, 6 * 60 + 59) is None
    assert s.quiet.wake(at(0), 6 * 60) == 3601.0
    s.happens(1, Topic.BLIND, "journal")
    assert s.heard(1, 23 * 60) == [("journal", 1, "")]
    assert s.heard(1000, 7 * 60) == [("conntrack", 1, "")]


def test_kinds_for_the_digest_are_recorded_and_told_to_nobody() -> None:
    s = Script(Manners(kept=frozenset({Topic.STRAIN})))
    s.happens(0)
    assert s.heard(0) is None
    assert s.quiet.wake(at(0), NOON) is None
    assert len(s.quiet.things) == 1


def test_what_a_person_has_seen_is_not_told_again_until_it_begins_anew() -> None:
    s = Script()
    s.happens(0, lasting=True)
    assert s.heard(0)
    s.quiet.acknowledge((Topic.STRAIN, "conntrack"))
    s.happens(400, lasting=True)
    assert s.heard(400) is None
    s.ends(500)
    assert s.heard(500) is None
    s.happens(1000, lasting=True)
    assert s.heard(1000)


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    s = Script()
    s.happens(0)
    assert s.heard(0)
    s.happens(10)
    again = Script()
    again.quiet.restore(s.quiet.snapshot(at(20)), s.quiet.things.values(), at(20))
    assert again.heard(20) is None
    assert again.heard(300) == [("conntrack", 2, "")]
    for nonsense in ("{}", "x", "", None):
        Quiet().restore(nonsense, [], at(0))


def test_memory_is_bounded_and_what_is_over_is_forgotten() -> None:
    s = Script()
    for n in range(MOST + 5):
        s.happens(0, subject=str(n))
    assert len(s.quiet.things) == MOST
    s = Script()
    s.happens(0)
    s.happens(0, subject="lasts", lasting=True)
    assert s.heard(0)
    s.quiet.forget(at(DAY + 1))
    assert [k[1] for k in s.quiet.things] == ["lasts"]
