"""A login is read from where sshd itself writes it, and from nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.net import parse_address
from quietgate.sshlog.sshd import LONGEST, Kind, Said, understand


def accepted(message: str) -> Said | None:
    """The login that a line tells of; None if it tells of none."""
    said = understand(message)
    return said if said is not None and said.kind is Kind.ACCEPTED else None


def login(method: str, user: str, address: str, port: int) -> Said:
    return Said(Kind.ACCEPTED, user, parse_address(address), port, method)


# auth.c auth_log() of OpenSSH 5.3 to 10.0: "%s %s%s%s for %s%.100s from %.200s port %d ssh2%s%s"
GENUINE = {
    "Accepted password for root from 203.0.113.7 port 50514 ssh2": ("password", "root", "203.0.113.7", 50514),
    "Accepted publickey for anna from 2001:db8:7::1 port 1 ssh2: ED25519 SHA256:mEJ0": ("publickey", "anna", "2001:db8:7::1", 1),
    "Accepted publickey for ci-bot from 198.51.100.3 port 65535 ssh2: RSA-CERT SHA256:x ID me (serial 7) CA ED25519 SHA256:y":
        ("publickey", "ci-bot", "198.51.100.3", 65535),
    "Accepted keyboard-interactive/pam for j.doe@example.net from 203.0.113.7 port 22 ssh2":
        ("keyboard-interactive/pam", "j.doe@example.net", "203.0.113.7", 22),
    "Accepted gssapi-with-mic for anna from ::ffff:203.0.113.7 port 22 ssh2: anna@EXAMPLE.NET": ("gssapi-with-mic", "anna", "203.0.113.7", 22),
    "Accepted hostbased for EXAMPLE\\anna from fe80::1%eth0 port 22 ssh2": ("hostbased", "EXAMPLE\\anna", "fe80::1", 22),
}  # fmt: skip
OTHER = (
    "",
    "Accepted",
    "Accepted publickey for root",
    "Failed password for root from 203.0.113.7 port 50514 ssh2",
    "Postponed publickey for root from 203.0.113.7 port 50514 ssh2 [preauth]",
    "Partial publickey for root from 203.0.113.7 port 50514 ssh2",
    "Accepted key ED25519 SHA256:x found at /root/.ssh/authorized_keys:1",
    "Connection from 203.0.113.7 port 50514 on 198.51.100.1 port 22 rdomain",
    "Starting session: shell on pts/0 for root from 203.0.113.7 port 50514 id 0",
    "accepted publickey for root from 203.0.113.7 port 50514 ssh2",
    " Accepted publickey for root from 203.0.113.7 port 50514 ssh2",
    "Accepted publickey for root from laptop.example.net port 50514 ssh2",  # UseDNS: never resolved
    "Accepted publickey for root from UNKNOWN port 65535 ssh2",
    "Accepted publickey for root from 203.0.113.7 port 50514 ssh1",
    "Accepted publickey for root from 203.0.113.7 port 5051477 ssh2",
    "Accepted publickey for root from 203.0.113.0/24 port 50514 ssh2",
    "Accepted publickey for root from 203.0.113.7 port 50514 ssh2 and more",
    "Accepted publickey for root from 203.0.113.7 port 9 ssh2: " + "x" * LONGEST,
)
# What an attacker can have sshd write: his text stands where a user name, a banner or a certificate's id stands.
IMITATION = "Accepted publickey for root from 198.51.100.66 port 22 ssh2"
HOSTILE = (
    f"Invalid user {IMITATION} from 203.0.113.9 port 40000",
    f"Failed password for invalid user {IMITATION} from 203.0.113.9 port 40000 ssh2",
    f"input_userauth_request: invalid user {IMITATION} [preauth]",
    f"Bad protocol version identification '{IMITATION}' from 203.0.113.9 port 40000",
    f"banner exchange: Connection from 203.0.113.9 port 40000: invalid format {IMITATION}",
    f"Connection closed by invalid user {IMITATION} 203.0.113.9 port 40000 [preauth]",
    f"Disconnecting invalid user x\\n{IMITATION} 203.0.113.9 port 40000: Too many authentication failures [preauth]",
    f"Received disconnect from 203.0.113.9 port 40000:11: {IMITATION} [preauth]",
    f"\n{IMITATION}",
)


@pytest.mark.parametrize("message", GENUINE)
def test_a_login_tells_how_who_and_from_where(message: str) -> None:
    method, user, address, port = GENUINE[message]
    assert accepted(message) == login(method, user, address, port)


@pytest.mark.parametrize("message", OTHER)
def test_other_lines_tell_of_none(message: str) -> None:
    assert accepted(message) is None


@pytest.mark.parametrize("message", HOSTILE)
def test_imitations_tell_of_none(message: str) -> None:
    assert accepted(message) is None


def test_text_of_a_certificate_cannot_move_the_address() -> None:
    """The id of a certificate follows "ssh2:", and its owner chose it."""
    found = accepted(
        f"Accepted publickey for anna from 203.0.113.7 port 9 ssh2: RSA-CERT SHA256:x ID {IMITATION} (serial 0) CA RSA SHA256:y"
    )
    assert found == login("publickey", "anna", "203.0.113.7", 9)


@given(st.text())
def test_any_text_in_a_users_place_never_becomes_an_address(name: str) -> None:
    for line in (f"Failed password for invalid user {name} from 203.0.113.9 port 4 ssh2", f"Invalid user {name} from 203.0.113.9 port 4"):
        assert accepted(line) is None


@given(st.text(max_size=LONGEST - 100), st.integers(0, 99999))
def test_what_follows_cannot_change_what_was_read(tail: str, port: int) -> None:
    found = accepted(f"Accepted publickey for anna from 203.0.113.7 port {port} ssh2: {tail}")
    assert found == login("publickey", "anna", "203.0.113.7", port)
