"""The same line through two files, or a file and the journal, counts once; what is said twice counts twice."""

from __future__ import annotations

from quietgate.clock import Instant
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Engine, Remember, Settings
from quietgate.sshlog.lines import Trust
from tests.guard.script import A, event

FAILED = f"Failed password for root from {A} port 40000 ssh2"
PAM = f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root"


def told(*lines: tuple[str, Trust, str], sources: int = 2) -> int:
    engine = Engine(Settings({"burst": Threshold(1000, 600.0)}))
    engine.several(sources)
    found = 0
    for source, trust, message in lines:
        found += sum(c.attempt.times for c in engine.read(source, trust, event(message), Instant(0.0, 0.0)) if isinstance(c, Remember))
    return found + sum(c.attempt.times for c in engine.due(Instant(1000.0, 1000.0)) if isinstance(c, Remember))


def test_two_files_that_tell_the_same_count_once_in_whatever_order_they_are_read() -> None:
    one, other = [("auth.log", Trust.FILE, m) for m in (PAM, FAILED)], [("syslog", Trust.FILE, m) for m in (PAM, FAILED)]
    assert told(*one, *other) == 1
    assert told(one[0], other[0], other[1], one[1]) == 1
    assert told(other[0], one[0], one[1], other[1]) == 1
    assert told(*one, sources=1) == 1


def test_a_file_beside_the_journal_counts_once() -> None:
    assert told(("journal", Trust.JOURNAL, FAILED), ("auth.log", Trust.FILE, FAILED)) == 1


def test_two_guesses_in_the_same_words_are_two() -> None:
    assert told(*[("auth.log", Trust.FILE, FAILED)] * 3, *[("syslog", Trust.FILE, FAILED)] * 3) == 3
    summed = f"message repeated 2 times: [ {FAILED}]"
    assert told(("auth.log", Trust.FILE, FAILED), ("auth.log", Trust.FILE, summed), *[("syslog", Trust.FILE, FAILED)] * 3) == 3
    assert told(*[("syslog", Trust.FILE, FAILED)] * 4, ("auth.log", Trust.FILE, FAILED), ("auth.log", Trust.FILE, summed)) == 4


def test_what_one_alone_tells_counts() -> None:
    assert told(("auth.log", Trust.FILE, FAILED), ("syslog", Trust.FILE, FAILED.replace("40000", "40001"))) == 2
