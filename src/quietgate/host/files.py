"""The policy's files, and writing files so that a crash leaves the old one or the new one.

Whatever lies in the place of a file (a directory, a FIFO, a device) is never opened for reading. A file of state that cannot be
used is set aside. A file that a person names is written without following a link that somebody else could have put there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import stat
import time
from pathlib import Path

from quietgate.errors import InputError, NotPermitted, Origin, Problem, StateError
from quietgate.host.reading import opened, read_text
from quietgate.values import File

AT_FDCWD, NO_REPLACE, EXCHANGE = -100, 1, 2  # renameat2(2)
MOST_ASIDE = 3  # damaged files that are kept in one directory; the oldest goes
MOST_LINKS = 40  # symbolic links in one path, as the kernel's own limit (path_resolution(7))
POLICY_MOST = 1 << 26  # bytes that are read of a policy; policy/load says when it is too long
_ASIDE = re.compile(r".+\.damaged-(\d{1,12})(?:-\d{1,4})?\Z")


def is_regular(path: Path) -> bool | None:
    """True for a regular file, None where there is nothing, False for anything else (a link too)."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_aside(path: Path) -> Path:
    """Rename what cannot be used to `NAME.damaged-SECOND`, so that somebody can look at it; of those in one directory the newest
    MOST_ASIDE stay. Raises OSError.
    """
    name = f"{path.name}.damaged-{int(time.time())}"
    aside = next(p for n in range(10_000) if not os.path.lexists(p := path.with_name(f"{name}-{n}" if n else name)))
    os.rename(path, aside)
    for old in aside_in(path.parent)[:-MOST_ASIDE]:
        with contextlib.suppress(OSError):  # a directory that holds something is nobody's to throw away
            (path.with_name(old).rmdir if path.with_name(old).is_dir() else path.with_name(old).unlink)()
    return aside


def aside_in(directory: Path) -> list[str]:
    """The names of what was set aside there, the oldest first. Raises OSError, but not where there is no such directory."""
    try:
        matches = filter(None, map(_ASIDE.match, os.listdir(directory)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [match[0] for match in sorted(matches, key=lambda m: (int(m[1]), m[0]))]


def remove(path: Path) -> None:
    """Make the place free: a file, FIFO or link goes, a directory is set aside. Idempotent. Raises OSError."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        if not path.is_dir():
            raise
        set_aside(path)


def rename(one: Path, other: Path, how: int) -> None:
    """Rename in one step: with NO_REPLACE only where nothing has the other name (FileExistsError), with EXCHANGE each gets the other's.
    A hard link would do as well, but the guard may make none. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), how):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def policy_files(policy: Path, drop_ins: Path) -> list[Path]:
    """The files that make up the policy, in the order they are merged. Missing ones are left out."""
    files = [policy] if policy.exists() else []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        files += sorted(p for p in drop_ins.iterdir() if p.suffix == ".toml" and not p.name.startswith("."))
    return files


def read_policy(path: Path, *, installed: bool) -> tuple[File, list[Problem]]:
    """One file, and what is wrong with who may write it. `installed`: it must be root's, as it decides for the host.

    Raises InputError when it cannot be read.
    """
    try:
        # The installed one is read by units, which nothing may hold up; a person may name a pipe.
        with opened(path, follow=True) if installed else path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            content = stream.read(POLICY_MOST)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", "name an existing policy, or write one there") from None
    except IsADirectoryError:
        raise InputError(f"{path}: this is a directory", "name a policy file, like quietgate.toml") from None
    except PermissionError:
        raise NotPermitted(f"{path}: it may not be read by this user", "run this as root, with sudo") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "see to the file first") from None
    problems = []
    origin = Origin(str(path), 1)
    if about.st_mode & stat.S_IWOTH or (installed and about.st_mode & stat.S_IWGRP and about.st_gid != 0):
        problems.append(Problem(origin, "others than its owner may write this file", f"chmod go-w {path}"))
    if installed and about.st_uid not in (0, os.geteuid()):
        problems.append(Problem(origin, f"it is owned by user {about.st_uid}, not by root", f"chown root {path}"))
    return File(str(path), content), problems


def machine_id(path: Path) -> str:
    """This machine's identity, "" where it has none yet (golden images, chroots)."""
    try:
        text = read_text(path, 4096).strip()
    except OSError:
        return ""
    # Anything but 32 hexadecimal digits (machine-id(5)) is no identity, and so no other machine's: nothing is dropped because of it.
    return text if re.fullmatch("[0-9a-f]{32}", text) and text.strip("0") else ""


def write_durably(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write so that after a crash the old file or the new one is there, whole. What lies there and is no file is set aside.

    For places of our own, where nobody else may write. Raises StateError.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove(fresh)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)  # whatever the umask is
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        if path.is_dir() and not path.is_symlink():
            set_aside(path)
        os.replace(fresh, path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise StateError(f"{path}: {error.strerror}", "make room, or make it writable; nothing was changed") from None


def write_where_told(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file at a name that a person (or the policy) gave: whole or not at all; what was there is replaced. `mode` None: as
    the umask says.

    A link is followed only out of a directory in which nobody but root and this user may write. Raises InputError where it would
    have to follow another, or where the name is that of no regular file, and StateError.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    folder, fresh = -1, ""
    try:
        folder, name = _folder_of(path)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise InputError(f"{path}: this is no regular file", "name a file, or a name that is free")
        fresh = f".{name[:200]}.{secrets.token_hex(8)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, 0o666 & ~mask if mode is None else mode)
            os.fsync(descriptor)
        os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        fresh = ""
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", "name a file that can be written, in a directory that is there") from None
    finally:
        if fresh and folder >= 0:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=folder)
        if folder >= 0:
            os.close(folder)


def _folder_of(path: Path) -> tuple[int, str]:
    """An open directory (O_PATH) and the name in it that a path means. Raises OSError, InputError."""
    text = os.fspath(path)
    how = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open("/" if text.startswith("/") else ".", how)
    waiting = [part for part in reversed(text.split("/")) if part not in ("", ".")]
    links = 0
    try:
        while waiting:
            part = waiting.pop()
            try:
                about = os.stat(part, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                if waiting:
                    raise
                return folder, part
            if stat.S_ISLNK(about.st_mode):
                if _is_others(folder):
                    raise InputError(f"{path}: {part} is a symbolic link, in a directory in which others may write",
                                     "name the place itself; whoever made that link could have led this file anywhere")  # fmt: skip
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = os.readlink(part, dir_fd=folder)
                waiting += [p for p in reversed(target.split("/")) if p not in ("", ".")]
                following = os.open("/", how) if target.startswith("/") else folder
            elif waiting or part == "..":
                following = os.open(part, how | os.O_NOFOLLOW, dir_fd=folder)
            else:
                return folder, part
            if following != folder:
                os.close(folder)
                folder = following
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except BaseException:
        os.close(folder)
        raise


def _is_others(folder: int) -> bool:
    """True if somebody other than root and this user may write in this directory."""
    about = os.fstat(folder)
    group = about.st_mode & stat.S_IWGRP and about.st_gid != 0
    return bool(about.st_uid not in (0, os.geteuid()) or group or about.st_mode & stat.S_IWOTH)


def sync_directory(path: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
