"""What stands before a message in a log: when, on which host, by which program -> or why that cannot be read.

Every form is anchored at the line's beginning and told piece by piece. What stands before the program's name may be a stamp (twice
where a relay sets its own before), a priority, a host, an address before the host; never a word that ends in a colon, since
that is another program's name and what follows is that program's text.

The forms, and who writes them: RFC 3164 (rsyslog, syslog-ng, inetutils, sysklogd; journalctl's short), its one-space days (metalog, sysklogd),
with a priority (busybox, FreeBSD -vv, syslog-ng), without a host (busybox -S), fractions and years (syslog-ng, journalctl short-precise), ISO 8601
with T, blank or underscore (rsyslog, svlogd), journalctl short-full, short-unix and short-monotonic, socklog's priority first, RFC 5424
with octet counts, no or several elements (rsyslog Protocol23), TAI64N (multilog, s6-log), OpenWrt's logread.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from quietgate.sshlog.unread import Why

_STAMP = (
    r"(?:(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\ )?"
    r"(?:\d{4}-\d\d-\d\d[T_\ ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\ ?(?:[+-]\d\d(?::?\d\d)?)|Z|\ (?:UTC|GMT|[A-Z]{3,5}(?=\ \S+\ \S+\[)))?"
    r"|[A-Z][a-z]{2}\ {1,2}\d{1,2}\ (?:\d{4}\ )?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\ \d{4})?"
    r"|\d{4}\ [A-Z][a-z]{2}\ {1,2}\d{1,2}\ \d\d:\d\d:\d\d(?:[.,]\d{1,9})?)"
    r"|\d{9,10}\.\d{1,9}|@[0-9a-f]{24}|\[\ {0,11}\d{1,9}\.\d{6}\])"
)
_FACILITY = r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|security|ftp|ntp|audit|alert|clock|console|local[0-7])"
_SEVERITY = r"(?:emerg|panic|alert|crit|err|error|warning|warn|notice|info|debug)"
_PRIORITY = rf"(?:<?{_FACILITY}\.{_SEVERITY}>?|{_SEVERITY})"
_HOST = r"(?!\S{0,254}:\ )(?!\[)\S{1,254}"
# A program's name with what instances and packages add to it; the last is metalog's.
_OURS = r"(?:sshd(?:-session|-auth)?(?:-\d{1,5}|@[^\s\[]{1,100}(?=\[\d))?|dropbear|tinysshd)"
_TAG = rf"(?:(?:/[\w./-]{{0,100}}/)?({_OURS})(?:\[(\d{{1,10}})\])?:|\[({_OURS})\](?=\ ))"
_LINE = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:{_PRIORITY}:\ )?(?:({_STAMP})[\ \t]{{1,2}})(?:{_PRIORITY}:?\ )?(?:{_STAMP}\ )?(?:({_HOST})\ (?:{_STAMP}\ )?)??"
    rf"(?:({_HOST})\ )??(?:{_PRIORITY}\ )?{_TAG}[\ \t]{{0,2}}(?:\[ID\ \d{{1,9}}\ {_PRIORITY}\]\ )?(.*)",
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_ELEMENT = r'\[[^\s=\]"]{1,64}(?:\ [^\s=\]"]{1,64}="(?:[^"\\\]]|\\.)*")*\]'
_RFC5424 = re.compile(
    rf"(?:<\d{{1,3}}>)?1\ (\d{{4}}-\d\d-\d\dT\S{{8,28}})\ (\S{{1,255}})\ ({_OURS})\ (\d{{1,10}}|-)\ \S{{1,32}}\ (?:-|(?:{_ELEMENT}){{1,32}})(?:\ {{1,2}}(?:\ufeff)?(.*))?",
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_COUNT = re.compile(r"\d{1,5} (?=<\d{1,3}>1 )", re.ASCII)
# What stands before a line after a crash, or at a file's beginning. No blanks: an indented line goes on with somebody's text.
_JUNK = "\ufeff\0"
# What another program wrote: a stamp, perhaps a host, and a name that ends in a colon.
_OTHER = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:{_PRIORITY}:\ )?{_STAMP}[\ \t]{{1,2}}(?:{_PRIORITY}:?\ )?(?:{_HOST}\ ){{0,2}}?(?:{_PRIORITY}\ )?([^\s:]{{1,128}}):(?:\ (.*))?\Z"
    r"|(?:<\d{1,3}>)?1\ \S{1,40}\ \S{1,255}\ (\S{1,48})\ \S{1,128}\ \S{1,32}\ .*\Z",
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_NAMES = re.compile(r"(?<![\w.-])(?:sshd(?:-session|-auth)?|dropbear|tinysshd)(?![\w.-])", re.ASCII)
_MONTH = re.compile(r"(?:<\d{1,3}>)?(?:\w{2,9}\.?|\d{1,2}\u6708|\d{1,2}\uc6d4) {1,2}\d{1,2}\.? \d\d:\d\d:\d\d ")
_WORDS = re.compile(
    r"(?:error: )?(?:Failed \S+ for |Accepted \S+ for |Invalid user |Connection (?:closed|reset) by |Disconnected from |Received disconnect from "
    r"|Bad password attempt for |PAM: )"
)
_BARE = re.compile(rf"(?:{_STAMP}[\ \t]{{1,2}})?(.*)", re.ASCII | re.DOTALL | re.VERBOSE)
_REPEATED = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:{_STAMP}\ )(?:{_HOST}\ )?(?:syslogd(?:\[\d{{1,10}}\])?:\ )?last\ message\ repeated\ (\d{{1,9}})\ times?\Z",
    re.ASCII | re.VERBOSE,
)


LONGEST = 1024  # characters of a line in which its header must be found


class Header(NamedTuple):
    """One line's header. `stamp`: to be read by `Stamps`, "" where the line has none that names a moment; `pid` 0: none."""

    stamp: str
    host: str
    program: str
    pid: int
    message: str


