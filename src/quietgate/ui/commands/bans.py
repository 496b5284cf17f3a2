"""`quietgate bans`."""

from __future__ import annotations

import time

import click

from quietgate.clock import format_duration
from quietgate.errors import InputError
from quietgate.generations.installation import Parts
from quietgate.hindsight.past_bans import PastBan, past_bans
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.since import parse_since
from quietgate.ui.terminal import Row, here
from quietgate.ui.text import moment


@click.command("bans")
@click.option("--all", "everyone", is_flag=True, help="Also those that ended or were lifted: by whom, why, when.")
@click.option("--since", metavar="TIME", help='With --all only those made or ended since: 12h, 7d, 2026-11-26, "2026-11-26 22:00".')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def command(settings: Settings, everyone: bool, since: str | None, as_json: bool) -> None:
    """List the bans in force, or (--all) those that are over as well.

    \b
    sudo quietgate bans
    sudo quietgate bans --all --since 12h
    sudo quietgate bans --json | jq -r .prefix
    """
    paths = Paths(settings.root)
    now = time.time()
    if since is not None and not everyone:
        raise InputError("--since goes with --all", "quietgate bans --all --since 12h")
    if everyone:
        _all(paths, now, 0.0 if since is None else parse_since(since, now), as_json=as_json)
        return
    with Parts.at(paths).look() as store:
        listed = list(store.bans(now))
    if as_json:
        for ban in listed:
            print(forms.form("ban", forms.ban(ban, now)))
        return
    if not listed:
        print("no bans")
        return
    rows: list[Row] = [("ADDRESS", "SCOPE", "SINCE", "LEFT", "BY", "REASON")]
    for ban in listed:
        left = ban.left(now)
        rows.append((str(ban.prefix), ban.scope.value, moment(ban.since), "for ever" if left is None else format_duration(left),
                     ban.by, ban.reason))  # fmt: skip
    print(here().table(rows, free=(4, 5), head=True))


def _all(paths: Paths, now: float, since: float, *, as_json: bool) -> None:
    with Parts.at(paths).look() as store:
        found = past_bans(store, now, since)
    if as_json:
        for past in found:
            print(forms.form("ban", forms.past_ban(past, now)))
        return
    if not found:
        print("no bans")
        return
    rows: list[Row] = [("ADDRESS", "SCOPE", "SINCE", "END", "BY", "REASON")]
    for past in found:
        ban = past.ban
        rows.append((str(ban.prefix), ban.scope.value, moment(ban.since), _end(past, now), ban.by, ban.reason))
    print(here().table(rows, free=(3, 4, 5), head=True))


def _end(past: PastBan, now: float) -> str:
    if past.how == "in force":
        left = past.ban.left(now)
        return "in force, for ever" if left is None else f"in force, {format_duration(left)} left"
    if past.how == "lost":
        return "lost with a database"
    by = f" by {past.ended_by}" if past.ended_by else ""
    return f"{past.how} {moment(past.ended)}{by}" + (f": {past.ended_why}" if past.ended_why and past.how == "lifted" else "")
