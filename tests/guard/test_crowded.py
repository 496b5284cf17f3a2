"""Which /48s are crowded with failing /64s."""

from __future__ import annotations

from quietgate.guard.crowded import MOST, SOURCES, WITHIN, Crowded
from quietgate.net import Prefix, parse_address, parse_prefix


def source(n: int, network: str = "2001:db8:1") -> Prefix:
    return parse_prefix(f"{network}:{n:x}::/64")


def test_eight_of_its_64s_make_a_48_crowded_and_each_further_one_does() -> None:
    crowded = Crowded()
    assert [crowded.failed(source(n), 0) for n in range(SOURCES - 1)] == [None] * (SOURCES - 1)
    assert crowded.failed(source(0), 1) is None, "the same one again"
    assert crowded.failed(source(99), 2) == parse_prefix("2001:db8:1::/48")
    assert crowded.failed(source(100), 3) == parse_prefix("2001:db8:1::/48")


def test_what_is_old_does_not_count() -> None:
    crowded = Crowded()
    for n in range(SOURCES - 1):
        crowded.failed(source(n), 0)
    assert crowded.failed(source(99), WITHIN + 1) is None


def test_ipv4_and_addresses_that_share_a_prefix_by_their_kind_do_not_count() -> None:
    crowded = Crowded()
    for n in range(1, 20):
        assert crowded.failed(parse_address(f"fe80::{n:x}"), 0) is None
        assert crowded.failed(parse_address(f"198.51.100.{n}"), 0) is None
        assert crowded.failed(parse_prefix(f"2001:db8:{n:x}::/48"), 0) is None


def test_a_flood_of_networks_is_bounded() -> None:
    crowded = Crowded()
    for n in range(MOST + 100):
        crowded.failed(Prefix.of(6, (0x20010DB8 << 96) + (n << 80), 64), n / 1000)
    assert len(crowded._seen) == MOST


def test_memory_of_one_network_is_bounded() -> None:
    crowded = Crowded()
    for n in range(1000):
        crowded.failed(source(n), n / 1000)
    assert all(len(here) <= SOURCES for here in crowded._seen.values())
