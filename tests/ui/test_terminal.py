"""What people read fits their terminal, is coloured only there, and is one line a record in a pipe.

The golden texts stand in golden/. Look at what changes after `QUIETGATE_REGENERATE=1 .venv/bin/pytest tests/ui/test_terminal.py -k golden`.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quietgate.ui.cli import cli
from quietgate.ui.terminal import PLAIN, Cell, Screen, Tone, columns, words
from tests.ui.shown import A, fill, said, utc

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = ("status", "bans", "why", "report", "alerts", "doctor", "diff")
POLICY = (Path(__file__).parents[2] / "examples/minimal.toml").read_text()
STYLES = re.compile(r"\x1b\[[0-9;]*m")
ANY = st.text(max_size=80) | st.text("ab ` /-:,東\u0301\x1b\n", max_size=120)
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the machine may be busy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path)
    (tmp_path / "etc/quietgate").mkdir(parents=True)
    (tmp_path / "etc/quietgate/quietgate.toml").write_text(POLICY)
    return tmp_path


def too_wide(text: str, width: int) -> list[str]:
    return [line for line in text.split("\n") if columns(line) > width and len(words(line)) > 1]


def on_a_terminal(words: list[str], width: int, **environment: str) -> tuple[int, str]:
    """Run a command on a real one: its exit code, and what it wrote."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE")}
    running = subprocess.Popen(
        words, stdin=follower, stdout=follower, stderr=subprocess.PIPE, env=inherited | {"TERM": "xterm", **environment}
    )
    os.close(follower)
    out = b""
    try:
        while True:
            out += os.read(leader, 65536)
    except OSError:  # the last that had it open is gone
        pass
    os.close(leader)
    assert running.stderr is not None
    assert b"Traceback" not in running.stderr.read()
    running.stderr.close()
    return running.wait(), out.decode().replace("\r\n", "\n")


def quietgate(root: Path, *rest: str) -> list[str]:
    return [sys.executable, "-m", "quietgate", "--root", str(root), *rest]


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("command", COMMANDS)
def test_golden(command: str, width: int, root: Path) -> None:
    text, file = said(command, Screen(width), root), GOLDEN / f"{command}-{width}.txt"
    if os.environ.get("QUIETGATE_REGENERATE"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal_unless_it_is_one_word(command: str, root: Path) -> None:
    for width in (*range(20, 60), 72, 80, 100, 132, 200):
        assert not too_wide(said(command, Screen(width), root), width), width


@pytest.mark.parametrize("command", COMMANDS)
def test_colours_change_nothing_but_the_colour(command: str, root: Path) -> None:
    for width in (None, 80, 40):
        coloured = said(command, Screen(width, colour=True), root)
        assert STYLES.search(coloured)
        assert STYLES.sub("", coloured) == said(command, Screen(width), root)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_lost_by_wrapping(command: str, root: Path) -> None:
    """The titles of a table are, where each row is a block: they stand in it in small letters."""
    wrapped, plain = (sorted(said(command, screen, root).lower().split()) for screen in (Screen(60), PLAIN))
    assert wrapped == plain if command != "bans" else set(plain) - set(wrapped) <= {"address"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_record_is_one_line_in_a_pipe(command: str, root: Path) -> None:
    text = said(command, PLAIN, root)
    assert "\x1b" not in text
    if command == "bans":
        assert len(text.splitlines()) == 4
    assert max(map(len, text.splitlines())) > 80, "it is what would have been wrapped"


@pytest.mark.parametrize("command", [("bans",), ("alerts",), ("report",), ("why", str(A))])
def test_on_a_real_terminal(command: tuple[str, ...], root: Path) -> None:
    plain = subprocess.run(quietgate(root, *command), capture_output=True, text=True, check=False)
    code, wide = on_a_terminal(quietgate(root, *command), 80)
    assert code == plain.returncode == 0
    assert not too_wide(STYLES.sub("", wide), 80)
    assert "\x1b" not in plain.stdout
    if command != ("alerts",):  # there are none: no colour means anything
        assert STYLES.search(wide)
        assert set(STYLES.findall(wide)) <= {f"\x1b[{n}m" for n in (0, 2, 31, 32, 33)}
    _, narrow = on_a_terminal(quietgate(root, *command), 40)
    assert not too_wide(STYLES.sub("", narrow), 40)


@pytest.mark.parametrize(
    "refused", [{"NO_COLOR": "1"}, {"NO_COLOR": "0"}, {"TERM": "dumb"}, {"TERM": ""}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}]
)
def test_who_wants_no_colour_gets_none(refused: dict[str, str], root: Path) -> None:
    _, text = on_a_terminal(quietgate(root, "bans"), 80, **refused)
    assert "ADDRESS" in text
    assert "\x1b" not in text


def test_an_empty_no_color_is_none(root: Path) -> None:
    assert "\x1b" in on_a_terminal(quietgate(root, "bans"), 80, NO_COLOR="")[1]


def test_columns_overrules_the_terminal(root: Path) -> None:
    _, text = on_a_terminal(quietgate(root, "bans"), 80, COLUMNS="40", NO_COLOR="1")
    assert not too_wide(text, 40)


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("FORCE_COLOR", "1", True), ("CLICOLOR_FORCE", "1", True), ("FORCE_COLOR", "0", False), ("COLUMNS", "40", False)],
)
def test_a_pipe_is_never_wrapped_and_coloured_only_by_force(
    name: str, value: str, coloured: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    with utc():
        text = CliRunner().invoke(cli, ["--root", str(root), "bans"], color=True, catch_exceptions=False).output
    assert bool(STYLES.search(text)) == coloured
    assert len(text.splitlines()) == 4


# -- the module by itself


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("root", 4),
        ("東京", 4),
        ("e\u0301", 1),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),
        ("\uff21\uff22", 4),
        ("Zoë", 3),
        ("😀", 2),
        ("مرحبا", 5),
        ("▁▂█", 3),
        ("", 0),
    ],
)
def test_columns_are_those_of_a_terminal(text: str, wide: int) -> None:
    assert columns(text) == wide


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert PLAIN.table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d"


