"""Each detector at its edges: one too few, just enough, a moment too late."""

from __future__ import annotations

from typing import Any

import pytest

from quietgate.guard.detect import NAMES, Detectors, Threshold
from quietgate.net import Counting
from quietgate.sshlog.connection import Attempt, Outcome
from tests.guard.script import A, B, attempt

USUAL = {
    "burst": Threshold(5, 600), "slow": Threshold(10, 86400), "names": Threshold(4, 3600), "root": Threshold(3, 600), "noise": Threshold(30, 600),
    "penalty": Threshold(2, 600),
}  # fmt: skip


def only(name: str, **changed: object) -> Detectors:
    return Detectors({name: USUAL[name]}, **changed)  # type: ignore[arg-type]


def saw(detectors: Detectors, *attempts: Attempt, known: bool = False) -> list[str | None]:
    """The detector that found something, after each attempt. Moments are those of the attempts."""
    found = [detectors.saw(a, Counting().source_of(a.address), a.at, known=known) for a in attempts]
    return [f.detector if f is not None else None for f in found]


def series(count: int, step: float, name: str = "root", address: str = A, **how: Any) -> list[Attempt]:
    return [attempt(address, name, "0s", **how)._replace(at=1000 + n * step) for n in range(count)]


@pytest.mark.parametrize(
    ("name", "count", "window", "how"),
    [("burst", 5, 600, {}), ("slow", 10, 86400, {}), ("root", 3, 600, {}), ("noise", 30, 600, {"outcome": Outcome.NOISE}),
     ("penalty", 2, 600, {"outcome": Outcome.PENALTY})],
)  # fmt: skip
def test_the_last_at_the_windows_edge_counts_and_a_moment_later_does_not(name: str, count: int, window: float, how: Any) -> None:
    step = window / (count - 1)
    assert saw(only(name), *series(count, step, **how)) == [None] * (count - 1) + [name], "exactly at the edge"
    late = series(count, step, **how)
    late[-1] = late[-1]._replace(at=late[-1].at + 0.001)
    assert saw(only(name), *late) == [None] * count
    assert saw(only(name), *series(count - 1, 0.0, **how)) == [None] * (count - 1), "one too few"


def test_the_same_names_again_are_one_and_four_different_ones_a_list() -> None:
    same = series(9, 1, "admin", invalid=True)
    assert saw(only("names"), *same) == [None] * 9
    names = [a._replace(user=f"user{n}") for n, a in enumerate(series(4, 1200, invalid=True))]
    assert saw(only("names"), *names) == [None, None, None, "names"], "the window's edge is 3600"
    names[3] = names[3]._replace(at=names[3].at + 1)
    assert saw(only("names"), *names) == [None] * 4
    assert saw(only("names"), *(a._replace(invalid=False) for a in names)) == [None] * 4, "names that exist here"


def test_root_counts_only_where_sshd_refuses_root() -> None:
    assert saw(only("root", root_refused=False), *series(5, 1)) == [None] * 5
    refused = series(3, 1, method="root-refused")
    assert saw(only("root", root_refused=False), *refused) == [None, None, "root"]
    assert saw(only("root"), *series(5, 1, "admin")) == [None] * 5


def test_lines_that_stand_for_many_count_as_many() -> None:
    assert saw(only("burst"), *series(2, 1, times=2), *series(1, 1, times=1)) == [None, None, "burst"]
    assert saw(only("burst"), *series(1, 1, times=1000)) == ["burst"]


def test_sources_are_counted_apart_and_a_64_together() -> None:
    mixed = [a for pair in zip(series(4, 1), series(4, 1, address=B), strict=True) for a in pair]
    assert saw(only("burst"), *mixed) == [None] * 8
    wide = [a._replace(address=attempt(f"2001:db8:7::{n + 1:x}", "x", "0s").address) for n, a in enumerate(series(5, 1))]
    assert saw(only("burst"), *wide)[-1] == "burst"
    four, six = attempt("0.0.0.5", "x", "0s"), attempt("::5", "x", "0s")
    assert saw(only("burst"), *[four, six] * 4) == [None] * 8, "the same number in both versions"


def test_a_known_source_has_patience_and_slow_is_off_for_it() -> None:
    assert saw(only("burst", patience=5), *series(24, 1), known=True) == [None] * 24
    assert saw(only("burst", patience=5), *series(25, 1), known=True)[-1] == "burst"
    assert saw(only("slow"), *series(60, 1000), known=True) == [None] * 60
    assert saw(only("noise", patience=2), *series(60, 1, outcome=Outcome.NOISE), known=True).index("noise") == 59


