"""What fail2ban has banned, from its own database (fail2ban-client(1): `get dbfile`), read and never written."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from quietgate.net import AddressError, Prefix, parse_address

DATABASE = Path("var/lib/fail2ban/fail2ban.sqlite3")


def bans(root: Path, since: float) -> list[tuple[Prefix, float, str]] | None:
    """Address, wall second and jail of each ban after `since`, the oldest first; None where there is no such database."""
    file = root / DATABASE
    if not file.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=5)) as db:
            rows = db.execute("SELECT ip, timeofban, jail FROM bans WHERE timeofban > ? ORDER BY timeofban", (int(since),)).fetchall()
    except sqlite3.Error:
        return None
    found = []
    for ip, at, jail in rows:
        with contextlib.suppress(AddressError, TypeError, ValueError):
            found.append((parse_address(str(ip)), float(at), str(jail)))
    return found
