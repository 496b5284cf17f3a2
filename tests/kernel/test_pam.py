"""Guesses are counted right where sshd asks PAM: password and conversation, a directory's stack, accounts that are refused."""

from __future__ import annotations

import datetime
import json

import pytest

from tests.kernel.guarded import Guarded
from tests.kernel.lab import Pair, wait_for, wrong_clock
from tests.kernel.pam_lab import CLOSED, DEBIAN, DIRECTORY, RIGHT, WRONG, people

A, B = "198.19.61.5", "198.19.61.6"
PASSWORDS = ("PasswordAuthentication yes", "KbdInteractiveAuthentication no")


def heard(g: Guarded) -> dict[str, int]:
    """What the guard has counted, by outcome."""
    told = g.status()
    assert told is not None
    return {k: v for k, v in told["heard"].items() if v}


def settled(g: Guarded, wanted: dict[str, int]) -> None:
    wait_for(lambda: heard(g) == wanted, f"{wanted} is counted", 10)


@pytest.mark.parametrize("level", ["INFO", "VERBOSE"])
@pytest.mark.parametrize("options", [(), PASSWORDS], ids=["keyboard", "password"])
def test_three_mistypes_are_three_guesses_and_no_ban(pair: Pair, level: str, options: tuple[str, ...]) -> None:
    method = "password" if options else "keyboard-interactive"
    with people(pair, *options, f"LogLevel {level}") as (g, p):
        assert not p.types(A, "anna", WRONG, WRONG, WRONG, method=method)
        settled(g, {"failed": 3})
        assert not g.banned(A)
        assert p.types(A, "anna", WRONG, RIGHT, method=method)
        settled(g, {"failed": 4, "logins": 1})


def test_nothing_of_it_counts_again_when_waiting_is_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child's lines wait for sshd's own: whoever took one has taken it for good."""
    sooner = "import quietgate.daemon.main as daemon, quietgate.sshlog.held as held\ndaemon.TICK, held.HOLD = 0.2, 2.0\n"
    for name, value in wrong_clock(pair.root, 0, sooner).items():
        monkeypatch.setenv(name, value)
    with people(pair, policy='[ssh]\nlimit = "30 per 1m"\n') as (g, p):
        assert not p.types(A, "anna", WRONG, WRONG)
        assert not p.types(B, "nobody-here", WRONG)
        said = f"{datetime.datetime.now().astimezone().isoformat()} gate sshd[77]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.19.61.7  user=anna"
        with g.log.open("a") as file:  # of which nobody says more: when it counts, what came before has waited long enough
            file.write(f"{said}\n")
        wait_for(lambda: json.loads(pair.quietgate("why", "198.19.61.7", "--json"))["history"], "what nobody took counts", 10)
        assert heard(g) == {"failed": 4}, g.log.read_text()


def test_an_attacker_who_talks_with_pam_is_banned_and_two_people_behind_one_address_are_two(pair: Pair) -> None:
    with people(pair, policy='[ssh]\nlimit = "30 per 1m"\n') as (g, p):
        for user in ("anna", "otto"):
            assert not p.types(B, user, WRONG, WRONG)
        settled(g, {"failed": 4})
        assert not g.banned(B)
        for _ in range(2):
            p.types(A, "nobody-here", WRONG, WRONG, WRONG)
        wait_for(lambda: g.banned(A), "he is banned", 5)


def test_what_the_first_module_does_not_know_and_the_second_accepts_is_a_login(pair: Pair) -> None:
    with people(pair, stack=DIRECTORY) as (g, p):
        for _ in range(3):
            assert p.types(A, "anna", "known-to-the-directory-alone")
        settled(g, {"logins": 3})


@pytest.mark.parametrize("options", [(), PASSWORDS], ids=["keyboard", "password"])
@pytest.mark.parametrize(("user", "stack"), [("emil", DEBIAN), ("anna", CLOSED)], ids=["expired", "nologin"])
def test_a_right_password_that_the_account_refuses_is_no_guess(pair: Pair, options: tuple[str, ...], user: str, stack: str) -> None:
    method = "password" if options else "keyboard-interactive"
    with people(pair, *options, stack=stack, policy='[ssh]\nlimit = "30 per 1m"\n') as (g, p):
        for _ in range(7):
            assert not p.types(A, user, RIGHT, method=method)
        assert not g.banned(A), g.log.read_text()
        rows = [json.loads(line) for line in pair.quietgate("why", A, "--json").splitlines()]
        guesses = sum(h["times"] * {"failed": 3, "excused": -3, "unsure": 1}.get(h["outcome"], 0) for r in rows for h in r["history"])
        assert guesses == 0, g.log.read_text()
