"""Addresses: the only home of what counts as one source, and of sets of prefixes.

A *source* is what the limiter and the bans count as one. For IPv4 that is an address, for IPv6 a /64, because a
customer gets a whole /64 and may use a fresh address for each packet. Three ranges are exceptions, since many
unrelated hosts share one /64 there, and one of them must not use up the others' share:

- fe80::/10 link-local: all neighbours on a link (RFC 4291 2.5.6);
- 64:ff9b::/96 and 64:ff9b:1::/48 NAT64: the whole of IPv4 behind one prefix (RFC 6052 2.1, RFC 8215);
- 2001::/32 Teredo: one server's clients (RFC 4380 4).

IPv4-mapped addresses (::ffff:0:0/96) are IPv4 everywhere: a dual-stack socket prints them so.

Pure integers inside: `ipaddress` objects cost ten times as much, and a ban list may have a million lines.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BITS = {4: 32, 6: 128}
MAPPED = 0xFFFF << 32
_OCTET = r"(0|[1-9][0-9]{0,2})"  # no leading zeros: some programs read them as octal
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}\Z")
_ALL = {4: (1 << 32) - 1, 6: (1 << 128) - 1}


class AddressError(ValueError):
    """Not an address or prefix; the message says why, and `remedy` what to write instead."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """An IP prefix: `version` 4 or 6, `value` the first address as an integer, `length` in bits.

    Host bits must be zero; `Prefix.of` masks them off. Ordered by version, then address, then length.
    """

    version: int
    value: int
    length: int

    def __post_init__(self) -> None:
        bits = BITS.get(self.version)
        if bits is None or not 0 <= self.length <= bits or not 0 <= self.value <= _ALL[self.version]:
            raise ValueError(f"no prefix: version {self.version}, value {self.value:#x}, length {self.length}")
        if self.value & ((1 << (bits - self.length)) - 1):
            raise ValueError(f"host bits set: version {self.version}, value {self.value:#x}, length {self.length}")

    @classmethod
    def of(cls, version: int, value: int, length: int) -> Prefix:
        """The prefix of that length which holds the address `value`."""
        shift = BITS[version] - length
        return cls(version, value >> shift << shift, length)

    @property
    def last(self) -> int:
        """The last address, as an integer."""
        return self.value | ((1 << (BITS[self.version] - self.length)) - 1)

    @property
    def host(self) -> Prefix:
        """The first address, for where one address is wanted."""
        return Prefix(self.version, self.value, BITS[self.version])

    @property
    def single(self) -> bool:
        """True if it is one address."""
        return self.length == BITS[self.version]

    def covers(self, other: Prefix) -> bool:
        """True if every address of `other` is in this prefix."""
        return self.version == other.version and self.value <= other.value and other.last <= self.last

    def __str__(self) -> str:
        text = address_text(self.version, self.value)
        return text if self.single else f"{text}/{self.length}"


def address_text(version: int, value: int) -> str:
    """The canonical text of an address (RFC 5952 for IPv6)."""
    return str(ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value))


def parse_address(text: str) -> Prefix:
    """One IPv4 or IPv6 address as a prefix of full length; IPv4-mapped becomes IPv4, a zone (%eth0) is dropped.

    Raises AddressError.
    """
    plain = _IPV4.match(text)
    if plain is not None:  # in half the time of `ipaddress`, and a crowd of attackers makes it count
        a, b, c, d = map(int, plain.groups())
        if a < 256 and b < 256 and c < 256 and d < 256:
            return Prefix(4, a << 24 | b << 16 | c << 8 | d, 32)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise AddressError(f"{text!r} is no IP address", "write it like 192.0.2.7 or 2001:db8::7") from None
    return _unmapped(found.version, int(found), BITS[found.version])


def parse_prefix(text: str) -> Prefix:
    """An address or prefix. Raises AddressError when it is none, or when host bits are set (says which is meant)."""
    head, slash, tail = text.partition("/")
    if not slash:
        return parse_address(text)
    try:
        found = ipaddress.ip_address(head)
    except ValueError:
        raise AddressError(f"{text!r} is no IP prefix", "write it like 192.0.2.0/24 or 2001:db8:7::/48") from None
    bits = BITS[found.version]
    if not tail.isascii() or not tail.isdigit() or len(tail) > 3 or int(tail) > bits:
        raise AddressError(f"{text!r} has no prefix length", f"after the / comes a number from 0 to {bits}")
    length = int(tail)
    meant = Prefix.of(found.version, int(found), length)
    if meant.value != int(found):
        raise AddressError(
            f"{text!r} has host bits set",
            f"write {meant} for the network, or {address_text(found.version, int(found))} for the one address",
        )
    return _unmapped(meant.version, meant.value, length)


def _unmapped(version: int, value: int, length: int) -> Prefix:
    if version == 6 and length >= 96 and value >> 32 == 0xFFFF:
        return Prefix(4, value & 0xFFFFFFFF, length - 96)
    return Prefix(version, value, length)


LINK_LOCAL6 = parse_prefix("fe80::/10")
# Counted address by address: see the head of this file.
SINGLY: tuple[Prefix, ...] = tuple(parse_prefix(p) for p in ("fe80::/10", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32"))
# Never a source on the wire that somebody could be shut out by, or one that stands for everybody near.
NEVER_BANNED: tuple[Prefix, ...] = tuple(
    parse_prefix(p) for p in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255", "::", "::1", "fe80::/10", "ff00::/8")
)


def is_loopback(address: Prefix) -> bool:
    """True for an address by which this host reaches itself alone (RFC 1122, RFC 4291)."""
    return address.value >> 24 == 127 if address.version == 4 else address.value == 1 and address.single


@dataclass(frozen=True, slots=True)
class Counting:
    """How many leading bits make one source; see `source_of`."""

    source4: int = 32
    source6: int = 64

    def __post_init__(self) -> None:
        if not 8 <= self.source4 <= 32 or not 16 <= self.source6 <= 128:
            raise ValueError(f"source lengths {self.source4}/{self.source6} out of range")

    def source_of(self, address: Prefix) -> Prefix:
        """What `address` (one address) counts as: its /source4 or /source6, or itself in the exceptions."""
        if not address.single:
            raise ValueError(f"{address} is not one address")
        if self.source4 == 32 and address.version == 4:
            return address  # the usual case, and the guard asks for every guess
        if address.version == 6 and any(p.covers(address) for p in SINGLY):
            return address
        length = self.source4 if address.version == 4 else self.source6
        return Prefix.of(address.version, address.value, length)

    def is_source(self, prefix: Prefix) -> bool:
        """True if this prefix is exactly one source, so that a plain hash set can hold it."""
        if prefix.version == 6 and any(p.covers(prefix) for p in SINGLY):
            return prefix.single
        return prefix.length == (self.source4 if prefix.version == 4 else self.source6)


class PrefixSet:
    """An immutable set of addresses, given by prefixes. Overlaps merge; order and duplicates do not matter."""

    __slots__ = ("_ranges",)

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for p in prefixes:
            ranges[p.version].append((p.value, p.last))
        self._ranges = {v: _merged(r) for v, r in ranges.items()}

    def __contains__(self, prefix: Prefix) -> bool:
        """True if every address of `prefix` is in the set."""
        ranges = self._ranges[prefix.version]
        at = bisect_right(ranges, (prefix.value, _ALL[6])) - 1
        return at >= 0 and ranges[at][0] <= prefix.value and prefix.last <= ranges[at][1]

    def overlaps(self, prefix: Prefix) -> bool:
        """True if at least one address of `prefix` is in the set."""
        ranges = self._ranges[prefix.version]
        at = bisect_right(ranges, (prefix.last, _ALL[6])) - 1
        return at >= 0 and ranges[at][1] >= prefix.value

    def without(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """The part of `prefix` that is not in the set, as the fewest prefixes, in order."""
        gaps = []
        start = prefix.value
        for low, high in self._ranges[prefix.version]:
            if high < start:
                continue
            if low > prefix.last:
                break
            if low > start:
                gaps.append((start, low - 1))
            start = high + 1
        if start <= prefix.last:
            gaps.append((start, prefix.last))
        return tuple(p for low, high in gaps for p in span(prefix.version, low, high))

    def ranges(self, version: int) -> tuple[tuple[int, int], ...]:
        """Disjoint (first, last) addresses of one IP version, ascending."""
        return tuple(self._ranges[version])

    def prefixes(self, version: int) -> tuple[Prefix, ...]:
        """The fewest prefixes of one IP version that make up the set, ascending."""
        return tuple(p for low, high in self._ranges[version] for p in span(version, low, high))

    def __iter__(self) -> Iterator[Prefix]:
        yield from self.prefixes(4)
        yield from self.prefixes(6)

    def __bool__(self) -> bool:
        return any(self._ranges.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixSet) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(tuple(map(tuple, self._ranges.values())))

    def __repr__(self) -> str:
        return f"PrefixSet({', '.join(map(str, self))})"


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def span(version: int, low: int, high: int) -> Iterator[Prefix]:
    """The fewest prefixes of one IP version that hold the addresses from `low` to `high` and no other, ascending."""
    bits = BITS[version]
    while low <= high:
        # The largest aligned block that starts at `low` and does not pass `high`.
        size = min(low & -low if low else 1 << bits, 1 << ((high - low + 1).bit_length() - 1))
        yield Prefix(version, low, bits - size.bit_length() + 1)
        low += size
