"""`quietgate confirm`."""

from __future__ import annotations

import click

from quietgate.control.client import tell
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.rollout.trial import confirm
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.warn import warn


@click.command("confirm")
@click.option("--anyway", is_flag=True, help="Also from a connection that is older than the trial, and proves nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, anyway: bool, as_json: bool) -> None:
    """Keep the ruleset that is on trial. Type it in a new connection: that it opened is the proof.

    \b
    sudo quietgate confirm
    """
    parts = Parts.at(Paths(settings.root))
    done = confirm(parts, anyway=anyway)
    tell(parts.paths.control, "policy")
    warn(parts)
    if as_json:
        print(forms.form("confirm", {"generation": done.number, "proven": [f"IPv{v}" for v in done.proven]}))
        return
    print(f"generation {done.number} is confirmed: it stays, and a boot loads it")
    missing = [f"IPv{v}" for v in (4, 6) if v not in done.proven]
    if done.proven and missing:
        print(f"not proven: {', '.join(missing)}; nobody logged in that way during the trial")
