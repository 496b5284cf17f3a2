"""Each detector at its threshold and at its window's edge; times are written, never waited for."""

from __future__ import annotations

import pytest

from quietgate.guard.connections import Outcome
from quietgate.guard.detect import Detectors, Finding, Threshold
from quietgate.net import parse_address
from tests.guard.script import A, B, attempt, seconds

ALL = {"burst": Threshold(5, 600), "slow": Threshold(10, 86400), "names": Threshold(4, 3600), "root": Threshold(3, 600), "noise": Threshold(30, 600),
       "penalty": Threshold(2, 600)}  # fmt: skip


def only(*names: str, **more: object) -> Detectors:
    return Detectors({n: ALL[n] for n in names}, **more)  # type: ignore[arg-type]


def saw(d: Detectors, when: str, user: str = "alice", address: str = A, *, known: bool = False, outcome: Outcome = Outcome.FAILED, invalid: bool = False,
        times: int = 1) -> str | None:  # fmt: skip
    found = d.saw(attempt(address, user, when, outcome, invalid=invalid, times=times), parse_address(address), seconds(when), known=known)
    return found.detector if isinstance(found, Finding) else None


@pytest.mark.parametrize(("name", "outcome", "step"), [("burst", Outcome.FAILED, 1), ("slow", Outcome.FAILED, 2), ("noise", Outcome.NOISE, 1),
                                                       ("penalty", Outcome.PENALTY, 1)])  # fmt: skip
def test_one_less_is_nothing_and_the_last_is_a_finding(name: str, outcome: Outcome, step: int) -> None:
    d = only(name)
    found = [saw(d, f"{n * step}s", outcome=outcome) for n in range(ALL[name].count)]
    assert found == [None] * (ALL[name].count - 1) + [name]


@pytest.mark.parametrize("name", ["burst", "slow"])
def test_the_edge_of_the_window_counts_and_a_second_later_does_not(name: str) -> None:
    count, window = ALL[name].count, int(ALL[name].window)
    for late, wanted in ((0, name), (1, None)):
        d = only(name)
        for n in range(count - 1):
            saw(d, f"{n}s")
        assert saw(d, f"{window + late}s") == wanted


def test_guesses_that_stand_in_one_line_count_each() -> None:
    d = only("burst")
    assert saw(d, "0s", times=4) is None
    assert saw(d, "1s") == "burst"


def test_four_unknown_names_and_the_same_one_counts_once() -> None:
    d = only("names")
    assert [saw(d, f"{n}s", "same", invalid=True) for n in range(9)] == [None] * 9
    assert [saw(d, f"{10 + n}s", u, invalid=True) for n, u in enumerate(("a", "b", "c"))] == [None, None, "names"]
    assert [saw(only("names"), f"{n}s", f"u{n}") for n in range(9)] == [None] * 9, "users that exist are no list of names"


def test_root_where_sshd_refuses_root() -> None:
    d = only("root")
    assert [saw(d, f"{n}s", "root") for n in range(3)] == [None, None, "root"]
    d = only("root", root_refused=False)
    assert [saw(d, f"{n}s", "root") for n in range(9)] == [None] * 9


def test_a_known_source_has_patience_and_slow_does_not_watch_it() -> None:
    d = only("burst", "slow")
    assert [saw(d, f"{n}s", known=True) for n in range(24)] == [None] * 24
    assert saw(d, "24s", known=True) == "burst"
    d = only("slow")
    assert [saw(d, f"{n}m", known=True) for n in range(40)] == [None] * 40


def test_a_login_forgives_the_failures_of_the_same_name_only() -> None:
    d = only("burst")
    for n in range(4):
        saw(d, f"{n}s", "root")
    saw(d, "4s", "mallory", outcome=Outcome.SUCCEEDED)
    assert saw(d, "5s", "root") == "burst"
    d = only("burst")
    for n in range(4):
        saw(d, f"{n}s", "alice")
    saw(d, "4s", "alice", outcome=Outcome.SUCCEEDED)
    assert [saw(d, f"{5 + n}s", "alice") for n in range(5)] == [None] * 4 + ["burst"]


def test_sources_are_counted_apart() -> None:
    d = only("burst")
    for n in range(4):
        saw(d, f"{n}s", address=A)
    assert saw(d, "5s", address=B) is None
    assert saw(d, "6s", address=A) == "burst"


def test_a_moment_before_the_last_one_makes_no_finding_out_of_nothing() -> None:
    """Monotonic time does not go back, but what is read late may: then it counts as now."""
    d = only("burst")
    for when in ("1h", "1h", "1h", "1h"):
        saw(d, when)
    assert saw(d, "0s") == "burst"


def test_the_bound_is_kept_and_counted_and_who_was_heard_of_last_stays() -> None:
    d = only("burst", most=3)
    for n in range(5):
        saw(d, f"{n}s", address=f"203.0.113.{n}")
    assert len(d) == 3
    assert d.forgotten == 2
    for n in range(4):
        saw(d, f"{10 + n}s", address="203.0.113.4")
    assert d.forgotten == 2


def test_what_has_left_every_window_is_dropped() -> None:
    d = only("burst", "slow", "names")
    saw(d, "0s", "a", invalid=True)
    d.forget_before(seconds("2h"))
    assert len(d) == 1, "the day of `slow` is not over"
    d.forget_before(seconds("25h"))
    assert len(d) == 0


def test_a_threshold_of_nothing_cannot_be_made() -> None:
    for count, window in ((0, 1.0), (1, 0.0), (-1, 5.0)):
        with pytest.raises(ValueError, match="must be positive"):
            Threshold(count, window)
