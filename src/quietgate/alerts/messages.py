"""A message as it is kept, sent and signed: the public form `quietgate/message` (docs/alerts.md)."""

from __future__ import annotations

import json
import socket
from typing import Any

from quietgate.guard.alerts import Raise, Severity, Topic
from quietgate.guard.pacing import Message, Thing, Told
from quietgate.values import Noted

WORST = {Severity.PAGE: 0, Severity.WARN: 1, Severity.INFO: 2}
LEAST = {"page": 0, "warn": 1, "all": 2}  # what `severity` of a route lets through


def for_route(message: Message, severity: str, name: str) -> dict[str, Any] | None:
    """What goes one way, under an id of its own; None if nothing of it does."""
    things = [t for t in message.things if WORST[t.severity] <= LEAST[severity]]
    if not things:
        return None
    return form(name, message.at, things, message.more)


def form(name: str, at: float, things: list[Told], more: int = 0, *, test: bool = False) -> dict[str, Any]:
    """The form. `name` is the message's: who gets it twice can tell."""
    worst = min((t.severity for t in things), key=WORST.__getitem__)
    return {"form": "quietgate/message", "version": 1, "id": name, "host": socket.gethostname(), "sent": at, "severity": worst.value,
            "test": test, "alerts": [_told(t) for t in things], "more": more}  # fmt: skip


def _told(t: Told) -> dict[str, Any]:
    r = t.raised
    return {"topic": r.topic.value, "subject": r.subject, "severity": r.severity.value, "what": r.what, "evidence": list(r.evidence),
            "done": r.done, "next": r.next, "first": t.first, "last": t.last, "count": t.count, "over": t.over}  # fmt: skip


def text(found: dict[str, Any]) -> str:
    """As one line of ASCII, which is what is signed."""
    return json.dumps(found)


def noted(thing: Thing, wall_of: float) -> Noted:
    """For the record. `wall_of`: what to add to a monotonic second to have a wall second."""
    r = thing.raised
    return Noted(thing.id, r.topic.value, r.subject, r.severity.value, r.what, r.evidence, r.done, r.next, r.lasting, thing.first, thing.last,
                 thing.count, thing.told, thing.tellings, thing.told_at + wall_of if thing.tellings else 0.0, thing.over, thing.over_told,
                 thing.seen)  # fmt: skip


def thing(n: Noted, wall_of: float) -> Thing:
    """From the record. Raises ValueError for a topic that this version does not know."""
    raised = Raise(Topic(n.topic), n.subject, n.last, n.what, n.evidence, n.done, n.next, n.lasting)
    return Thing(raised, n.first, n.last, n.last - wall_of, n.count, n.told, n.tellings, n.told_at - wall_of if n.tellings else 0.0,
                 n.over, n.over_told, n.seen, n.id)  # fmt: skip
