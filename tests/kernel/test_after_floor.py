"""A mistake that only the floor covers up: it is refused like any other, and named for as long as it is true."""

from __future__ import annotations

import json

import pytest

from tests.kernel.lab import Pair, Sshd
from tests.kernel.people import ADMIN, ADMIN6, PAM, logged_in

pytestmark = pytest.mark.kernel
MISTYPED = '[ssh]\nfrom = ["198.19.77.0/24", "2001:db8:177::/48"]\n'


@pytest.fixture
def host(pair: Pair) -> Sshd:
    return pair.sshd(*PAM)


@pytest.mark.parametrize("admin", [ADMIN, ADMIN6])
def test_a_mistyped_from_is_refused_for_the_one_who_types_it(host: Sshd, admin: str) -> None:
    pair = host.pair
    with logged_in(host, admin):
        pair.policy(MISTYPED)
        said = pair.quietgate("up", "--now", expect=4)
        assert admin in said
        assert "1d after the last session from there (lockout.keep), a new connection would be shut out by rule ssh.from" in said
        assert "add it to ssh.from or ssh.trusted" in said
        assert pair.quietgate("status").startswith("down:"), "nothing was changed"


def test_one_who_was_logged_in_is_asked_about_too(host: Sshd) -> None:
    pair = host.pair
    pair.up("")
    with logged_in(host):
        pair.quietgate("refresh")
    pair.policy(MISTYPED)
    assert ADMIN in pair.quietgate("up", "--now", expect=4)


@pytest.mark.long
def test_force_goes_on_and_status_says_so_until_it_is_true_no_more(host: Sshd) -> None:
    pair = host.pair
    with logged_in(host):
        pair.policy(MISTYPED)
        said = pair.quietgate("up", "--force", "--trial", "20s", "--detach")
        assert f"would be shut out: {ADMIN}" in said
        pair.quietgate("confirm", "--anyway")
        assert host.login(ADMIN), "the floor keeps it open for now"
        (found,) = [f for f in json.loads(pair.quietgate("status", "--json"))["findings"] if f["id"] == "after-floor"]
        assert found["severity"] == "problem"
        assert ADMIN in found["what"]
        assert "ssh.from" in found["what"]
        assert ADMIN in pair.quietgate("doctor", expect=1)
        pair.policy(MISTYPED.replace("198.19.77.0/24", "198.19.0.0/16"))
        pair.quietgate("up", "--now")
        assert not [f for f in json.loads(pair.quietgate("status", "--json"))["findings"] if f["id"] == "after-floor"]


def test_who_gets_in_without_the_floor_is_rehearsed_as_before(host: Sshd) -> None:
    pair = host.pair
    with logged_in(host):
        pair.policy('[ssh]\nfrom = ["198.19.0.0/24"]\n')
        pair.quietgate("up", "--now")
        assert host.login(ADMIN)
