"""The record of alerts, for a person: what stands, what was acknowledged; and whether each route works."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quietgate.alerts import messages
from quietgate.control.client import tell
from quietgate.errors import InputError, NotPermitted, QuietgateError
from quietgate.generations.deciding import usable
from quietgate.generations.installation import Parts
from quietgate.guard.alerts import Raise, Topic
from quietgate.guard.pacing import Told
from quietgate.host import deliver
from quietgate.host.lock import locked
from quietgate.host.secret import secret
from quietgate.pages import page
from quietgate.policy.model import Route
from quietgate.state.alerts import Book
from quietgate.values import Noted, Parcel


@dataclass(frozen=True, slots=True)
class Record:
    """What is recorded: the latest first; and the messages that have not arrived yet."""

    things: tuple[Noted, ...]
    waiting: tuple[Parcel, ...]


def record(parts: Parts, since: float, limit: int = -1) -> Record:
    """What happened after wall second `since`, or lasts still. Raises QuietgateError."""
    with parts.look() as store:
        book = Book(store)
        return Record(tuple(book.noted(since, limit)), tuple(book.parcels()))


def standing(things: Sequence[Noted]) -> list[Noted]:
    """Those that want a person: not acknowledged, and not over."""
    return [t for t in things if not t.seen and not t.over]


def acknowledge(parts: Parts, ids: Sequence[int] | None) -> list[int]:
    """A person has seen these (None: all that stand). Returns them. Raises InputError for one that there is not."""
    with locked(parts.paths.lock, 10), parts.store() as store:
        book = Book(store)
        if ids is None:
            ids = [t.id for t in standing(book.noted(0.0))]
        missing = sorted(set(ids) - {t.id for t in book.with_ids(ids)})
        if missing:
            raise InputError(f"there is no alert {missing[0]}", "see their numbers: quietgate alerts --all")
        book.see(ids)
    tell(parts.paths.control, "alerts")
    return list(ids)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a route: "" if the message arrived, else what is wrong and, in `hint`, what to do."""

    route: Route
    failed: str
    hint: str = ""


def test(parts: Parts) -> Iterator[Tried]:
    """Send a message that says it is a test by each route of the policy. Raises QuietgateError where there is none."""
    if os.geteuid() != 0:
        raise NotPermitted("the routes' secrets may not be read by this user", "run this as root, with sudo")
    policy = usable(parts)[0].policy
    if not policy.routes:
        raise InputError("the policy has no route, so nobody is told of anything",
                         f'write one: [[alerts.route]] with to = "mail" and url = "ops@example.net" ({page("alerts")})')  # fmt: skip
    now = time.time()
    said = Raise(Topic.BREAK_IN, "test", now, "this is a test of the way, and nothing happened", ("somebody typed `quietgate alerts test`",),
                 "nothing", "quietgate alerts")  # fmt: skip
    for route in policy.routes:
        form = messages.form(uuid.uuid4().hex, now, [Told(said, 1, now, now)], test=True)
        try:
            opened = secret(route.secret, parts.paths.root)
        except QuietgateError as error:
            yield Tried(route, error.message, error.hint)
            continue
        job = deliver.Job(route.to, route.url, opened, json.loads(messages.text(form)))
        yield Tried(route, asyncio.run(deliver.hand_over(job, parts.paths.deliverer)))
