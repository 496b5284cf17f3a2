"""Users and groups of this host, asked within a bound.

The answers come from NSS (nsswitch.conf(5)): where that asks a directory server or a daemon of its own (LDAP, SSSD, NIS), an answer
may take minutes. A question that is not answered in WITHIN seconds gets the answer of last time, or of /etc/passwd and /etc/group.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from quietgate.host.reading import read_text

WITHIN = 1.0  # seconds for one answer
REST = 60.0  # seconds for which nothing more is asked after a question that was not answered
PASSWD, GROUP = Path("/etc/passwd"), Path("/etc/group")

MOST_KEPT = 1024  # answers that are kept for later

T = TypeVar("T")


class _Asker:
    """One thread that asks, so that whoever waits for it can stop waiting. Nothing piles up behind a question that hangs."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._one = threading.Lock()
        self._begun = False
        self._rest_until = 0.0
        self._kept: dict[object, object] = {}

    def bounded(self, key: object, ask: Callable[[], T], otherwise: Callable[[], T], within: float = WITHIN) -> T:
        """Return what `ask` answers within `within` seconds; else what it answered last under this key, else `otherwise()`."""
        if time.monotonic() >= self._rest_until and self._one.acquire(timeout=within):
            answers: queue.SimpleQueue[list[T]] = queue.SimpleQueue()

            def answer() -> None:
                found: list[T] = []
                try:
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        found.append(ask())
                finally:
                    self._one.release()
                    answers.put(found)

            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, daemon=True, name="accounts").start()
            self._questions.put(answer)
            try:
                found = answers.get(timeout=within)
            except queue.Empty:
                self._rest_until = time.monotonic() + REST
            else:
                if not found:
                    return otherwise()
                if len(self._kept) < MOST_KEPT or key in self._kept:
                    self._kept[key] = found[0]
                return found[0]
        return self._kept[key] if key in self._kept else otherwise()  # type: ignore[return-value]

    def _run(self) -> None:
        while True:
            self._questions.get()()


_asker = _Asker()


def administrators(named: Iterable[str]) -> frozenset[int]:
    """Return the user numbers of these users, and of the members of these groups (with a % before their name)."""
    wanted = tuple(named)
    return _asker.bounded(("administrators", wanted), lambda: _administrators(wanted), lambda: _administrators_in_files(wanted))


def _administrators(named: Sequence[str]) -> frozenset[int]:
    found = set()
    for name in named:
        with contextlib.suppress(KeyError):
            if not name.startswith("%"):
                found.add(pwd.getpwnam(name).pw_uid)
                continue
            group = grp.getgrnam(name[1:])
            found |= {u.pw_uid for u in pwd.getpwall() if u.pw_gid == group.gr_gid}
            for member in group.gr_mem:
                with contextlib.suppress(KeyError):
                    found.add(pwd.getpwnam(member).pw_uid)
    return frozenset(found)


def user_number(name: str) -> int | None:
    """Return the number of a user; None if there is none of that name."""

    def ask() -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except (KeyError, ValueError):
            return None

    return _asker.bounded(("number", name), ask, lambda: next((number for user, number, _ in _users() if user == name), None))


def user_name(uid: int) -> str:
    """Return the name of a user number, or the number."""

    def ask() -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"user {uid}"

    return _asker.bounded(("name", uid), ask, lambda: next((user for user, number, _ in _users() if number == uid), f"user {uid}"))


def group_number(name: str) -> int | None:
    """Return the number of a group; None if there is none of that name."""

    def ask() -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    return _asker.bounded(
        ("group", name), ask, lambda: next((int(f[2]) for f in _fields(GROUP) if f[0] == name and f[2].isdecimal()), None)
    )


def in_group(uid: int, own: int, group: int) -> bool:
    """Return whether a user, whose own group is `own`, is in a group."""

    def ask() -> bool:
        try:
            return group in os.getgrouplist(pwd.getpwuid(uid).pw_name, own)
        except KeyError:
            return group == own

    def otherwise() -> bool:
        names = {user for user, number, _ in _users() if number == uid}
        return group == own or any(str(group) == f[2] and names & set(f[3].split(",")) for f in _fields(GROUP) if len(f) > 3)

    return _asker.bounded(("member", uid, own, group), ask, otherwise)


# -- without NSS


def _users() -> list[tuple[str, int, int]]:
    """Name, number and group of each user in /etc/passwd (passwd(5)); lines that are none are left out."""
    return [(f[0], int(f[2]), int(f[3])) for f in _fields(PASSWD) if len(f) > 3 and f[2].isdecimal() and f[3].isdecimal()]


def _administrators_in_files(named: Sequence[str]) -> frozenset[int]:
    users = _users()
    groups = {f[0]: (int(f[2]), f[3].split(",")) for f in _fields(GROUP) if len(f) > 3 and f[2].isdecimal()}
    found = {number for name, number, _ in users if name in named}
    for name in named:
        group, members = groups.get(name[1:] if name.startswith("%") else "", (-1, []))
        found |= {number for user, number, main in users if main == group or user in members}
    return frozenset(found)


def _fields(file: Path) -> list[list[str]]:
    try:
        return [line.split(":") for line in read_text(file).splitlines()]
    except OSError:
        return []