def test_a_login_forgives_that_users_failures_only() -> None:
    detectors = only("burst")
    assert saw(detectors, *series(4, 1, "anna"), *series(4, 1, "root"))[:4] == [None] * 4
    detectors = only("burst")
    saw(detectors, *series(2, 1, "anna"), *series(2, 1, "root"), attempt(A, "anna", "5s", Outcome.SUCCEEDED))
    assert saw(detectors, *series(2, 1, "anna")) == [None, None], "two of root's and two of anna's"
    assert saw(detectors, *series(1, 1, "root")) == ["burst"]
    detectors = only("burst")
    saw(detectors, *series(4, 1, "root"), attempt(A, "mallory", "5s", Outcome.SUCCEEDED))
    assert saw(detectors, *series(1, 1, "root")) == ["burst"], "one's own account forgives nothing else"
    detectors = only("burst")
    saw(detectors, *series(4, 1, "root"), attempt(B, "root", "5s", Outcome.SUCCEEDED))
    assert saw(detectors, *series(1, 1, "root")) == ["burst"], "nor does a login from elsewhere"


def test_a_login_does_not_forgive_noise_and_penalties() -> None:
    detectors = only("penalty")
    saw(detectors, *series(1, 1, "", outcome=Outcome.PENALTY), attempt(A, "", "5s", Outcome.SUCCEEDED))
    assert saw(detectors, *series(1, 1, "", outcome=Outcome.PENALTY)) == ["penalty"]


def test_stamps_that_go_back_lose_nothing_and_gain_nothing() -> None:
    """Another source of lines may be behind: its moments are earlier than what was seen already."""
    burst = series(5, 1)
    assert saw(only("burst"), *reversed(burst))[-1] == "burst"
    jumbled = series(5, 150)
    assert saw(only("burst"), *(jumbled[n] for n in (2, 0, 4, 1, 3)))[-1] == "burst"
    assert saw(only("burst"), *series(4, 1), series(1, 1)[0]._replace(at=1000 - 3600)) == [None] * 5, "nor is now an hour ago"
    assert saw(only("burst"), series(1, 1)[0]._replace(at=1000 - 3600), *series(4, 1)) == [None] * 5, "an hour ago is not now"


def test_forgetting_at_any_time_changes_no_answer() -> None:
    for every in (0, 1):
        detectors = only("slow")
        found = []
        for a in series(10, 9600):
            found += saw(detectors, a)
            if every:
                detectors.forget_before(a.at)
        assert found[-1] == "slow"
    detectors = Detectors(USUAL)
    saw(detectors, *series(3, 1), *series(3, 1, "admin", B, invalid=True), *series(1, 1, outcome=Outcome.NOISE))
    assert len(detectors) > 3
    detectors.forget_before(1000 + 86400 * 2)
    assert len(detectors) == 0


def test_sources_are_bounded_the_longest_unheard_goes_first_and_is_counted() -> None:
    detectors = only("burst", most=100)
    for n in range(150):
        saw(detectors, *series(4, 0, address=f"203.0.{n}.1"))
    assert (len(detectors), detectors.forgotten) == (100, 50)
    assert saw(detectors, *series(1, 0, address="203.0.149.1")) == ["burst"]
    assert saw(detectors, *series(1, 0, address="203.0.0.1")) == [None], "it was forgotten"


def test_what_is_kept_of_one_source_is_bounded() -> None:
    detectors = Detectors(USUAL)
    saw(detectors, *series(5000, 700, "anna", times=1000))
    assert sum(len(x) for x in detectors._failures.values()) <= 2 * 10


def test_forget_begins_anew() -> None:
    detectors = Detectors(USUAL)
    saw(detectors, *series(4, 1, "anna"))
    detectors.forget(Counting().source_of(attempt(A, "x", "0s").address))
    assert saw(detectors, *series(4, 1, "anna")) == [None] * 4


def test_a_detector_that_is_off_finds_nothing() -> None:
    everything = [
        a for how in ({}, {"outcome": Outcome.NOISE}, {"outcome": Outcome.PENALTY}, {"invalid": True}) for a in series(50, 1, **how)
    ]
    assert saw(Detectors({}), *everything) == [None] * 200
    assert set(NAMES) == set(USUAL)


@pytest.mark.parametrize(("count", "window"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -5.0)])
def test_a_threshold_is_positive(count: int, window: float) -> None:
    with pytest.raises(ValueError, match="both must be positive"):
        Threshold(count, window)
