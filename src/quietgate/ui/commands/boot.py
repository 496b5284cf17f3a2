"""`quietgate boot`."""

from __future__ import annotations

import sys

import click

from quietgate.errors import Exit
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.inspect.survey import install, proposal
from quietgate.rollout.boot import boot
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import plural
from quietgate.ui.warn import warn


@click.command("boot")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """Load what was confirmed, and the bans: for the boot unit, before the network is up.

    A trial that ran when the host went down is not loaded. Without a confirmed generation the policy is loaded.

    \b
    quietgate boot
    """
    parts = Parts.at(Paths(settings.root))
    done = boot(parts, lambda p: install(p, proposal(p, closed=False)))
    warn(parts)
    if as_json:
        print(forms.form("boot", {"generation": done.number, "bans": done.bans, "fresh": done.fresh, "trouble": done.trouble}))
        return Exit.PARTLY if done.trouble else Exit.OK
    print(f"generation {done.number} is in force" + (" (made from the policy)" if done.fresh else "") + f", {plural(done.bans, 'ban')}")
    if done.trouble:
        print(f"warning: {done.trouble}", file=sys.stderr)
        return Exit.PARTLY
    return Exit.OK
