"""Records of logins as the system's own programs write them, for tests: layouts from their manual pages and sources."""

from __future__ import annotations

import ipaddress
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

USER_PROCESS, DEAD_PROCESS, BOOT_TIME = 7, 8, 2


def utmp(user: str, address: str, at: float, *, kind: int = USER_PROCESS, pid: int = 4242, line: str = "pts/0", named: str = "") -> bytes:
    """One struct utmp of utmp(5), 384 bytes. `named`: what stands in ut_host, with no packed address then (as by UseDNS)."""
    packed = b"" if named or not address else ipaddress.ip_address(address).packed
    return b"".join((
        struct.pack("<hxxi", kind, pid), line.encode().ljust(32, b"\0"), b"ts/0", user.encode().ljust(32, b"\0"),
        (named or address).encode().ljust(256, b"\0"), struct.pack("<hhi", 0, 0, 0), struct.pack("<ii", int(at), 0),
        packed.ljust(16, b"\0"), bytes(20),
    ))  # fmt: skip


def write_wtmp(root: Path, *records: bytes, name: str = "wtmp") -> Path:
    """A wtmp file below `root`."""
    path = root / "var/log" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(records))
    return path


def write_lastlog(root: Path, logins: dict[int, tuple[str, float]]) -> Path:
    """A lastlog of host and time for each user number: struct lastlog, 292 bytes, at number times 292; sparse as the real one."""
    path = root / "var/log/lastlog"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for uid, (host, at) in logins.items():
            stream.seek(uid * 292)
            stream.write(struct.pack("<i", int(at)) + b"pts/0".ljust(32, b"\0") + host.encode().ljust(256, b"\0"))
    return path


def write_passwd(root: Path, users: dict[str, int]) -> Path:
    """An etc/passwd below `root`."""
    path = root / "etc/passwd"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/sh\n" for name, uid in users.items()))
    return path


def write_wtmpdb(root: Path, rows: list[tuple[int, str, float, str | None]]) -> Path:
    """wtmpdb's database, as lib/sqlite.c of wtmpdb 0.9 to 0.13 makes it. Rows: type, user, login (s), remote host."""
    path = root / "var/lib/wtmpdb/wtmp.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, "
            "TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT"
        )
        db.executemany(
            "INSERT INTO wtmp (Type, User, Login, TTY, RemoteHost, Service) VALUES (?, ?, ?, 'pts/0', ?, 'sshd')",
            [(kind, user, int(at * 1e6), host) for kind, user, at, host in rows],
        )
    return path


def write_lastlog2(root: Path, rows: list[tuple[str, float, str | None]]) -> Path:
    """lastlog2's database, as liblastlog2/src/lastlog2.c of util-linux 2.40 makes it. Rows: user, time (s), remote host."""
    path = root / "var/lib/lastlog/lastlog2.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, PAM_Service TEXT) STRICT")
        db.executemany("INSERT INTO Lastlog2 VALUES (?, ?, 'pts/0', ?, 'sshd')", [(user, int(at), host) for user, at, host in rows])
    return path
