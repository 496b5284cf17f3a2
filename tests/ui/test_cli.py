"""The command line: help with examples, one message for each mistake, documented exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from quietgate import __version__
from quietgate.errors import Exit
from quietgate.ui.cli import COMMANDS, cli, main
from quietgate.ui.commands.events import _words

TOP = Path(__file__).parents[2]
POLICY = str(TOP / "examples/minimal.toml")


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "quietgate", *words], input=stdin, capture_output=True, text=True, check=False, timeout=60)


def test_the_version_is_said() -> None:
    assert run("--version").stdout == f"quietgate {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert re.search(r"^\s+(sudo )?quietgate .*" + command, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_can_speak_json(command: str) -> None:
    assert "--json" in run(command, "--help").stdout


def test_a_command_that_is_none_is_answered_with_the_nearest() -> None:
    done = run("statsu")
    assert done.returncode == Exit.USAGE
    assert "did you mean status?" in done.stderr


@pytest.mark.parametrize(("word", "wanted"), [
    ("block", "quietgate ban ADDRESS"), ("deny", "quietgate ban ADDRESS"), ("unblock", "quietgate unban ADDRESS"),
    ("enable", "quietgate up"), ("disable", "quietgate down"), ("list", "quietgate bans"), ("reload", "quietgate up"),
    ("restart", "quietgate-guard restart"), ("start", "quietgate-guard"), ("stop", "quietgate down"), ("log", "quietgate events"),
    ("logs", "quietgate events"),
])  # fmt: skip
def test_the_words_of_other_tools_are_answered_with_ours(word: str, wanted: str) -> None:
    runner = CliRunner().invoke(cli, [word])
    assert runner.exit_code == Exit.USAGE
    assert f"there is no command '{word}'; instead: " in runner.output
    assert wanted in runner.output
    for named in re.findall(r"quietgate ([a-z]+)\b", runner.output.partition("instead: ")[2]):
        assert named in COMMANDS


@pytest.mark.parametrize("word", ["xyzzy", "install", "blocks", "b"])
def test_nothing_is_suggested_where_nothing_is_near(word: str) -> None:
    assert f"there is no command '{word}'\n" in CliRunner().invoke(cli, [word]).output


def test_without_a_command_it_says_which_there_are() -> None:
    done = run()
    assert done.returncode == Exit.USAGE
    assert done.stdout.startswith("Usage: quietgate [OPTIONS] COMMAND [ARGS]...\n"), "the name that one types"
    assert not done.stderr


def test_a_policy_that_is_missing(tmp_path: Path) -> None:
    for command in ("check", "show", "why 192.0.2.1"):
        done = run("--root", str(tmp_path), *command.split())
        assert done.returncode == Exit.USAGE
        assert (
            done.stderr == f"{tmp_path}/etc/quietgate/quietgate.toml: there is no policy\nwrite one that fits this host: quietgate init\n"
        )


def test_a_file_that_is_missing() -> None:
    done = run("check", "/nonexistent/policy.toml")
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("/nonexistent/policy.toml: there is no such file")


def test_an_error_as_json_has_the_same_code() -> None:
    done = run("check", "--json", "/nonexistent/policy.toml")
    said = json.loads(done.stdout)
    assert (said["form"], said["id"], said["exit"]) == ("quietgate/error", "input", done.returncode)


def test_a_hostile_file_name_reaches_no_terminal() -> None:
    assert "\x1b" not in run("check", "/tmp/\x1b]0;owned\x07.toml").stderr


@pytest.mark.parametrize("name", ["minimal", "closed", "init-script"])
def test_each_example_is_right(name: str) -> None:
    done = run("check", str(TOP / f"examples/{name}.toml"))
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_show_prints_where_a_setting_comes_from() -> None:
    assert f"ssh.trusted = []  # {POLICY}:6" in run("show", "--origin", POLICY).stdout


def test_show_prints_every_setting_as_toml(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    many = ", ".join(f'"10.{n // 256}.{n % 256}.0/24"' for n in range(1000))
    policy.write_text(f'[ssh]\ntrusted = ["@office", {many}]\n[groups]\noffice = ["192.0.2.0/24"]\n[guard]\nenabled = false\n')
    shown = run("show", "--origin", str(policy)).stdout
    found = tomllib.loads(shown)
    assert found["guard"]["enabled"] is False
    assert found["bans"]["steps"] == ["10m", "1h", "1d", "7d", "30d"]
    assert found["ssh"]["trusted"][0] == "192.0.2.0/24"
    assert len(found["ssh"]["trusted"]) == 1001
    assert f"# {policy}:2 (@office)\n" in shown
    settings = {s["path"]: s["value"] for s in json.loads(run("show", "--origin", "--json", str(policy)).stdout)["settings"]}
    assert settings["guard.enabled"] is False


def test_the_page_of_exit_codes_is_the_table() -> None:
    page = (TOP / "docs/errors.md").read_text()
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [int(e) for e in Exit]


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m quietgate show {POLICY} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "add table inet quietgate\n"
    assert "Traceback" not in done.stderr


def test_wrong_words_are_told_as_json_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quietgate", "ban", "--json", "--scope", "nope", "203.0.113.4"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["form"], told["id"], told["exit"]) == ("quietgate/error", "input", 2)
    assert "nope" in told["message"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "alert", "at": 0.0, "said": "root logged in", "severity": "page"}, "page  root logged in"),
        ({"event": "alert", "at": 0.0, "topic": "break-in", "subject": "192.0.2.1", "said": "a login", "severity": "page", "count": 3, "over": ""},
         "page  break-in 192.0.2.1: a login, 3 times"),
        ({"event": "table", "at": 0.0, "done": "it was put back"}, "table  it was put back"),
        ({"event": "mended", "at": 0.0, "done": "the database"}, "mended  the database"),
        ({"event": "newer", "at": 0.0, "form": "x", "version": 1, "what": "this", "count": 0}, "newer  what this  count 0"),
    ],
)  # fmt: skip
def test_each_event_is_told_in_words(event: dict[str, object], said: str) -> None:
    assert _words(event).partition("  ")[2] == said
