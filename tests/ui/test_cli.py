"""The command line: help with examples, one message for each mistake, documented exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quietgate import __version__
from quietgate.errors import Exit
from quietgate.ui.cli import COMMANDS

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


def test_the_page_of_exit_codes_is_the_table() -> None:
    page = (TOP / "docs/errors.md").read_text()
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [int(e) for e in Exit]


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m quietgate show {POLICY} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "add table inet quietgate\n"
    assert "Traceback" not in done.stderr
