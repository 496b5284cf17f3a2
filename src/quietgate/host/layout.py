"""Whose the directories are: of the state and of what lies in /run the guard may write one directory each, and all else is root's.

The guard is a user of its own, where systemd runs. Root's commands write the guard's database too, some of them as a root that the
kernel gives no more than its user number (no CAP_DAC_OVERRIDE): an access control list lets it in (acl(5)), and the files that
it makes there belong to the guard's group.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from quietgate.errors import StateError
from quietgate.host.paths import Paths

GUARD = "quietgate-guard"
_NAMES = ("quietgate.db", "quietgate.db-wal", "quietgate.db-shm", "quietgate.db.damaged", "key")  # lay beside root's once
# The extended attributes that hold the lists (linux/posix_acl_xattr.h): a version, then tag, permissions and user number of each.
_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY = 0xFFFFFFFF


def guard_user() -> tuple[int, int] | None:
    """User and group number of the guard; None where it is root."""
    try:
        found = pwd.getpwnam(GUARD)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


def arrange(paths: Paths) -> None:
    """Make the directories, move there what lies at an earlier version's places, and give each to whom it belongs. Idempotent; needs
    root. Raises StateError.
    """
    uid, gid = guard_user() or (0, 0)
    shared = 0o2750 if gid else 0o700
    try:
        for place, mode in ((paths.state, shared), (paths.generations, shared), (paths.run, 0o2755 if gid else 0o755)):
            place.mkdir(parents=True, exist_ok=True)
            _give(place, 0, gid, mode)
        for file in paths.generations.glob("*.json"):
            _give(file, 0, gid, 0o640)
        for place, mode in ((paths.guard_state, 0o2770 if gid else 0o700), (paths.guard_run, 0o755)):
            place.mkdir(exist_ok=True)
            _give(place, uid, gid, mode)
        for name in _NAMES:
            old = paths.state / name
            if old.exists() and not (paths.guard_state / name).exists():
                old.replace(paths.guard_state / name)
        if gid:
            _let_root_in(paths.guard_state)
        for file in paths.guard_state.iterdir():
            with contextlib.suppress(OSError):  # a link: whatever leads elsewhere is left alone, and holds up nothing
                _give(file, uid, gid, 0o660 if gid else 0o600, acl=bool(gid))
        paths.lock.touch(0o600)
        _give(paths.lock, 0, gid, 0o660 if gid else 0o600)
    except OSError as error:
        raise StateError(f"{error.filename or paths.state}: {error.strerror}", "see to the disk") from None


def _give(path: Path, uid: int, gid: int, mode: int, *, acl: bool = False) -> None:
    """By its descriptor, and only a directory, or a file of one name: in a directory of the guard's it may be a trap."""
    with _opened(path) as fd:
        about = os.fstat(fd)
        if not stat.S_ISDIR(about.st_mode) and not (stat.S_ISREG(about.st_mode) and about.st_nlink == 1):
            return
        if (about.st_uid, about.st_gid) != (uid, gid):
            os.fchown(fd, uid, gid)
        if acl:
            _set(fd, _ACCESS, _list(0o6))
        if stat.S_IMODE(about.st_mode) != mode:
            os.fchmod(fd, mode)


def _let_root_in(directory: Path) -> None:
    with _opened(directory) as fd:
        _set(fd, _ACCESS, _list(0o7))
        _set(fd, _DEFAULT, _list(0o7))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _set(fd: int, name: str, value: bytes) -> None:
    """A file system without such lists costs a boot its bans, and no rule."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, name, value)


def _list(may: int) -> bytes:
    """The owner, root and the group may; nobody else."""
    rows = ((_USER_OBJ, may, _NOBODY), (_USER, may, 0), (_GROUP_OBJ, may, _NOBODY), (_MASK, may, _NOBODY), (_OTHER, 0, _NOBODY))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
