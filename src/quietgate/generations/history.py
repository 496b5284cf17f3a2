"""What quietgate did, told: in words for the log, as an event for programs; and deeds about generations, recorded.

Bans are recorded by their writer (`bans.py`), in one commit with the ban. A generation's deed is recorded after the kernel has
it: a history that cannot be written stops nobody, and is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from quietgate.clock import moment
from quietgate.errors import QuietgateError
from quietgate.generations.installation import Parts
from quietgate.host.journal_write import NOTICE, WARNING, Line, Log
from quietgate.host.sessions import who
from quietgate.hostile_text import safe
from quietgate.state import history
from quietgate.state.database import Store
from quietgate.values import Deed, What

SINGLY = 100  # deeds that get a line each in any WINDOW; of more there is one line for each call
WINDOW = 10.0  # seconds
PATIENCE = 1.0  # seconds that a command waits for a log that is behind; the guard never does
# What journald's MESSAGE_ID says of each kind (systemd-id128(1) made them); public, never changed.
IDS = {
    What.BAN: "c73b744ab5074876a5987da61cf0b1ce",
    What.UNBAN: "3ebf9776a99446478831fbe11d8af6ff",
    What.ALLOW: "728ca8e9e6924f32b0b7f124592a5ea3",
    What.UP: "63a7916d52c546f69db00ca7ab85330d",
    What.CONFIRM: "5a600cb494364714877b9e35f1851f20",
    What.REVERT: "ec0877d8817f432194f2330c1b3537b3",
    What.LAPSE: "7902e712f4e14f2d874adfc72757b82e",
    What.DOWN: "646aa57cb145403c9bcf50839bff276a",
}
DROPPED = "2e2122178b4f45a59836bf8954b94ae3"  # lines were
LOUD = (What.LAPSE, What.DOWN)


class Teller:
    """Tells the log of deeds, in a bounded number of lines. One per process."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._begun = float("-inf")
        self._told = 0  # since then

    def tell(self, done: Sequence[Deed]) -> None:
        """One line each; of those beyond SINGLY one line for all. Never raises, never waits longer than the log's patience."""
        now = time.monotonic()
        if now - self._begun > WINDOW:
            self._begun, self._told = now, 0
        room = max(0, SINGLY - self._told)
        self._told += len(done)
        self._say_dropped()
        self.log.write(_line(deed) for deed in done[:room])
        rest = done[room:]
        self.log.write(_sum([d for d in rest if d.what is what]) for what in What if any(d.what is what for d in rest))

    def _say_dropped(self) -> None:
        count, self.log.dropped = self.log.dropped, 0
        if count:
            said = f"{count} lines before this one were not taken by the log: quietgate events has them"
            self.log.write([Line(said, WARNING, DROPPED, {"QUIETGATE_DROPPED": str(count)})])
            if self.log.dropped:  # it is still behind
                self.log.dropped = count


def _line(d: Deed) -> Line:
    fields = {"DEED": d.what.value, "SUBJECT": d.subject, "SCOPE": d.scope, "UNTIL": "" if d.until is None else f"{d.until:.0f}", "BY": d.by,
              "REASON": d.reason, "SEQ": str(d.id) if d.id else ""}  # fmt: skip
    return Line(words(d), WARNING if d.what in LOUD else NOTICE, IDS[d.what], {f"QUIETGATE_{k}": v for k, v in fields.items() if v})


def _sum(rest: Sequence[Deed]) -> Line:
    what = rest[0].what
    done = {What.BAN: "banned", What.UNBAN: "unbanned"}.get(what, what.value)
    said = f"{done} {len(rest)} more, from {rest[0].subject} to {rest[-1].subject}: quietgate events --since 1h lists them"
    return Line(safe(said), NOTICE, IDS[what], {"QUIETGATE_DEED": what.value, "QUIETGATE_COUNT": str(len(rest))})


def words(d: Deed) -> str:
    """What was done, in one line that is safe to show."""
    end = "for ever" if d.until is None else f"until {moment(d.until)}"
    because = f": {d.reason}" if d.reason else ""
    match d.what:
        case What.BAN:
            said = f"banned {d.subject} ({d.scope}) {end} by {d.by}{because}"
        case What.UNBAN:
            said = f"unbanned {d.subject} ({d.scope}) by {d.by}{because}"
        case What.ALLOW:
            said = f"let {d.subject} in {end} by {d.by}{because}"
        case What.UP:
            where = f"on trial {end}" if d.until is not None else "in force"
            said = f"put generation {d.subject} {where} by {d.by}{because}"
        case What.CONFIRM:
            said = f"confirmed generation {d.subject} by {d.by}{because}"
        case What.REVERT:
            said = f"reverted generation {d.subject} by {d.by}{because}"
        case What.LAPSE:
            said = f"generation {d.subject} lapsed, its trial went {end}{because}"
        case What.DOWN:
            said = f"took generation {d.subject} down by {d.by}{because}"
    return safe(said)


def event(d: Deed) -> dict[str, Any]:
    """The public form, as the control socket and `events` have it; `seq` is its number, which grows."""
    about: dict[str, Any]
    if d.what in (What.BAN, What.UNBAN, What.ALLOW):
        about = {"source": d.subject, "scope": d.scope}
    else:
        about = {"generation": int(d.subject) if d.subject.isdecimal() else None}
    if d.what in (What.BAN, What.ALLOW, What.UP, What.LAPSE):
        about["until"] = d.until
    if d.what is What.BAN:
        about["detector"] = d.reason.partition(":")[0] if d.by == "guard" else ""
    row = {"form": "quietgate/event", "version": 1, "event": d.what.value, "at": d.at, **about, "reason": d.reason, "by": d.by}
    return {**row, "seq": d.id} if d.id else row


def note(parts: Parts, what: What, generation: int, reason: str = "", *, until: float | None = None, by: str = "") -> None:
    """Note what became of a generation, and tell the log. Never raises: a history that cannot be written is a warning of `parts`.

    `by`: who did it, unless it is who runs this.
    """
    deed = Deed(time.time(), what, str(generation), "", until, by or who(), reason)
    try:
        with parts.store() as store, store.transaction():
            [deed] = history.add(store.db, [deed])
    except QuietgateError as error:
        parts.warnings.append(f"{what.value} of generation {generation} is done, but the history was not written: {error.message}")
    Teller(Log(parts.paths.root, PATIENCE)).tell([deed])


def note_in(store: Store, done: Sequence[Deed], tell: Callable[[Sequence[Deed]], object]) -> None:
    """Note deeds in an open store, and tell the log of them. Raises StateError."""
    with store.transaction():
        noted = history.add(store.db, done)
    tell(noted)


def lapsed(parts: Parts, generation: int, then: str) -> None:
    """A trial that nobody confirmed is found to be over; once. `then`: what decides now. Never raises."""
    try:
        with parts.store() as store:
            before = history.last_about(store, str(generation))
    except QuietgateError as error:
        parts.warnings.append(f"the trial of generation {generation} is over, but the history cannot be read: {error.message}")
        return
    if before is not None and before.what is What.UP and before.until is not None:
        note(parts, What.LAPSE, generation, f"nobody confirmed it; {then}", until=before.until, by="kernel")
