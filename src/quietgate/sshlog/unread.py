"""What the reader could not read, by kind, with one example of each: a log that is not understood must not look like a quiet one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

LONGEST_EXAMPLE = 300  # characters that are kept of a line


class Why(StrEnum):
    """Why a line that is an SSH server's, as far as can be seen, was not read."""

    HEADER = "header"  # what stands before sshd's name has no known form
    MONTH = "month"  # its month is in another language
    DATE = "date"  # it has the form of a date and is none
    BEHIND = "behind"  # another program's name stands before sshd's
    NAMELESS = "nameless"  # it holds a server's words, and no server's name
    MESSAGE = "message"  # the server said something unknown


REMEDIES = {
    Why.HEADER: "the line's beginning is in no known form: let the syslog daemon write a traditional or an ISO stamp, a host and sshd[number]:",
    Why.MONTH: "its month is in another language: run the logger or journalctl with LC_TIME=C",
    Why.DATE: "its date does not exist",
    Why.BEHIND: "another program's name stands before sshd's, and what follows may be anybody's text",
    Why.NAMELESS: 'it names no program: say whose lines they are, sources = [{ path = "...", program = "sshd" }] in [guard], or parse --program sshd',
    Why.MESSAGE: "sshd said something that is not known here",
}


@dataclass(slots=True)
class Unread:
    """Counts and the last example of each kind. Examples are other people's text: make them safe before they are shown."""

    counts: dict[Why, int] = field(default_factory=dict)
    examples: dict[Why, str] = field(default_factory=dict)

    def add(self, why: Why, line: str) -> None:
        """One line more that was not read."""
        self.counts[why] = self.counts.get(why, 0) + 1
        self.examples[why] = line[:LONGEST_EXAMPLE]

    @property
    def forms(self) -> int:
        """Lines whose header or place could not be read: unlike unknown words, those hide attacks."""
        return sum(n for why, n in self.counts.items() if why is not Why.MESSAGE)

    def merge(self, other: Unread) -> None:
        """Another reader's on top."""
        for why, count in other.counts.items():
            self.counts[why] = self.counts.get(why, 0) + count
        self.examples.update(other.examples)
