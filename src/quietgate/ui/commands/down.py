"""`quietgate down`."""

from __future__ import annotations

import click

from quietgate.control.client import tell
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.rollout.up import down
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.warn import warn


@click.command("down")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:
    """Take quietgate's table out of the kernel, and nothing else.

    Nothing is limited or banned then. Bans are kept, and are back with `up`.

    \b
    sudo quietgate down
    """
    parts = Parts.at(Paths(settings.root))
    there = down(parts)
    tell(parts.paths.control, "history")
    warn(parts)
    if as_json:
        print(forms.form("down", {"changed": there}))
    else:
        print("quietgate is down: nothing is limited or banned" if there else "quietgate was down already")
