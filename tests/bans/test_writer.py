"""Bans without a kernel: flattening, protection, what a target stands for."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.bans.writer import FOREVER, flatten, source_prefix
from quietgate.guard.never import Never, Reason
from quietgate.net import Counting, Prefix, PrefixSet, parse_prefix
from quietgate.values import Ban, Scope

FIRST, BITS = 0xC0000200, 5  # 32 addresses, so that prefixes nest


@st.composite
def bans(draw: st.DrawFn) -> Ban:
    prefix = Prefix.of(4, FIRST + draw(st.integers(0, 31)), 32 - draw(st.integers(0, BITS)))
    return Ban(prefix, Scope.HOST, 0.0, draw(st.one_of(st.none(), st.sampled_from([10.0, 20.0, 30.0]))))


@settings(max_examples=300)
@given(st.lists(bans(), max_size=12))
def test_every_address_is_banned_until_the_last_of_its_bans_ends(found: list[Ban]) -> None:
    naive: dict[int, float] = {}
    for ban in found:
        for address in range(ban.prefix.value, ban.prefix.last + 1):
            naive[address] = max(naive.get(address, 0.0), FOREVER if ban.until is None else ban.until)

    flat = flatten(found)
    assert {a: until for low, high, until in flat for a in range(low, high + 1)} == naive
    assert sum(high - low + 1 for low, high, _ in flat) == len(naive), "no two overlap"
    assert flat == sorted(flat)
    for (_, high, until), (low, _, later) in pairwise(flat):
        assert high + 1 < low or until != later, "neighbours of one end are one"


def test_the_ends_of_both_spaces() -> None:
    for prefix in ("0.0.0.0/0", "::/0", "255.255.255.255", "::"):
        p = parse_prefix(prefix)
        assert flatten([Ban(p, Scope.SSH, 0.0, None)]) == [(p.value, p.last, FOREVER)]


def protected(*prefixes: str) -> Never:
    found = [PrefixSet([parse_prefix(p)]) for p in prefixes]
    return Never.of([Reason("trusted", found[0]), *(Reason("allow", f) for f in found[1:])])


def test_the_first_reason_is_given() -> None:
    p = protected("192.0.2.0/24", "192.0.2.7", "198.51.100.7")

    def why(text: str) -> str:
        reason = p.why(parse_prefix(text), source=False)
        assert reason is not None
        return reason.why

    assert why("192.0.2.7") == "trusted"
    assert why("198.51.100.0/24") == "allow"
    assert why("127.0.0.1") == "loopback, link-local and multicast addresses are never banned"
    assert why("0.0.0.0/0") == "trusted"


def test_loopback_is_protected_without_being_asked_to() -> None:
    nothing = Never.of([])
    for address in ("127.0.0.1", "::1", "fe80::1", "224.0.0.251", "ff02::fb"):
        assert nothing.why(parse_prefix(address), source=True) is not None
    assert nothing.why(parse_prefix("192.0.2.7"), source=True) is None


@given(st.lists(bans(), max_size=6), bans())
def test_what_is_left_of_a_ban_spares_the_protected_and_nobody_else(safe: list[Ban], asked: Ban) -> None:
    p = Never.of([Reason("safe", PrefixSet(b.prefix for b in safe))])
    rest = p.rest(asked.prefix)
    assert not any(p.why(q, source=False) for q in rest)
    together = PrefixSet([*rest, *(b.prefix for b in safe)])
    assert asked.prefix in together


def test_a_bare_address_stands_for_its_source_a_prefix_for_itself() -> None:
    counting = Counting()

    def target(text: str) -> str:
        return str(source_prefix(parse_prefix(text), counting, exact="/" in text))

    assert target("192.0.2.7") == "192.0.2.7"
    assert target("2001:db8::7") == "2001:db8::/64"
    assert target("2001:db8::7/128") == "2001:db8::7"
    assert target("2001:db8::/48") == "2001:db8::/48"
    assert target("64:ff9b::c000:207") == "64:ff9b::c000:207"
