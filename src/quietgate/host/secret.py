"""Secrets: they lie in files of root's alone, or where systemd puts credentials (systemd.exec(5), LoadCredential=)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from quietgate.errors import InputError
from quietgate.host.reading import opened
from quietgate.host.systemd import credential_words

LONGEST = 4096


def secret(where: str, root: Path) -> str:
    """The secret that lies at `file:/PATH` (below `root`) or `credential:NAME`; "" for "". Raises InputError, which never tells it."""
    if not where:
        return ""
    kind, _, name = where.partition(":")
    path = root / name.lstrip("/")
    if kind == "credential":
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory or "/" in name or name.startswith("."):
            raise InputError(f"there is no credential {name!r} here", credential_words(name))
        path = Path(directory) / name
    try:
        with opened(path, follow=True) as stream:
            about = os.fstat(stream.fileno())
            if kind == "file" and (about.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or about.st_uid not in (0, os.geteuid())):
                raise InputError(f"{path}: others than root may read or own this secret", f"chmod 600 {path}; chown root {path}")
            found = stream.read(LONGEST + 1).decode().strip()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "see to the file that holds the secret") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: the secret is no text", "write it as text, for example with: openssl rand -hex 32") from None
    if not found or len(found) > LONGEST:
        raise InputError(
            f"{path}: the secret is {'empty' if not found else 'too long'}", "write it as one line, for example with: openssl rand -hex 32"
        )
    return found
