"""What rows of the database hold, as values: SQLite has no checksums, so a row may hold what nobody wrote."""

from __future__ import annotations

from quietgate.errors import Damaged
from quietgate.host.systemd import start_words
from quietgate.net import BITS, Prefix
from quietgate.values import Ban, Scope


def mends() -> str:
    """What to do about a damaged database."""
    return (
        f"the guard mends it when it starts, and keeps what can be read: {start_words('quietgate-guard', 'restart')}; nothing was changed"
    )


def row_of(b: Ban) -> tuple[int, bytes, int, str, float, float | None, str, str]:
    """A ban as the table has it."""
    return (b.prefix.version, packed(b.prefix), b.prefix.length, b.scope.value, b.since, b.until, b.reason, b.by)


def prefix_of(version: int, value: int, length: int) -> Prefix:
    """A row's prefix. SQLite has no checksums: a row may hold what nobody wrote. Raises Damaged."""
    try:
        return Prefix(version, value, length)
    except ValueError as error:
        raise Damaged(f"the database holds what nobody wrote: {error}", mends()) from None


def scope_of(text: str) -> Scope:
    """A row's scope. Raises Damaged."""
    try:
        return Scope(text)
    except ValueError as error:
        raise Damaged(f"the database holds what nobody wrote: {error}", mends()) from None


def packed(prefix: Prefix) -> bytes:
    """The first address as the tables have it."""
    return prefix.value.to_bytes(BITS[prefix.version] // 8, "big")
