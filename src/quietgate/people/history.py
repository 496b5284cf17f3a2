"""What is remembered of a source and a user before a login, for the question whether it was a break-in."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from quietgate.errors import StateError
from quietgate.guard.alerts import HORIZON, History, Login, network
from quietgate.people.usernames import Names, exists
from quietgate.state.alerts import Book
from quietgate.values import Guess

SAME_LOGIN = 5.0  # seconds by which two witnesses of one login may differ


def history(book: Book, waiting: Sequence[Guess], names: Names, login: Login) -> History:
    """The store's, and what waits for the next commit. Where the store cannot be read, what waits alone."""
    since, before = login.at - HORIZON, login.at - SAME_LOGIN
    mine = [g for g in waiting if g.source == login.source and g.outcome == "failed"]
    failures, tried = sum(g.times for g in mine), {g.user for g in mine if g.user}
    moments = [g.at for g in mine]
    logged_in = network_before = user_before = False
    with contextlib.suppress(StateError):
        kept = book.guessed(login.source, since)
        failures, tried = failures + kept.failures, tried | kept.names
        moments += [kept.first, kept.last] if kept.failures else []
        logged_in = book.has_logged_in(login.source, None, before)
        network_before = book.has_logged_in(network(login.address), login.user, before)
        user_before = network_before or book.has_logged_in(None, login.user, before)
    others = tried - {names.kept(login.user), login.user}
    return History(
        failures=failures,
        first=min(moments, default=0.0),
        last=max(moments, default=0.0),
        others=len(others),
        existing=tuple(sorted(n for n in others if exists(n))),
        before=logged_in,
        network_before=network_before,
        user_before=user_before,
    )
