"""Every failure that a user can meet: a message, a stable id, what to do, and the exit code.

Two leaves by blame, as far as they can be told apart: `InputError` is the user's to mend (exit 2), `HostError`
is the machine's (exit 1). `Refused` is neither: it is quietgate keeping a promise. The table of exit codes is
public (`docs/errors.md` is compared with it by a test).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; public, never renumbered."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    REFUSED = 4
    DRIFT = 5
    NEEDS_DAEMON = 10
    NOT_PERMITTED = 77


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written: the file as the user names it, and the line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what is wrong, and what to do about it."""

    origin: Origin
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.what}; {self.remedy}"


class QuietgateError(Exception):
    """Base of all errors that reach a user. `hint` says what to do, `id` never changes, `exit` is the code."""

    id = "failed"
    exit = Exit.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(QuietgateError):
    """What the user gave cannot be used."""

    id = "input"
    exit = Exit.USAGE


class PolicyError(InputError):
    """The policy has mistakes: all of them, in the order of the files."""

    id = "policy"

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a policy error needs at least one problem")
        self.problems = tuple(sorted(problems, key=lambda p: p.origin))
        count = len(self.problems)
        super().__init__(
            "\n".join(str(p) for p in self.problems),
            f"{count} mistake{'s' if count > 1 else ''}; nothing was changed",
        )


class Refused(QuietgateError):
    """It would shut out somebody who must get in."""

    id = "refused"
    exit = Exit.REFUSED


class HostError(QuietgateError):
    """The machine cannot do it now: a program is missing, a disk is full, the kernel said no."""

    id = "host"


class Busy(HostError):
    """Somebody else is changing the firewall at this moment."""

    id = "busy"


class NftError(HostError):
    """nft is missing, too old, or refused a ruleset."""

    id = "nft"


class KernelError(HostError):
    """The kernel refused a change of a set; `errno` says why."""

    id = "kernel"

    def __init__(self, message: str, number: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.errno = number


class Hidden(KernelError):
    """What only root may see, asked by somebody who is neither root nor of the helper's group. A `KernelError`, so that what goes on
    where the kernel tells nothing goes on here, too.
    """

    id = "permission"
    exit = Exit.NOT_PERMITTED

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} may not be seen by this user", errno.EACCES, "run this as root, with sudo")


class StateError(HostError):
    """The state directory cannot be read or written."""

    id = "state"


class Damaged(StateError):
    """The database is not one, or not whole."""

    id = "damaged"


class Unusable(StateError):
    """One file of state cannot be used: it is damaged, or something else lies in its place."""


class NotPermitted(QuietgateError):
    """Needs root (CAP_NET_ADMIN)."""

    id = "permission"
    exit = Exit.NOT_PERMITTED
