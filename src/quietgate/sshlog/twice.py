"""The same line through two files, or through a file and the journal, counts once.

A line is the same when host, process and message are. One process may say the same again in the same second (two guesses at one name over
one connection), so lines are counted: the second from this source is new when no other source has told two. What rsyslog
has summed up ("message repeated N times") stands for N.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from quietgate.sshlog.lines import Event

# Lines that are remembered, the last ones; 22 MB when it is full (measured, Python 3.11), and only where there are several logs.
MOST = 65_536


@dataclass(slots=True)
class Twice:
    """What several sources of lines have told lately."""

    _told: OrderedDict[int, dict[str, int]] = field(default_factory=OrderedDict)

    def once(self, source: str, event: Event) -> Event | None:
        """The event, or what is new of it; None when others have told all of it."""
        message = event.message
        if message.startswith("message repeated "):
            message = message[message.find("[") + 1 : -1].strip()
        key = hash((event.host, event.pid, message))
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= MOST:
                self._told.popitem(last=False)
            told = self._told[key] = {}
        before = max(told.values(), default=0)
        mine = told[source] = told.get(source, 0) + event.said.times
        new = mine - before
        if new <= 0:
            return None
        return event if new >= event.said.times else event._replace(said=event.said._replace(times=new))
