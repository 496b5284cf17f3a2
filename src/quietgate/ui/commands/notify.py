"""`quietgate notify`."""

from __future__ import annotations

import sys

import click

from quietgate.control.notify import serve
from quietgate.generations.deciding import of_guard
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.host.systemd import noted
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("notify")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: it prints what goes wrong, for people.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:  # noqa: ARG001
    """Tell the programs and receivers that `bans.notify` names of each ban: for the unit quietgate-notify.

    Goes on until it is stopped; where the policy names nobody it ends at once.

    \b
    quietgate notify                         started by quietgate-notify.service
    """
    paths = Paths(settings.root)
    wanted = noted(paths, "notify") or of_guard(Parts.at(paths)).policy.services["notify"]
    if not wanted["receivers"]:
        print("the policy names nobody to be told of bans: see notify in [bans]", file=sys.stderr)
        return
    serve(paths, wanted, lambda said: print(safe(said), file=sys.stderr, flush=True))
