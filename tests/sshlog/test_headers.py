"""Every form that Linux hosts write is read, by its beginning alone; what cannot be read is counted and named."""

from __future__ import annotations

import datetime
import time

import pytest

from quietgate.sshlog.headers import Header, header
from quietgate.sshlog.lines import Event, Reader, Stamps
from quietgate.sshlog.unread import Unread, Why

SAID = "Failed password for root from 203.0.113.9 port 40000 ssh2"
NOW = datetime.datetime.fromisoformat("2026-11-24T18:00:00").timestamp()
LOCAL = datetime.datetime.fromisoformat("2026-11-24T17:00:05").timestamp()
UTC = datetime.datetime.fromisoformat("2026-11-24T17:00:05+00:00").timestamp()
BEHIND_UTC = datetime.datetime.fromisoformat("2026-11-24T17:00:05+01:00").timestamp()


def read(line: str, **how: object) -> list[Event]:
    return Reader(Stamps(NOW), **how).read(f"{line}\n")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "at", "host", "pid"),
    [
        ("Nov 24 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate authpriv.info sshd[7]: {}", LOCAL, "gate", 7),  # busybox
        ("Nov 24 17:00:05 authpriv.info sshd[7]: {}", LOCAL, "", 7),
        ("Nov 24 17:00:05 sshd[7]: {}", LOCAL, "", 7),  # busybox -S
        ("Nov 24 17:00:05  sshd[7]: {}", LOCAL, "", 7),
        ("Nov 24 17:00:05 <auth.info> gate sshd[7]: {}", LOCAL, "gate", 7),  # FreeBSD -vv
        ("Nov 24 17:00:05.250 gate sshd[7]: {}", LOCAL + 0.25, "gate", 7),  # syslog-ng, short-precise
        ("2026 Nov 24 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 2026 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("Tue Nov 24 17:00:05 2026 authpriv.info sshd[7]: {}", LOCAL, "", 7),  # logread
        ("2026-11-24 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("2026-11-24 17:00:05,123 gate sshd[7]: {}", LOCAL + 0.123, "gate", 7),
        ("2026-11-24T17:00:05+0100 gate sshd[7]: {}", BEHIND_UTC, "gate", 7),
        ("2026-11-24T17:00:05.123456789+01:00 gate sshd[7]: {}", BEHIND_UTC + 0.123456, "gate", 7),
        ("2026-11-24T17:00:05+01 gate sshd[7]: {}", BEHIND_UTC, "gate", 7),
        ("2026-11-24T17:00:05.5+00:00 info gate sshd[7]: {}", UTC + 0.5, "gate", 7),
        ("Tue 2026-11-24 17:00:05 UTC gate sshd[7]: {}", UTC, "gate", 7),  # short-full
        ("1795539605.000000 gate sshd[7]: {}", UTC, "gate", 7),  # short-unix
        ("authpriv.info: Nov 24 17:00:05 sshd[7]: {}", LOCAL, "", 7),  # socklog
        ("2026-11-24T17:00:05.15485 authpriv.info: Nov 24 17:00:05 sshd[7]: {}", LOCAL + 0.15485, "", 7),
        ("2026-11-24_17:00:05.15485 authpriv.info: Nov 24 17:00:05 sshd[7]: {}", LOCAL + 0.15485, "", 7),
        ("Nov 24 17:00:05 gate sshd: {}", LOCAL, "gate", 0),
        ("Nov 24 17:00:05 [sshd] {}", LOCAL, "", 0),  # metalog
        ("Nov 24 17:00:05 gate sshd-2222[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate sshd@3-192.0.2.1:22-203.0.113.5:51[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate /usr/sbin/sshd[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 192.0.2.9 gate sshd[7]: {}", LOCAL, "gate", 7),  # a relay
        ("Nov 24 17:00:05 relay Nov 24 16:59:00 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate sshd[7]: [ID 800047 auth.info] {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate sshd[7]:  {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate sshd[7]:\t{}", LOCAL, "gate", 7),
        ("\ufeffNov 24 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("\0\0\0Nov 24 17:00:05 gate sshd[7]: {}", LOCAL, "gate", 7),
        ("Nov 24 17:00:05 gate sshd[7]: {}\r", LOCAL, "gate", 7),
        ("<86>1 2026-11-24T17:00:05Z gate sshd 7 - -  {}", UTC, "gate", 7),  # Protocol23
        ("<86>1 2026-11-24T17:00:05Z gate sshd - - - {}", UTC, "gate", 0),
        ('<86>1 2026-11-24T17:00:05Z gate sshd 7 - [a b="c"][d e="f \\"g\\" \\] h"] {}', UTC, "gate", 7),
        ("118 <86>1 2026-11-24T17:00:05Z gate sshd-session 7 - - {}", UTC, "gate", 7),
    ],
)  # fmt: skip
def test_a_form_is_read(line: str, at: float, host: str, pid: int) -> None:
    (event,) = read(line.format(SAID))
    assert (round(event.at, 3), event.host, event.pid, event.message) == (round(at, 3), host, pid, SAID)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 24 17:00:05 gate shop: auth.info sshd[7]: {}",
        "Nov 24 17:00:05 shop[3]: sshd[7]: {}",
        "Nov 24 17:00:05 gate shop[3]: Nov 24 17:00:05 gate sshd[7]: {}",
        "authpriv.info: Nov 24 17:00:05 shop: sshd[7]: {}",
        "Dez 24 17:00:05 gate shop[1]: sshd[7]: {}",
        "2026-11-24T17:00:05.093779123Z stderr F {}",
        "  Nov 24 17:00:05 gate sshd[7]: {}",
        '<86>1 2026-11-24T17:00:05Z gate shop 7 - [a b="c sshd 7 - - "] {}',
        "<86>1 2026-11-24T17:00:05Z gate shop 7 - - sshd 7 - - {}",
        "Nov 24 17:00:05 gate sshd-evil[7]: {}",
        "Nov 24 17:00:05 gate notsshd[7]: {}",
        "Nov 24 17:00:05 gate [shop] sshd[7]: {}",
        '{{"log":"{}\\n","stream":"stderr","time":"2026-11-24T17:00:05Z"}}',
        "Nov 24 17:00:05 gate sudo: root : COMMAND=/usr/sbin/sshd[7]: {}",
    ],
)
def test_another_programs_text_is_never_sshds(line: str) -> None:
    assert read(line.format(SAID)) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("gate sshd[7]: {}", Why.HEADER), ("17:00:05 gate sshd[7]: {}", Why.HEADER), ("sie 24 17:00:05 gate sshd[7]: {}", Why.MONTH),
        ("Nov 31 17:00:05 gate sshd[7]: {}", Why.DATE), ("Nov 24 17:00:05 gate: sshd[7]: {}", Why.BEHIND), ("{}", Why.NAMELESS),
        ("2026-11-24_17:00:05.1 {}", Why.NAMELESS), ("2026-11-24T17:00:05.1Z stderr F {}", Why.NAMELESS),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_counted_by_kind_with_an_example(line: str, why: Why) -> None:
    reader = Reader(Stamps(NOW))
    assert reader.read(line.format(SAID) + "\n") == []
    assert reader.unread.counts == {why: 1}
    assert SAID in reader.unread.examples[why]


