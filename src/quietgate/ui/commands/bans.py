"""`quietgate bans`."""

from __future__ import annotations

import time

import click

from quietgate.clock import format_duration
from quietgate.host.paths import Paths
from quietgate.host.store import Store
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Row, here
from quietgate.ui.text import moment


@click.command("bans")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:
    """List the bans in force.

    \b
    sudo quietgate bans
    sudo quietgate bans --json | jq -r .prefix
    """
    paths = Paths(settings.root)
    now = time.time()
    listed = []
    if paths.store.exists():
        with Store(paths.store, read_only=True) as store:
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
