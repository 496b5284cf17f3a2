"""Addresses: what counts as one source, and sets of prefixes against a naive model."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.net import BITS, NEVER_BANNED, AddressError, Counting, Prefix, PrefixSet, parse_address, parse_prefix

# A small corner of each space, so that prefixes meet: the last 6 bits of a base, and both ends of the space.
BASES = {4: (0, 0xC0000200, (1 << 32) - 64), 6: (0, 0x20010DB8 << 96, (1 << 128) - 64)}
versions = st.sampled_from((4, 6))


@st.composite
def small(draw: st.DrawFn, version: int | None = None) -> Prefix:
    """A prefix of 1 to 64 addresses in one of the corners."""
    v = draw(versions) if version is None else version
    value = draw(st.sampled_from(BASES[v])) + draw(st.integers(0, 63))
    return Prefix.of(v, value, BITS[v] - draw(st.integers(0, 6)))


@st.composite
def anything(draw: st.DrawFn) -> Prefix:
    v = draw(versions)
    return Prefix.of(v, draw(st.integers(0, (1 << BITS[v]) - 1)), draw(st.integers(0, BITS[v])))


def addresses(*prefixes: Prefix) -> set[tuple[int, int]]:
    return {(p.version, a) for p in prefixes for a in range(p.value, p.last + 1)}


@given(anything())
def test_a_prefix_reads_back_as_python_writes_it(p: Prefix) -> None:
    assert str(ipaddress.ip_network(str(p))) == f"{p if p.single else str(p)}" + (f"/{p.length}" if p.single else "")
    if not (p.version == 6 and p.value >> 32 == 0xFFFF):
        assert parse_prefix(str(p)) == p


@given(small(), small())
def test_covers_is_inclusion(a: Prefix, b: Prefix) -> None:
    assert a.covers(b) == (addresses(b) <= addresses(a))


@settings(max_examples=200)
@given(st.lists(small(), max_size=12), small())
def test_a_set_is_what_its_addresses_are(prefixes: list[Prefix], asked: Prefix) -> None:
    found, naive = PrefixSet(prefixes), addresses(*prefixes)

    assert (asked in found) == (addresses(asked) <= naive)
    assert found.overlaps(asked) == bool(addresses(asked) & naive)
    assert addresses(*found) == naive
    assert addresses(*found.without(asked)) == addresses(asked) - naive
    assert bool(found) == bool(naive)


@given(st.lists(small(), max_size=12), st.randoms())
def test_a_set_has_one_form(prefixes: list[Prefix], random: object) -> None:
    found = PrefixSet(prefixes)
    again = PrefixSet([*reversed(prefixes), *prefixes, *found])

    assert found == again
    assert hash(found) == hash(again)
    assert list(found) == sorted(found)
    for version in (4, 6):
        expected = ipaddress.collapse_addresses(ipaddress.ip_network(f"{p}") for p in prefixes if p.version == version)  # type: ignore[type-var]
        assert [ipaddress.ip_network(str(p)) for p in found.prefixes(version)] == list(expected), "the fewest prefixes"
        ranges = found.ranges(version)
        assert all(low <= high for low, high in ranges)
        assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges)), "disjoint, not touching"


@given(anything())
def test_all_and_nothing(p: Prefix) -> None:
    everything = PrefixSet((Prefix(4, 0, 0), Prefix(6, 0, 0)))
    assert p in everything
    assert everything.without(p) == ()
    assert p not in PrefixSet()
    assert PrefixSet().without(p) == (p,)
    assert everything.prefixes(p.version) == (Prefix(p.version, 0, 0),)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1", "fe80::1"),  # link-local: all neighbours share fe80::/64
        ("febf:ffff::9", "febf:ffff::9"),
        ("64:ff9b::192.0.2.7", "64:ff9b::c000:207"),  # NAT64: the whole of IPv4 behind one prefix
        ("64:ff9b:1:abcd::7", "64:ff9b:1:abcd::7"),
        ("64:ff9b:2::7", "64:ff9b:2::/64"),
        ("2001:0:1:2:3:4:5:6", "2001:0:1:2:3:4:5:6"),  # Teredo: one server's clients
        ("2001:1::7", "2001:1::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # mapped: a dual-stack socket's name for IPv4
        ("fe80::1%eth0", "fe80::1"),
        ("fec0::1", "fec0::/64"),
    ],
)
def test_what_counts_as_one_source(address: str, source: str) -> None:
    counting = Counting()
    found = counting.source_of(parse_address(address))
    assert str(found) == source
    assert counting.is_source(found)


@given(anything(), st.integers(8, 32), st.integers(16, 128))
def test_a_source_is_a_source_and_holds_its_address(p: Prefix, source4: int, source6: int) -> None:
    counting = Counting(source4, source6)
    address = Prefix(p.version, p.value, BITS[p.version])
    source = counting.source_of(address)
    assert source.covers(address)
    assert counting.is_source(source)
    assert counting.source_of(Prefix(p.version, source.last, BITS[p.version])) == source


@pytest.mark.parametrize(("source4", "source6"), [(7, 64), (33, 64), (32, 15), (32, 129)])
def test_lengths_out_of_range_are_refused(source4: int, source6: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Counting(source4, source6)


def test_only_one_address_has_a_source() -> None:
    with pytest.raises(ValueError, match="not one address"):
        Counting().source_of(parse_prefix("192.0.2.0/24"))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.0.0.5/24", "write 10.0.0.0/24 for the network, or 10.0.0.5 for the one address"),
        ("2001:db8::1/64", "write 2001:db8::/64 for the network, or 2001:db8::1 for the one address"),
        ("10.0.0.0/33", "after the / comes a number from 0 to 32"),
        ("::/129", "after the / comes a number from 0 to 128"),
        ("10.0.0.0/", "after the / comes a number from 0 to 32"),
        ("10.0.0.0/-1", "after the / comes a number from 0 to 32"),
        ("10.0.0.0/255.0.0.0", "after the / comes a number from 0 to 32"),
        ("10.0.0/8", "write it like 192.0.2.0/24 or 2001:db8:7::/48"),
        ("10.0.0.256", "write it like 192.0.2.7 or 2001:db8::7"),
        ("010.0.0.1", "write it like 192.0.2.7 or 2001:db8::7"),
        ("", "write it like 192.0.2.7 or 2001:db8::7"),
    ],
)
def test_what_is_no_prefix_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse_prefix(text)
    assert refused.value.remedy == remedy


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_prefix(text)
    except AddressError as refused:
        assert refused.remedy  # noqa: PT017  any other exception fails the test


def test_mapped_prefixes_are_ipv4() -> None:
    assert str(parse_prefix("::ffff:192.0.2.0/120")) == "192.0.2.0/24"
    assert parse_prefix("::ffff:0:0/96") == Prefix(4, 0, 0)
    assert parse_prefix("::/0").version == 6


def test_impossible_prefixes_cannot_be_made() -> None:
    for version, value, length in ((5, 0, 0), (4, 0, 33), (4, 1 << 32, 32), (6, -1, 128), (4, 1, 24)):
        with pytest.raises(ValueError):
            Prefix(version, value, length)


def test_addresses_that_stand_for_everybody_near_are_never_banned() -> None:
    never = PrefixSet(NEVER_BANNED)
    assert all(
        parse_address(a) in never for a in ("127.0.0.1", "::1", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255")
    )
    assert not any(never.overlaps(parse_address(a)) for a in ("10.0.0.1", "2001:db8::1", "fd00::1", "223.255.255.255"))
