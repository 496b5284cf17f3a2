"""Every form that sshd has written from OpenSSH 5 to 10.5, and every way to imitate one (see golden/*.log)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.sshlog.authentication import name_at
from quietgate.sshlog.lines import Event, Stamps, read
from quietgate.sshlog.sshd import LONGEST, Kind, understand
from quietgate.sshlog.words import KEPT_ADDRESSES, address, only
from quietgate.sshlog.words import _addresses as remembered
from tests.guard.regenerate import cases, parsed

INNOCENT = {"198.51.100.66", "2001:db8::bad", "2001:db8::1"}  # who the imitations in golden/hostile.log speak of
WORDS = (
    "Failed password for ", "Failed publickey for ", "Accepted publickey for ", "invalid user ", "root", " from ", "203.0.113.9", " port 22", " ssh2", ": ",
    "RSA-CERT ID ", "SHA256:abc", " [preauth]", "Connection closed by ", "authenticating user ", "Disconnecting ", "Too many authentication failures",
    "Change of username or service not allowed: (", "message repeated 3 times: [ ", "]", "error: ", "fatal: ", "PAM: ", "PAM 2 more authentication failures; ",
    "pam_unix(sshd:auth): authentication failure; ", "rhost=", "user=", "User ", " not allowed because ", "Received disconnect from ", ":11: ",
    "drop connection #1 from [", "]:22 on [", "srclimit_penalise: ", "Bad protocol version identification '", "' from ", "\n", "\x00", "%", "٣", " ",
)  # fmt: skip


@pytest.mark.parametrize("case", cases(), ids=lambda p: p.stem)
def test_each_form_is_understood(case: Path) -> None:
    assert parsed(case) == case.with_suffix(".jsonl").read_text()


def test_nobody_is_blamed_for_an_imitation() -> None:
    golden = next(c for c in cases() if c.stem == "hostile").with_suffix(".jsonl")
    found = [json.loads(line) for line in golden.read_text().splitlines()]
    assert len(found) > 55
    assert not INNOCENT & {f["address"] for f in found}
    assert [f["user"] for f in found if f["kind"] == "accepted"] == ["anna"] * 2, "the genuine logins"


def test_where_the_name_stands_is_known_in_every_form() -> None:
    named = 0
    for case in cases():
        for event in events(case):
            user = event.said.user
            if user and not event.message.startswith("ROOT LOGIN"):
                place = name_at(event.message, user)
                assert place is not None, event.message
                assert event.message[slice(*place)] == user
                named += 1
    assert named > 90


def events(case: Path) -> list[Event]:
    return list(read(case.read_text(), Stamps(0.0)))


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=20)), max_size=25))
def test_it_never_raises(parts: list[str]) -> None:
    said = understand("".join(parts))
    assert said is None or (isinstance(said.kind, Kind) and 1 <= said.times <= 1000 and 0 <= said.port <= 99999)


@given(st.text(max_size=300))
def test_no_text_at_all_makes_it_raise(text: str) -> None:
    for head in ("", "Failed ", "error:", "Accepted ", "PAM", "message repeated 1 times: [", "User ", "Disconnecting "):
        understand(head + text)


def test_what_is_longer_than_sshd_writes_is_unclear() -> None:
    said = understand("x" * (LONGEST + 1))
    assert said is not None
    assert said.kind is Kind.UNCLEAR


def test_addresses_that_are_remembered_are_bounded() -> None:
    for n in range(KEPT_ADDRESSES + 10):
        address(f"203.0.113.{n}")
    assert len(remembered) <= KEPT_ADDRESSES
    address("x" * 1000)
    assert "x" * 1000 not in remembered


@pytest.mark.parametrize(
    ("text", "found"),
    [("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("2001:DB8::9", "2001:db8::9"), ("fe80::1%eth0", "fe80::1"),
     ("fe80::1%br-lan.7", "fe80::1"), ("203.0.113.9%eth0", None), ("2001:db8::9%eth0", None), ("fe80::1%", None), ("fe80::1%a b", None),
     ("fe80::1%eth0'", None), ("203.0.113", None), ("203.0.113.09", None), ("0x7f.1", None), ("3405803785", None), ("", None), ("UNKNOWN", None)],
)  # fmt: skip
def test_an_address_is_what_the_server_writes(text: str, found: str | None) -> None:
    there = address(text)
    assert (str(there) if there is not None else None) == found


@pytest.mark.parametrize("between", ["", " ", ":", " from", " from ", " port 22", " port 22:"])
def test_an_imitation_right_beside_the_servers_words_hides_nothing(between: str) -> None:
    """A search that takes one character too many would see the imitation only."""
    for tail in ("bad service request x", "Packet corrupt", "Change of username or service not allowed: (a,b) -> (c,d)"):
        said = understand(f"Disconnecting invalid user x 198.51.100.66 port 22:{between} 203.0.113.9 port 40000: {tail} [preauth]")
        assert said is not None
        assert said.address is None or str(said.address) == "203.0.113.9"
    for method in ("publickey", "hostbased"):
        key = "ED25519-CERT SHA256:a ID b (serial 0) CA RSA SHA256:c"
        said = understand(
            f"Failed {method} for invalid user x from 198.51.100.66 port 22 ssh2:{between} from 203.0.113.9 port 40000 ssh2: {key}"
        )
        assert said is not None
        assert said.address is None or str(said.address) == "203.0.113.9"


def test_one_place_or_none() -> None:
    place = re.compile(r"(?<!\S)(\S+) port (\d+)(?!\S)")
    assert only(place, "203.0.113.9 port 22") is not None
    assert only(place, "203.0.113.9 port 22 198.51.100.66 port 22") is None
    assert only(place, "host port 22 198.51.100.66 port 22") is not None, "a name is no place"
    assert only(place, "nothing") is None


def test_what_was_said_zero_times_was_not_said() -> None:
    """No logger writes it, but anybody can: an attempt that stands for nothing broke the guard's bookkeeping."""
    for message in (
        "message repeated 0 times: [ Unable to negotiate with 203.0.113.9 port 5: no matching cipher found. Their offer: x]",
        "message repeated 000000000 times: [ Failed password for root from 203.0.113.9 port 5 ssh2]",
        "PAM 0 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root",
    ):
        assert understand(message) is None, message