def test_other_programs_are_passed_over_without_a_word() -> None:
    reader = Reader(Stamps(NOW))
    lines = ["Nov 24 17:00:05 gate cron[1]: sshd is well", "Nov 24 17:00:05 gate systemd[1]: Started ssh.service - OpenBSD Secure Shell server.",
             "Nov 24 17:00:05 gate sudo: anna : COMMAND=/usr/sbin/sshd -t", "", "garbage", "Nov 24 17:00:05 gate sshd[7]: Server listening on :: port 22."]  # fmt: skip
    assert reader.read("\n".join(lines) + "\n") == []
    assert reader.unread == Unread()
    reader.read("Nov 24 17:00:05 gate sshd[7]: something that no version says\n")
    assert reader.unread.counts == {Why.MESSAGE: 1}
    assert reader.unread.forms == 0


@pytest.mark.parametrize("word", ["syslogd: ", "", "syslogd[3]: "])
def test_what_syslogd_sums_up_stands_for_more(word: str) -> None:
    reader = Reader(Stamps(NOW))
    block = f"Nov 24 17:00:05 gate sshd[7]: {SAID}\nNov 24 17:00:09 gate {word}last message repeated 4 times\n"
    assert [e.said.times for e in reader.read(block)] == [1, 4]
    assert [e.said.times for e in reader.read(f"Nov 24 17:00:05 gate sshd[7]: {SAID}\n")] == [1]
    assert [e.said.times for e in reader.read("Nov 24 17:00:09 gate last message repeated 2 times\n")] == [2], "over the end of a block"
    assert reader.read("Nov 24 17:00:05 gate cron[1]: x\nNov 24 17:00:09 gate last message repeated 4 times\n") == [], "it was another's"
    forged = f"Nov 24 17:00:05 gate sshd[7]: {SAID}\nNov 24 17:00:09 gate shop: last message repeated 4 times\n"
    assert [e.said.times for e in reader.read(forged)] == [1]


@pytest.mark.parametrize(
    "line", ["{}", "2026-11-24 17:00:05.1  {}", "2026-11-24_17:00:05.1 {}", "@400000006b6f0f5f1dcd6500 {}", "2026-11-24T17:00:05.1Z stderr F {}",
             '{{"log":"{}\\r\\n","stream":"stderr","time":"2026-11-24T17:00:05.1Z"}}', "Nov 24 17:00:05 box sshd[7]: {}"],
)  # fmt: skip
def test_a_declared_source_needs_no_name(line: str) -> None:
    (event,) = read(line.format(SAID), program="sshd", undated=NOW)
    assert event.message == SAID


