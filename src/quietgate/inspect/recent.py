"""The last part of what SSH servers logged here, for whoever looks at a host: `init` and `doctor`. Anybody on this host may have written it."""

from __future__ import annotations

import os
import time

from quietgate.daemon.sources import FILES, TAIL
from quietgate.errors import QuietgateError
from quietgate.host import journal
from quietgate.host.paths import Paths
from quietgate.host.reading import opened
from quietgate.sshlog.lines import Event, Reader, Stamps
from quietgate.sshlog.sshd import understand
from quietgate.sshlog.visitors import visitors
from quietgate.values import Visitor

LINES = 5000  # of the journal


def recent_visitors(paths: Paths) -> list[Visitor]:
    """Peers that connect regularly and have never given a name."""
    return visitors(recent(paths))


def recent(paths: Paths) -> list[Event]:
    """Events of the usual files' ends, and of the journal's; the files' where both tell."""
    found: list[Event] = []
    for name in FILES:
        try:
            with opened(paths.root / name) as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
                text = log.read(TAIL).decode("utf-8", "replace")
        except (OSError, QuietgateError):
            continue
        found += Reader(Stamps(time.time())).read(text.partition("\n")[2] if len(text) >= TAIL else text)
    if not found and str(paths.root) == "/":
        for entry in journal.last(LINES):
            said = understand(entry.message)
            if said is not None:
                found.append(Event(entry.at, entry.pid, said, entry.message))
    return found
