"""Which user names are kept in clear: some that do not exist here are mistyped passwords."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from quietgate.guard.methods import name_at
from quietgate.guard.sshd import understand
from quietgate.host.accounts import user_number


class Names:
    """`mode`: "known" (users that exist here), "all" or "none". Others become a keyed hash, the same for the same name."""

    def __init__(self, mode: str, key_file: Path) -> None:
        self._mode = mode
        self._key = _key(key_file)
        self.kept = lru_cache(4096)(self._kept)  # the name as it may be stored: an attack tries few names, each many times

    def _kept(self, user: str) -> str:
        """The name as it may be stored."""
        if not user or self._mode == "all" or (self._mode == "known" and exists(user)):
            return user
        return "#" + hashlib.blake2b(user.encode("utf-8", "replace"), key=self._key, digest_size=6).hexdigest()

    def line(self, message: str) -> str:
        """A message of sshd's with the name as it may be stored in its place.

        Only where the name itself stands: "a" is also in "password", and putting the hash there as well would tell the name.
        """
        said = understand(message)
        user = said.user if said is not None else None
        if not user or self.kept(user) == user:
            return message
        place = name_at(message, user)
        if place is None:
            return f"({said.kind.value} by {self.kept(user)})" if said is not None else ""
        tail = message[place[1] :]
        # "Change of username ...: (name,service) -> (another name,service)" says it again.
        head, again, _ = tail.partition(": Change of username or service not allowed")
        return message[: place[0]] + self.kept(user) + head + again


@lru_cache(4096)
def exists(user: str) -> bool:
    """True if there is such a user on this host."""
    try:
        return user_number(user) is not None
    except UnicodeError:
        return False


def _key(file: Path) -> bytes:
    try:
        found = file.read_bytes()
        if len(found) == 32:
            return found
    except OSError:
        pass
    made = os.urandom(32)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, made)
    finally:
        os.close(descriptor)
    return made
