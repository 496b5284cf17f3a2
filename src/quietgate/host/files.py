"""Reading the policy's files, and writing files so that a crash leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from quietgate.errors import InputError, NotPermitted, Origin, Problem, StateError
from quietgate.host.reading import read_text
from quietgate.policy.load import File


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
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            if stat.S_ISDIR(about.st_mode):
                raise IsADirectoryError
            content = stream.read()
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
    return "" if text == "uninitialized" else text


def write_durably(path: Path, content: str, mode: int = 0o600) -> None:
    """Write so that after a crash the old file or the new one is there, whole. Raises StateError."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, mode)  # whatever the umask is
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise StateError(f"{path}: {error.strerror}", "make room, or make it writable; nothing was changed") from None


def sync_directory(path: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