def header(line: str) -> Header | Why | None:
    """One line without its end. None: another program wrote it, or it names no SSH server; Why: it does, and cannot be read."""
    line = line.strip("\r").lstrip(_JUNK)
    found = _LINE.match(line)
    if found is not None:
        stamp, host, second, program, pid, bracketed, message = found.groups()
        if not stamp.startswith("["):
            return Header(stamp, second or host or "", program or bracketed, int(pid or 0), message)
        return Header("", second or host or "", program or bracketed, int(pid or 0), message)
    line = line[_COUNT.match(line).end() :] if _COUNT.match(line) else line  # type: ignore[union-attr]
    found = _RFC5424.match(line)
    if found is not None:
        stamp, host, program, pid, message = found.groups()
        return Header(stamp, host, program, 0 if pid == "-" else int(pid), message or "")
    return _why_not(line)


def repeated(line: str) -> int:
    """N of syslogd's "last message repeated N times"; 0 for anything else. It says so of the line before, whoever wrote that."""
    found = _REPEATED.match(line.strip("\r").lstrip(_JUNK))
    return int(found[1]) if found is not None else 0


def bare(line: str) -> Header:
    """A line of a source that is declared as one server's, and has no name in it: `sshd -e`, a container, s6-log, svlogd."""
    line = line.strip("\r").lstrip(_JUNK)
    found = _BARE.match(line)
    assert found is not None
    stamp = line[: found.start(1)].strip()
    return Header("" if stamp.startswith("[") else stamp, "", "", 0, found[1])


def looks_like_a_servers(text: str) -> bool:
    """True for what begins as an SSH server's words do, whoever wrote it."""
    return _WORDS.match(text) is not None


def _why_not(line: str) -> Why | None:
    line = line[:LONGEST]
    other = _OTHER.match(line)
    if other is not None:
        # A host whose name ends in a colon, or a program that hands on what sshd said: which of them, nobody can tell.
        return Why.BEHIND if other[2] is not None and re.match(_TAG, other[2], re.ASCII | re.VERBOSE) else None
    if not _NAMES.search(line):
        found = _BARE.match(line)
        return Why.NAMELESS if found is not None and looks_like_a_servers(found[1]) else None
    return Why.MONTH if _MONTH.match(line) else Why.HEADER