def test_a_line_without_a_time_counts_only_where_somebody_can_tell_when_it_came() -> None:
    old = Reader(Stamps(NOW), "sshd")
    assert old.read(f"{SAID}\n") == []
    assert old.unread.counts == {}, "it was written some time ago"
    monotonic = f"[ 1234.567890] gate sshd[7]: {SAID}\n"
    reader = Reader(Stamps(NOW))
    assert reader.read(monotonic) == []
    assert reader.unread.counts == {Why.DATE: 1}
    assert [e.at for e in Reader(Stamps(NOW), undated=NOW).read(monotonic)] == [NOW]


@pytest.mark.parametrize("month", ["Dez", "Okt", "sie", "M\u00e4r"])
def test_a_log_in_another_language_is_not_one_that_was_read(month: str) -> None:
    reader = Reader(Stamps(NOW))
    reader.read(f"{month} 24 17:00:05 gate sshd[7]: {SAID}\n{month} 24 17:00:05 gate sshd[7]: Server listening on :: port 22.\n")
    assert (reader.lines, reader.unread.counts) == (0, {Why.MONTH: 2})


def test_tinysshds_lines_are_a_servers_and_tell_of_nothing() -> None:
    reader = Reader(Stamps(NOW))
    assert reader.read("Nov 24 17:00:05 gate tinysshd[7]: tinysshd: authentication failed\n") == []
    assert reader.unread.counts == {}


@pytest.mark.parametrize("line", ["PAM: " + " for" * 16_000, "Nov 24 17:00:05 " + "a " * 30_000, "1 x y sshd 1 - [a" + ' b="c"' * 10_000, "sshd " * 13_000,
                                  "Nov 24 17:00:05 gate /" + "a/" * 30_000, "<1>" * 20_000, "[" * 60_000, "Mon " * 15_000])  # fmt: skip
def test_no_line_takes_long_however_it_is_made(line: str) -> None:
    begin = time.process_time()
    list(Reader(Stamps(NOW)).read_numbered(f"{line}\n"))
    list(Reader(Stamps(NOW), "sshd").read_numbered(f"{line}\n"))
    assert time.process_time() - begin < 1.0, "a few milliseconds; a pattern that goes back and forth takes minutes"


def test_tai64n_is_read_as_multilog_writes_it() -> None:
    # tai64nlocal(8): @400000006a... = 2^62 + seconds + 10
    seconds = 1795539605
    stamp = f"@{(1 << 62) + seconds + 10:016x}{500_000_000:08x}"
    assert Stamps(NOW).read(stamp) == seconds + 0.5


def test_the_journals_own_forms_are_for_people() -> None:
    json_line = ('{"__REALTIME_TIMESTAMP":"1795539605000000","_HOSTNAME":"gate","SYSLOG_IDENTIFIER":"sshd","_COMM":"sshd","_UID":"0","_PID":"7",'
                 f'"_TRANSPORT":"syslog","MESSAGE":"{SAID}"}}')  # fmt: skip
    assert read(json_line) == [], "in a file anybody may have written that"
    (event,) = Reader(Stamps(NOW), journals=True).read_numbered(f"{json_line}\n")
    assert (event.at, event.host, event.pid) == (UTC, "gate", 7)
    export = "\n".join(
        [
            "__CURSOR=x",
            "__REALTIME_TIMESTAMP=1795539605000000",
            "_UID=0",
            "_COMM=sshd",
            "_PID=7",
            "_HOSTNAME=gate",
            f"MESSAGE={SAID}",
            "",
            "",
        ]
    )
    assert [e.pid for e in Reader(Stamps(NOW), journals=True).read_numbered(export)] == [7]
    other = json_line.replace('"_UID":"0"', '"_UID":"1000"')
    assert list(Reader(Stamps(NOW), journals=True).read_numbered(f"{other}\n")) == []


def test_a_header_says_whose_line_it_is() -> None:
    assert header("Nov 24 17:00:05 gate dropbear[9]: x") == Header("Nov 24 17:00:05", "gate", "dropbear", 9, "x")
    assert header("Nov 24 17:00:05 gate cron[9]: x") is None


def test_what_metalog_writes_of_another_program_is_that_programs() -> None:
    assert read(f"Nov 24 17:00:05 [shop] sshd-session[7]: {SAID}") == []
    assert read(f"2026-11-24T17:00:05Z [shop] sshd[7]: {SAID}") == []


def test_a_form_that_begins_in_the_middle_of_a_block_is_read() -> None:
    """RFC 5424 without a priority, after another program's text."""
    lines = f'{{"not": "a log"}}\n1 2026-11-24T17:00:05Z gate sshd 7 ID47 [origin ip="192.0.2.1"] {SAID}\n'
    assert [e.pid for e in Reader(Stamps(NOW)).read(lines)] == [7]