def test_wide_and_combining_names_leave_the_columns_straight() -> None:
    rows = [("東京", "x"), ("e\u0301", "x"), ("root", "x")]
    assert {columns(line[: line.index("x")]) for line in PLAIN.table(rows).split("\n")} == {6}


@pytest.mark.parametrize(
    "word",
    ["2026-11-25 00:22:01", "2001:db8:66:5::/64", "1d10m52s", "`nft flush ruleset`,", "(`quietgate up --force`)", "quietgate ban --evict 203.0.113.77;",
     "quietgate alerts ack 3", "quietgate why ADDRESS", "sudo quietgate alerts --all", "systemctl disable --now fail2ban", "ufw allow 22/tcp", "/etc/ssh/sshd_config"],
)  # fmt: skip
def test_what_is_copied_is_not_broken(word: str) -> None:
    assert words(word) == [word]
    for width in range(20, 90):
        assert word in Screen(width).line(f"next: see whether it is so, then {word} and so on, whatever else it may be").replace("\n", "|")


def test_a_command_ends_where_its_sentence_goes_on() -> None:
    assert words("quietgate diff, then quietgate up") == ["quietgate diff,", "then", "quietgate up"]
    assert words("quietgate allows 3 of them") == ["quietgate allows 3", "of", "them"]


def test_a_word_that_is_too_long_stands_alone() -> None:
    assert Screen(24).line(f"next: open {'x' * 30} now").split("\n") == ["next: open", "x" * 30, "      now"]
    assert Screen(24).line(f"next: {'x' * 20}").split("\n") == ["next:", "    " + "x" * 20], "it begins as far right as it can"


def test_a_line_goes_on_under_what_follows_its_label() -> None:
    assert Screen(30).line("  remedy: one two three four five six").split("\n") == ["  remedy: one two three four", "          five six"]


TABLE = [
    ("ADDRESS", "SINCE", "BY", "REASON"),
    ("2001:db8:66:5::/64", "2026-11-25 00:22:01", "a robot of ours", "it guessed names and passwords"),
]


def test_columns_shrink_then_stand_below_then_are_blocks() -> None:
    assert Screen(77).table(TABLE, free=(2, 3), head=True).split("\n") == [
        "ADDRESS             SINCE                BY               REASON",
        "2001:db8:66:5::/64  2026-11-25 00:22:01  a robot of ours  it guessed names",
        "                                                          and passwords",
    ]
    assert Screen(60).table(TABLE, free=(2, 3), head=True).split("\n") == [
        "ADDRESS             SINCE                BY",
        "    REASON",
        "2001:db8:66:5::/64  2026-11-25 00:22:01  a robot of ours",
        "    it guessed names and passwords",
    ]
    assert Screen(40).table(TABLE, free=(2, 3), head=True).split("\n") == [
        "2001:db8:66:5::/64",
        "    since   2026-11-25 00:22:01",
        "    by      a robot of ours",
        "    reason  it guessed names and",
        "            passwords",
    ]


@PATIENT
@given(st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=4), st.integers(20, 200), st.booleans(), st.integers(0, 8))
def test_whatever_stands_in_a_table_it_fits(rows: list[tuple[str, str, str]], width: int, head: bool, indent: int) -> None:
    screen = Screen(width, colour=True)
    text = STYLES.sub("", screen.table([[Cell(c, Tone.BAD) for c in row] for row in rows], free=(0, 2), head=head, indent=indent))
    assert "\x1b" not in text, "escapes of a name's are written out"
    assert not too_wide(text, width)


@PATIENT
@given(ANY, st.integers(20, 200))
def test_whatever_stands_in_a_line_it_fits(text: str, width: int) -> None:
    assert not too_wide(Screen(width).line(text), width)


def test_a_forged_line_or_colour_is_written_out() -> None:
    said = Screen(80, colour=True).line("\x1b[32mup\x1b[0m\nup: all is well", Tone.BAD)
    assert said == "\x1b[31m\\x1b[32mup\\x1b[0m\\x0aup: all is well\x1b[0m"
