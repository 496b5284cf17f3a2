"""The tables of the database, version by version."""

from __future__ import annotations

VERSION = 6
TABLES = (
    "bans",
    "names",
    "logins",
    "floor",
    "attempts",
    "observed",
    "offenders",
    "about",
    "guessers",
    "things",
    "outbox",
    "history",
    "remembered",
    "grants",
)
SCHEMA = """
CREATE TABLE bans (
    version INTEGER NOT NULL, first BLOB NOT NULL, length INTEGER NOT NULL, scope TEXT NOT NULL,
    since REAL NOT NULL, until REAL, reason TEXT NOT NULL, author TEXT NOT NULL,
    PRIMARY KEY (version, first, length, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE names (name TEXT PRIMARY KEY, addresses TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
# What each later version added; a fresh database gets all of them in order.
LATER = {
    2: """
CREATE TABLE logins (
    user TEXT NOT NULL, version INTEGER NOT NULL, address BLOB NOT NULL, earliest REAL NOT NULL, latest REAL NOT NULL,
    witness TEXT NOT NULL, PRIMARY KEY (user, version, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_latest ON logins (latest);
CREATE TABLE floor (
    version INTEGER NOT NULL, address BLOB NOT NULL, uid INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (version, address, uid)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
    at REAL NOT NULL, version INTEGER NOT NULL, source BLOB NOT NULL, address BLOB NOT NULL, outcome TEXT NOT NULL, user TEXT NOT NULL,
    method TEXT NOT NULL, line TEXT NOT NULL, times INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_source ON attempts (version, source, at);
CREATE INDEX attempts_at ON attempts (at);
CREATE TABLE observed (
    version INTEGER NOT NULL, source BLOB NOT NULL, length INTEGER NOT NULL, at REAL NOT NULL, until REAL, reason TEXT NOT NULL,
    PRIMARY KEY (version, source, length, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE offenders (
    version INTEGER NOT NULL, source BLOB NOT NULL, length INTEGER NOT NULL, steps INTEGER NOT NULL, ended REAL NOT NULL,
    PRIMARY KEY (version, source, length)
) STRICT, WITHOUT ROWID;
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    # Attempts go when there is no room; what a break-in is told by must not, or a flood would hide one.
    3: """
CREATE TABLE guessers (
    version INTEGER NOT NULL, source BLOB NOT NULL, day INTEGER NOT NULL, failures INTEGER NOT NULL, names TEXT NOT NULL,
    earliest REAL NOT NULL, latest REAL NOT NULL, PRIMARY KEY (version, source, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX guessers_day ON guessers (day);
INSERT INTO guessers SELECT version, source, CAST(at / 86400 AS INTEGER) AS day, sum(times), json_group_array(DISTINCT user), min(at), max(at)
    FROM attempts WHERE outcome = 'failed' GROUP BY version, source, day;
CREATE TABLE things (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, subject TEXT NOT NULL, severity TEXT NOT NULL, what TEXT NOT NULL, evidence TEXT NOT NULL,
    done TEXT NOT NULL, next TEXT NOT NULL, lasting INTEGER NOT NULL, earliest REAL NOT NULL, latest REAL NOT NULL, count INTEGER NOT NULL,
    told INTEGER NOT NULL, tellings INTEGER NOT NULL, told_at REAL NOT NULL, over TEXT NOT NULL, over_told INTEGER NOT NULL, seen INTEGER NOT NULL
) STRICT;
CREATE INDEX things_latest ON things (latest);
CREATE TABLE outbox (
    id TEXT NOT NULL, route TEXT NOT NULL, message TEXT NOT NULL, made REAL NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL,
    error TEXT NOT NULL, PRIMARY KEY (id, route)
) STRICT, WITHOUT ROWID;
""",
    # AUTOINCREMENT: a number is never used twice, also after the rows that had the highest are gone.
    4: """
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, deed TEXT NOT NULL, subject TEXT NOT NULL, scope TEXT NOT NULL, until REAL,
    author TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX history_at ON history (at);
""",
    # What logs tell of logins can be written by others than sshd: it lies apart, and earns nothing.
    5: """
CREATE TABLE remembered (
    user TEXT NOT NULL, version INTEGER NOT NULL, address BLOB NOT NULL, earliest REAL NOT NULL, latest REAL NOT NULL,
    witness TEXT NOT NULL, PRIMARY KEY (user, version, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_latest ON remembered (latest);
INSERT INTO remembered SELECT user, version, address, earliest, latest, witness FROM logins;
DELETE FROM logins;
""",
    6: """
CREATE TABLE grants (
    kind TEXT NOT NULL, version INTEGER NOT NULL, first BLOB NOT NULL, length INTEGER NOT NULL, until REAL NOT NULL, author TEXT NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (kind, version, first, length)
) STRICT;
""",
}
