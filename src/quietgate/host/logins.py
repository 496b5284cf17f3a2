"""Logins that this host remembers outside the journal: wtmp, lastlog, and the databases that Debian 13 has instead.

login, sshd and PAM write them, but set-gid programs (utempter, screen) write there what any user tells them as well. So an entry
earns nobody anything: it is an address that a rehearsal tries.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quietgate.host.reading import read_regular
from quietgate.net import AddressError, Prefix, parse_address
from quietgate.values import Login

# struct utmp of utmp(5): type, pid, line, id, user, host, exit, session, seconds, microseconds, address. Times have 32
# bits in it on x86, arm and ppc, and 64 on aarch64 (glibc's __WORDSIZE_TIME64_COMPAT32).
_UTMP = (struct.Struct("<h2xi32s4s32s256shhiii16s20x"), struct.Struct("<h2xi32s4s32s256shhqqq16s24x"))
_KINDS = range(10)  # EMPTY to ACCOUNTING
# struct lastlog: time, line, host; one for each user number
_LASTLOG = (struct.Struct("<i32s256s"), struct.Struct("<q32s256s"))
USER_PROCESS = 7
MOST = 200_000  # records of one file that are looked at, the last ones
MOST_BYTES = 1 << 28  # of one file


def remembered(root: Path, since: float) -> Iterator[Login]:
    """Logins after wall time `since` from all witnesses below `root`, in no order, some more than once."""
    for name in ("wtmp.1", "wtmp"):
        yield from _recent(wtmp(root / "var/log" / name), since)
    yield from _recent(lastlog(root / "var/log/lastlog", root / "etc/passwd"), since)
    yield from _recent(wtmpdb(root / "var/lib/wtmpdb/wtmp.db"), since)
    yield from _recent(lastlog2(root / "var/lib/lastlog/lastlog2.db"), since)


def _recent(logins: Iterator[Login], since: float) -> Iterator[Login]:
    return (x for x in logins if x.at > since)


def wtmp(path: Path) -> Iterator[Login]:
    """The logins in a wtmp file; nothing if it is missing or of another layout."""
    for kind, _, _, _, user, host, _, _, _, seconds, _, raw in _records(path):
        address = _packed_address(raw) or _named_address(host)
        if kind == USER_PROCESS and address is not None:
            yield Login(_text(user), address, float(seconds & 0xFFFFFFFF), "wtmp")


def _records(path: Path) -> Iterator[tuple[Any, ...]]:
    try:
        data = read_regular(path, MOST_BYTES)
    except OSError:
        return
    # Both sizes may divide it: in the wrong layout most kinds are nonsense.
    layouts = [x for x in _UTMP if data and len(data) % x.size == 0]
    if layouts:
        layout = max(layouts, key=lambda x: sum(data[n] in _KINDS and not data[n + 1] for n in range(0, len(data), x.size)) * x.size)
        yield from layout.iter_unpack(data[-MOST * layout.size :])


def lastlog(path: Path, passwd: Path) -> Iterator[Login]:
    """The last login of each user; the file is as long as the highest user number, and sparse."""
    if not path.is_file():
        return
    with contextlib.suppress(OSError), path.open("rb") as stream:
        length = path.stat().st_size
        layout = next((x for x in _LASTLOG if length % x.size == 0), _LASTLOG[0])  # it ends with a whole record
        for line in passwd.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) < 3 or not re.fullmatch(r"[0-9]{1,10}", fields[2]):
                continue  # also the "+" lines of NIS
            stream.seek(int(fields[2]) * layout.size)
            record = stream.read(layout.size)
            if len(record) < layout.size:
                continue
            seconds, _, host = layout.unpack(record)
            address = _named_address(host)
            if seconds and address is not None:
                yield Login(fields[0], address, float(seconds & 0xFFFFFFFF), "lastlog")


def wtmpdb(path: Path) -> Iterator[Login]:
    """The logins in wtmpdb(8)'s database; times there are microseconds."""
    for user, at, host in _rows(path, f"SELECT User, Login, RemoteHost FROM wtmp WHERE Type=3 ORDER BY ID DESC LIMIT {MOST}"):
        yield from _row(user, at, host, 1e6, "wtmp")


def lastlog2(path: Path) -> Iterator[Login]:
    """The last login of each user in lastlog2(8)'s database."""
    for user, at, host in _rows(path, f"SELECT Name, Time, RemoteHost FROM Lastlog2 LIMIT {MOST}"):
        yield from _row(user, at, host, 1, "lastlog")


def _rows(path: Path, query: str) -> list[tuple[object, object, object]]:
    if not path.is_file():
        return []
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)) as db:
            return db.execute(query).fetchall()
    except sqlite3.Error:
        return []


def _row(user: object, at: object, host: object, unit: float, witness: str) -> Iterator[Login]:
    if isinstance(user, str) and isinstance(at, int) and isinstance(host, str):
        address = _named_address(host.encode("utf-8", "replace"))
        if address is not None:
            yield Login(user, address, at / unit, witness)


def _packed_address(raw: bytes) -> Prefix | None:
    if not any(raw):
        return None
    if not any(raw[4:]):
        return Prefix(4, int.from_bytes(raw[:4], "big"), 32)
    value = int.from_bytes(raw, "big")
    mapped = value >> 32 == 0xFFFF
    return Prefix(4, value & 0xFFFFFFFF, 32) if mapped else Prefix(6, value, 128)


def _named_address(host: bytes) -> Prefix | None:
    """The host's text as an address; a name is none, and is not looked up."""
    try:
        return parse_address(_text(host))
    except AddressError:
        return None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
