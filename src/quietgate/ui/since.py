"""What `--since` takes: a length of time before now, or a date with or without a time."""

from __future__ import annotations

import datetime

from quietgate.clock import moment, parse_duration
from quietgate.errors import InputError

HINT = 'write it like 12h or 7d, or like 2026-11-26 or "2026-11-26 22:00"'


def parse_since(text: str, now: float) -> float:
    """Wall second of `text`, seen at wall second `now`; a time without a zone is this host's. Raises InputError."""
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InputError(f"--since: {text[:100]!r} is no length of time and no date", HINT) from None
    if at > now:
        raise InputError(f"--since: {moment(at)} is in the future", HINT)
    return at
