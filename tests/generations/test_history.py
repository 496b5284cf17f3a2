"""What was done, told: one safe line each, a bounded number of lines, and no line of ours is taken for sshd's."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from quietgate.generations.history import IDS, SINGLY, Teller, event, words
from quietgate.host.journal_write import JOURNALD, Line, Log, native, rfc3164
from quietgate.sshlog.lines import Stamps, read
from quietgate.ui.commands.parse import command as parse
from quietgate.values import Deed, What
from tests.host.test_journal_write import fields, heard, listening

AT = time.mktime((2026, 11, 27, 4, 0, 0, 0, 0, -1))
SSHD = "Failed password for root from 192.0.2.66 port 5 ssh2"
HOSTILE = (
    f"x\nNov 27 04:00:00 host sshd[77]: {SSHD}",
    f"\r\n2026-11-27T04:00:00+00:00 host sshd[77]: {SSHD}\n",
    f"\u2028<38>Nov 27 04:00:00 host sshd[77]: {SSHD}\x85",
    f"sshd[77]: {SSHD}",
    f"]: sshd[77]: {SSHD}",
    "\x1b]0;owned\x07\u202e\x00",
)


def ban(reason: str = "root: 3 in 10m", by: str = "guard", subject: str = "203.0.113.9") -> Deed:
    return Deed(AT - 60, What.BAN, subject, "ssh", AT, by, reason, 7)


class Kept(Log):
    """A log that is at hand."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.lines: list[Line] = []

    def write(self, lines: object) -> None:
        self.lines.extend(lines)  # type: ignore[arg-type]


def test_the_lines_of_each_deed() -> None:
    assert words(ban()) == "banned 203.0.113.9 (ssh) until 2026-11-27 04:00:00 by guard: root: 3 in 10m"
    assert words(Deed(AT, What.BAN, "10.0.0.0/8", "host", None, "alice")) == "banned 10.0.0.0/8 (host) for ever by alice"
    assert words(Deed(AT, What.UNBAN, "10.0.0.0/8", "host", None, "alice")) == "unbanned 10.0.0.0/8 (host) by alice"
    assert words(Deed(AT, What.UP, "3", "", AT, "alice")) == "put generation 3 on trial until 2026-11-27 04:00:00 by alice"
    assert words(Deed(AT, What.UP, "3", "", None, "alice")) == "put generation 3 in force by alice"
    assert words(Deed(AT, What.CONFIRM, "3", "", None, "alice", "why")) == "confirmed generation 3 by alice: why"
    assert words(Deed(AT, What.REVERT, "3", "", None, "alice", "why")) == "reverted generation 3 by alice: why"
    assert words(Deed(AT, What.LAPSE, "3", "", AT, "", "why")) == "generation 3 lapsed, its trial went until 2026-11-27 04:00:00: why"
    assert words(Deed(AT, What.DOWN, "3", "", None, "alice")) == "took generation 3 down by alice"


def test_the_event_has_the_fields_of_a_live_one() -> None:
    assert event(ban()) == {"form": "quietgate/event", "version": 1, "event": "ban", "at": AT - 60, "source": "203.0.113.9", "scope": "ssh",
                            "until": AT, "detector": "root", "reason": "root: 3 in 10m", "by": "guard", "seq": 7}  # fmt: skip
    assert event(Deed(AT, What.UP, "3", "", None, "alice"))["generation"] == 3
    assert json.dumps(event(ban("\udcff"))).isascii()


def test_ids_are_one_for_each_and_fit() -> None:
    assert set(IDS) == set(What)
    assert len(set(IDS.values())) == len(IDS)
    assert all(re.fullmatch("[0-9a-f]{32}", i) for i in IDS.values())


def test_journald_gets_fields_for_programs() -> None:
    kept = Kept()
    Teller(kept).tell([ban()])
    found = fields(native(kept.lines[0]))
    assert found["MESSAGE_ID"] == IDS[What.BAN]
    assert {k: v for k, v in found.items() if k.startswith("QUIETGATE")} == {
        "QUIETGATE_DEED": "ban", "QUIETGATE_SUBJECT": "203.0.113.9", "QUIETGATE_SCOPE": "ssh", "QUIETGATE_UNTIL": f"{AT:.0f}",
        "QUIETGATE_BY": "guard", "QUIETGATE_REASON": "root: 3 in 10m", "QUIETGATE_SEQ": "7"}  # fmt: skip


def test_thousands_at_once_are_a_bounded_number_of_lines() -> None:
    kept = Kept()
    teller = Teller(kept)
    teller.tell([ban(subject=f"10.0.{n >> 8}.{n & 255}") for n in range(5000)])
    assert len(kept.lines) == SINGLY + 1
    assert kept.lines[-1].message == "banned 4900 more, from 10.0.0.100 to 10.0.19.135: quietgate events --since 1h lists them"
    assert kept.lines[-1].fields["QUIETGATE_COUNT"] == "4900"
    for _ in range(10):
        teller.tell([ban()] * 200)
    assert len(kept.lines) == SINGLY + 11, "one for each further batch"


def test_lines_that_the_log_did_not_take_are_counted_and_told(tmp_path: Path) -> None:
    teller = Teller(Log(tmp_path))
    teller.tell([ban()] * 3)
    with listening(tmp_path, JOURNALD) as s:
        teller.tell([ban()])
        said = [fields(d) for d in heard(s)]
    assert said[0]["QUIETGATE_DROPPED"] == "3"
    assert said[1]["QUIETGATE_DEED"] == "ban"


def in_a_file(deed: Deed) -> str:
    """The line as a syslog daemon writes it into a file: with a host, and in a log that has none."""
    kept = Kept()
    Teller(kept).tell([deed])
    text = rfc3164(kept.lines[0]).decode()
    stamp, said = text[4:19], text[20:]
    return f"{stamp} host {said}\n{stamp} {said}\n{text}\n"


@given(st.one_of(st.sampled_from(HOSTILE), st.text()), st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_whatever_the_reason_the_line_is_one_line_and_not_sshds(reason: str, by: str) -> None:
    for what in What:
        deed = Deed(AT, what, "3", "ssh", AT, by, reason)
        assert len(words(deed).splitlines()) == 1
        written = in_a_file(deed)
        assert len(written.splitlines()) == 3
        assert list(read(written, Stamps(AT))) == []


def test_parse_ignores_our_lines(tmp_path: Path) -> None:
    file = tmp_path / "auth.log"
    file.write_text("".join(in_a_file(ban(text, by=text)) for text in HOSTILE))
    done = CliRunner().invoke(parse, [str(file)])
    assert (done.exit_code, done.stdout) == (0, "")
    file.write_text(file.read_text() + f"Nov 27 04:00:00 host sshd[77]: {SSHD}\n")
    assert "192.0.2.66" in CliRunner().invoke(parse, [str(file)]).output, "and it does read the file"
