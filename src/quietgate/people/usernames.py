"""Which user names are kept in clear: some that do not exist here are mistyped passwords."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from quietgate.errors import StateError
from quietgate.host.accounts import user_number
from quietgate.host.files import set_aside, write_durably
from quietgate.host.reading import read_whole
from quietgate.sshlog.authentication import name_at
from quietgate.sshlog.sshd import understand

KEY = 32  # bytes


class Names:
    """`mode`: "known" (users that exist here), "all" or "none". Others become a keyed hash, the same for the same name.

    `trouble`: what is wrong with the key's file and stays so, `said` what was and is mended, "" for nothing.
    """

    def __init__(self, mode: str, key_file: Path) -> None:
        self._mode = mode
        self._key, self.trouble, self.said = _key(key_file)
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


def _key(file: Path) -> tuple[bytes, str, str]:
    """The key, what is wrong with its file, and what was. Where none can be kept, names are hashed with one that ends with this process."""
    try:
        found = read_whole(file, KEY)
        if len(found) == KEY:
            return found, "", ""
        wrong = f"it has {len(found)} bytes, not {KEY}"
    except FileNotFoundError:
        wrong = ""
    except OSError as error:
        wrong = str(error.strerror)
    made = os.urandom(KEY)
    try:
        if wrong:
            set_aside(file)
        write_durably(file, made)
    except (OSError, StateError) as error:
        return made, f"{file} cannot be used or written ({wrong or error}): hashes of names change with each start of the guard", ""
    return made, "", f"{file} was damaged ({wrong}) and set aside: hashes of names are others from now on" if wrong else ""
