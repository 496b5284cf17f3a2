"""`quietgate revert`."""

from __future__ import annotations

import click

from quietgate.control.client import tell
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.rollout.trial import revert
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.warn import warn


@click.command("revert")
@click.argument("generation", required=False, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, generation: int | None, as_json: bool) -> None:
    """End a trial at once; or go back to an earlier generation, one of the last ten that were confirmed.

    Without GENERATION it goes back by one. The policy's files stay as they are: `quietgate diff` shows what differs.

    \b
    sudo quietgate revert
    sudo quietgate revert 7
    """
    parts = Parts.at(Paths(settings.root))
    done = revert(parts, generation)
    tell(parts.paths.control, "policy")
    warn(parts)
    if as_json:
        print(forms.form("revert", {"generation": done.number, "ended": done.ended}))
    elif done.ended is not None:
        print(
            f"the trial of generation {done.ended} is over: "
            + (f"generation {done.number} is in force" if done.number else "nothing is in force")
        )
    else:
        print(f"generation {done.number} is in force: the rules of an earlier one; the policy on disk is another (quietgate diff)")
