"""`quietgate refresh`."""

from __future__ import annotations

import click

from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.rollout.up import refresh
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.warn import warn


@click.command("refresh")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:
    """Follow host names, sshd's ports and logins: for the timer. Files that were edited since `up` are not touched.

    \b
    quietgate refresh
    """
    parts = Parts.at(Paths(settings.root))
    done = refresh(parts)
    warn(parts)
    if as_json:
        print(
            forms.form("refresh", {"generation": done.number, "changed": done.changed, "skipped": done.skipped, "restored": done.restored})
        )
    elif done.skipped:
        print(f"nothing was refreshed: {done.skipped}")
    elif done.restored:
        print(f"generation {done.number} is in force again: another tool had taken every table out of the kernel (see `quietgate doctor`)")
    elif done.changed:
        print(f"generation {done.number} is in force: host names or sshd's ports have changed")
    else:
        print(f"generation {done.number} is in force, as before")
