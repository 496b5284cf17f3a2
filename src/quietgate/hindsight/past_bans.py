"""Bans with how they ended: told from the history, and from the bans themselves where that begins later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quietgate.net import parse_prefix
from quietgate.state import history
from quietgate.state.database import Store
from quietgate.values import Ban, Deed, Scope, What


@dataclass(frozen=True, slots=True)
class PastBan:
    """A ban, and how it ended: "in force", "ended" (its time was over), "lifted" or "replaced" (by another of the same prefix and
    scope). `ended`: wall second, None while it is in force; `ended_by` and `ended_why` of who lifted or replaced it.
    """

    ban: Ban
    how: str
    ended: float | None = None
    ended_by: str = ""
    ended_why: str = ""


def past_bans(store: Store, now: float, since: float = 0.0) -> list[PastBan]:
    """Every ban that was made or ended at wall second `since` or later, by when it was made. Raises StateError."""
    in_force = {(str(b.prefix), b.scope.value): b for b in store.bans(now)}
    found = list(_told(history.read(store), in_force, now))
    found += [PastBan(ban, "in force") for ban in in_force.values()]
    return sorted((p for p in found if max(p.ban.since, p.ended or 0.0) >= since), key=lambda p: (p.ban.since, p.ban.prefix))


def _told(history: Iterable[Deed], in_force: dict[tuple[str, str], Ban], now: float) -> Iterable[PastBan]:
    """Those that are over. What the history holds as open, and is in force, is told by the caller."""
    open_: dict[tuple[str, str], Ban] = {}
    for deed in history:
        key = (deed.subject, deed.scope)
        if deed.what not in (What.BAN, What.UNBAN):
            continue
        before = open_.pop(key, None)
        if before is not None:
            over = before.until is not None and before.until <= deed.at
            how = "ended" if over else "replaced" if deed.what is What.BAN else "lifted"
            yield PastBan(before, how, before.until, "", "") if over else PastBan(before, how, deed.at, deed.by, deed.reason)
        if deed.what is What.BAN:
            try:
                open_[key] = Ban(parse_prefix(deed.subject), Scope(deed.scope), deed.at, deed.until, deed.reason, deed.by)
            except ValueError:  # a row of a damaged page
                continue
    for key, ban in open_.items():
        if key not in in_force:
            # Longer than `now` and yet not there: somebody restored an older database, or a page of it was lost.
            yield PastBan(ban, "ended" if ban.until is not None and ban.until <= now else "lost", ban.until)
