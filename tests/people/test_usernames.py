"""Some names that do not exist here are mistyped passwords: they are stored as a keyed hash, in the kept line as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quietgate.people.usernames import Names
from quietgate.sshlog.lines import Stamps, read
from quietgate.sshlog.sshd import Kind
from tests.guard.regenerate import cases

A = "203.0.113.9"


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names("known", tmp_path / "key")


@pytest.mark.parametrize("name", ["a", "e", "s", "for", "from", "port", "ssh2", "user", "invalid user ", " ", "Failed", "22", ".", A, "hunter2",
                                  f"x from {A} port 22 ssh2", "pass word", "\\303\\251"])  # fmt: skip
@pytest.mark.parametrize(
    "line",
    ["Failed password for invalid user {} from 203.0.113.9 port 22 ssh2", "Invalid user {} from 203.0.113.9 port 22",
     "message repeated 2 times: [ Failed password for invalid user {} from 203.0.113.9 port 22 ssh2]",
     "error: maximum authentication attempts exceeded for invalid user {} from 203.0.113.9 port 22 ssh2 [preauth]",
     "Connection closed by invalid user {} 203.0.113.9 port 22 [preauth]", "error: PAM: Authentication failure for illegal user {} from 203.0.113.9",
     "error: PAM: Have exhausted maximum number of retries for service for illegal user {} from 203.0.113.9"],
)  # fmt: skip
def test_the_name_is_hashed_where_it_stands_and_nowhere_else(names: Names, name: str, line: str) -> None:
    assert names.line(line.format(name)) == line.format(names.kept(name))


def test_pams_line_ends_with_it(names: Names) -> None:
    line = f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user="
    assert names.line(line + "hunter2") == line + names.kept("hunter2")


def test_a_line_that_says_it_twice_is_cut(names: Names) -> None:
    line = f"Disconnecting invalid user hunter2 {A} port 22: Change of username or service not allowed: (hunter2,ssh-connection) -> (secret,x) [preauth]"
    kept = names.line(line)
    assert kept == f"Disconnecting invalid user {names.kept('hunter2')} {A} port 22: Change of username or service not allowed"


def test_no_form_of_sshds_lets_it_through(tmp_path: Path) -> None:
    """Every golden line with a name, with all names hidden: what remains must be what the server wrote."""
    none, hidden = Names("none", tmp_path / "key"), 0
    for case in cases():
        for event in read(case.read_text(), Stamps(0.0)):
            user = event.said.user
            if user and len(user) > 2 and user not in ("root", "user") and event.said.kind is not Kind.ACCEPTED:
                kept = none.line(event.message)
                assert kept.count(none.kept(user)) == 1
                assert event.message.startswith(kept.replace(none.kept(user), user)), "nothing else changed"
                hidden += 1
    assert hidden > 50


def test_names_that_exist_stay(names: Names) -> None:
    line = f"Failed password for root from {A} port 22 ssh2"
    assert names.line(line) == line
    assert names.kept("root") == "root"
    assert names.kept("") == ""


def test_all_and_none(tmp_path: Path) -> None:
    assert Names("all", tmp_path / "key").kept("hunter2") == "hunter2"
    assert Names("none", tmp_path / "key").kept("root").startswith("#")


def test_the_same_name_has_the_same_hash_here_and_another_elsewhere(tmp_path: Path) -> None:
    first, again, elsewhere = Names("known", tmp_path / "key"), Names("known", tmp_path / "key"), Names("known", tmp_path / "other")
    assert first.kept("hunter2") == again.kept("hunter2") != elsewhere.kept("hunter2")
    assert re.fullmatch("#[0-9a-f]{12}", first.kept("hunter2"))
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["\0", "x" * 5000, "\ud800", "\N{SNOWMAN}", "a\nb", "../../x"])
def test_no_name_makes_it_fail(names: Names, name: str) -> None:
    assert names.kept(name).startswith("#")
    names.line(f"Invalid user {name} from {A} port 5")
