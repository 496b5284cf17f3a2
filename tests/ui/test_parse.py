"""`quietgate parse`: what was read, what was not and why, in its last line and its exit code."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from quietgate.errors import HostError, InputError
from quietgate.ui.commands.parse import command

SAID = "Failed password for root from 203.0.113.9 port 40000 ssh2"
GOOD, MONTH, NAMELESS = f"Nov 24 17:00:05 gate sshd[7]: {SAID}\n", f"sie 24 17:00:05 gate sshd[7]: {SAID}\n", f"{SAID}\n"


def parse(tmp_path: Path, text: str | bytes, *words: str) -> tuple[int, str, str]:
    file = tmp_path / "log"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = CliRunner().invoke(command, [*words, str(file)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [(GOOD, 0, "1 line of SSH servers, 1 event\n"), (GOOD + MONTH, 3, "not understood: 1 line: its month is in another language"),
     (MONTH, 1, "0 lines of SSH servers, 0 events; not understood"), (NAMELESS, 1, "parse --program sshd"), ("x\n", 0, "no line of an SSH server\n"),
     (gzip.compress(GOOD.encode()), 0, "1 line of SSH servers, 1 event\n"), ("", 0, "no line of an SSH server\n")],
)  # fmt: skip
def test_the_last_line_and_the_exit_code_say_what_was_not_read(tmp_path: Path, text: str | bytes, code: int, said: str) -> None:
    found, out, err = parse(tmp_path, text)
    assert found == code
    assert said in err
    assert err.count("\n") == 1
    assert "203.0.113.9" in out or "1 event" not in err


def test_json_has_its_standard_output_to_itself_and_is_silent_where_all_is_well(tmp_path: Path) -> None:
    code, out, err = parse(tmp_path, GOOD, "--json")
    assert (code, json.loads(out)["address"], err) == (0, "203.0.113.9", "")
    code, out, err = parse(tmp_path, GOOD + MONTH, "--json")
    assert (code, len(out.splitlines())) == (3, 1)
    assert "another language" in err


def test_a_declared_program(tmp_path: Path) -> None:
    container = json.dumps({"log": f"{SAID}\r\n", "stream": "stderr", "time": "2026-11-24T16:00:05Z"}) + "\n"
    for text in (NAMELESS, container, f"2026-11-24T16:00:05.1Z stderr F {SAID}\n"):
        assert parse(tmp_path, text)[0] == 1
        assert parse(tmp_path, text, "--program", "sshd")[0] == 0
    assert "invalid-user" in parse(tmp_path, "Login attempt for nonexistent user from 203.0.113.9:4\n", "--program", "dropbear")[1]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [(GOOD, 0, ["header   time Nov 24 17:00:05, host gate, program sshd, process 7", f"message  {SAID}", "event    ", "failed user 'root'"]),
     (MONTH, 3, ["header   not read: its month is in another language"]), ("Nov 24 17:00:05 gate cron[1]: x", 0, ["another program wrote it"]),
     ("Nov 24 17:00:05 gate sshd[7]: no version says this", 3, ["event    none: sshd said something that is not known here"]),
     ("Nov 24 17:00:05 gate sshd[7]: Server listening on :: port 22.", 0, ["event    none: it tells of nothing that matters here"]),
     ("Nov 24 17:00:05 gate sshd[7]: \x1b[2Jx", 3, ["message  "])],
)  # fmt: skip
def test_explain_says_what_was_read_or_where_reading_ended(line: str, code: int, said: list[str]) -> None:
    done = CliRunner().invoke(command, ["--explain", line], standalone_mode=False)
    assert int(done.return_value or 0) == code
    for words in said:
        assert words in done.stdout
    assert "\x1b" not in done.stdout


def test_what_is_missing_or_damaged_is_one_clear_mistake(tmp_path: Path) -> None:
    for words in ([str(tmp_path / "none")], [str(tmp_path)]):
        assert isinstance(CliRunner().invoke(command, words, standalone_mode=False).exception, InputError)
    with pytest.raises(HostError, match="cannot be read further"):
        parse(tmp_path, gzip.compress(GOOD.encode() * 1000)[:-9])
