"""The kinds of value: what each reader takes and what it refuses, with a remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietgate.errors import Origin
from quietgate.net import parse_prefix
from quietgate.policy import readers as t
from quietgate.policy.readers import Bad
from quietgate.policy.terms import Addresses, Anywhere, Entry, Group, Name, Ports, Rate

GOOD: list[tuple[t.Reader, object, object]] = [
    (t.rate(), "5 per 60s", Rate(5, 60)),
    (t.rate(), "5  per\t1h30m", Rate(5, 5400)),
    (t.rate(), "off", None),
    (t.rate(words=("drop", "accept")), "drop", "drop"),
    (t.duration(), "1d", 86400),
    (t.duration(words=("forever",)), "forever", None),
    (t.address, "192.0.2.7", parse_prefix("192.0.2.7")),
    (t.address, "::ffff:192.0.2.7", parse_prefix("192.0.2.7")),
    (t.address, "2001:db8:7::/48", parse_prefix("2001:db8:7::/48")),
    (t.address, "Host.Example.NET.", Name("host.example.net")),
    (t.address, "localhost", Name("localhost")),
    (t.address, "1and1.example", Name("1and1.example")),
    (t.address, "@office", Group("office")),
    (t.address, "anywhere", Anywhere()),
    (t.port, 22, Ports(22, 22)),
    (t.port, "22", Ports(22, 22)),
    (t.port, "1-65535", Ports(1, 65535)),
    (t.single_port, "22", 22),
    (t.interface, "*", "*"),
    (t.interface, "abcdefghijklmno*", "abcdefghijklmno*"),
    (t.protocol, "any", None),
    (t.protocol, "icmpv6", 58),
    (t.protocol, 47, 47),
    (t.rule_name, "0-a", "0-a"),
    (t.mark_bit, 0x80000000, 0x80000000),
    (t.size, "500MB", 500_000_000),
    (t.time_of_day, "23:59", "23:59"),
    (t.hours, "", ""),
    (t.hours, "22:00-07:00", "22:00-07:00"),
    (t.secret, "file:/etc/key", "file:/etc/key"),
    (t.alert, "digest", "digest"),
    (t.boolean, False, False),
    (t.choice("a", "b"), "b", "b"),
    (t.integer(0, 5), 5, 5),
    (t.log_prefix, "x" * 110, "x" * 110),
]


def _(*values: object) -> tuple[object, ...]:
    return values


BAD: list[tuple[t.Reader, object]] = [
    *(
        (t.rate(32), v)
        for v in _("5/min", "5per60s", "5 per", "0 per 1s", "33 per 60s", "-1 per 1s", "5 per 0s", "5 per 2d", "٣ per 1s", 5)
    ),
    *((t.duration(10, 3600), v) for v in _("9s", "2h", "10", "10 m", "", "forever", 60, "s", "1.5h")),
    *(
        (t.address, v)
        for v in (
            "",
            "10.0.0.5/24",
            "10.0.0.300",
            "1.2.3",
            "1.2.3.4.5",
            "::g",
            "-a.example",
            "a..b",
            "a b",
            "any",
            "10.0.0.1-9",
            7,
            "fe80::/129",
        )
    ),
    *((t.port, v) for v in _(0, 65536, -1, "22-10", "0-5", "http", "", "1-2-3", True, 22.0, "²")),
    *((t.single_port, v) for v in _("22-23", 0)),
    *((t.interface, v) for v in _("", "a" * 16, "é" * 8, "a b", "a/b", "e*h", 'e"', "..", "a:1", 7)),
    *((t.protocol, v) for v in _("ip", 256, -1, "6", 6.0, True)),
    *((t.rule_name, v) for v in _("", "-a", "A", "a_b", "a" * 33, "é")),
    *((t.log_prefix, v) for v in _("", "x" * 111, "a$b", 'a"b', "a\\b", "a\nb", "é")),
    *((t.mark_bit, v) for v in _(0, 3, 1 << 32, -1, "1", True)),
    *((t.size, v) for v in _("0MB", "500", "5 MB", "-5MB")),
    *((t.time_of_day, v) for v in _("24:00", "7:00", "07:60")),
    *((t.hours, v) for v in _("22:00", "22-07")),
    (t.secret, "hunter2"),
    *((t.boolean, v) for v in _(0, 1, "true")),
    *((t.alert, v) for v in _("yes", 1)),
    *((t.integer(0, 5), v) for v in _(6, -1, True, 1.0, "1")),
    *((t.text, v) for v in _("a\x1bb", "x" * 5000, 5)),
    *((t.listed(t.port, "ports"), v) for v in _(22, "22", {}, True)),
    (t.listed(t.port, "ports"), [1] * 100_001),
]


@pytest.mark.parametrize(("read", "value", "typed"), GOOD)
def test_reads(read: t.Reader, value: object, typed: object) -> None:
    assert read(value) == typed


@pytest.mark.parametrize(("read", "value"), BAD)
def test_refuses(read: t.Reader, value: object) -> None:
    with pytest.raises(Bad) as bad:
        read(value)
    assert bad.value.what
    assert bad.value.remedy


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_a_range_reads_back_or_is_named_the_right_way_round(low: int, high: int) -> None:
    if low <= high:
        assert str(t.port(f"{low}-{high}")) == (f"{low}-{high}" if low < high else str(low))
    else:
        with pytest.raises(Bad) as bad:
            t.port(f"{low}-{high}")
        assert f'"{high}-{low}"' in bad.value.remedy


@given(st.integers(1, 1_000_000), st.integers(1, 86400))
def test_rates_read_back(count: int, window: int) -> None:
    assert t.rate()(str(Rate(count, window))) == Rate(count, window)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2, 1), (1, 65536)])
def test_no_impossible_range_of_ports_can_be_made(low: int, high: int) -> None:
    with pytest.raises(ValueError):
        Ports(low, high)


def test_entries_say_by_which_group_they_came() -> None:
    entry = Entry(Name("vpn.example.net"), Origin("a.toml", 3), "office")
    assert str(entry) == "vpn.example.net (@office)"
    assert not Addresses()
    assert Addresses(anywhere=True)
