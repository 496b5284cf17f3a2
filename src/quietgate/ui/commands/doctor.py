"""`quietgate doctor`."""

from __future__ import annotations

import click

from quietgate.app.doctor import examine
from quietgate.app.parts import Parts
from quietgate.app.prepare import prepare
from quietgate.errors import Exit
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """What on this host stands in the way, each with what to do. Changes nothing.

    Exit code 1 when there is a problem, 0 when there is only advice, or nothing.

    \b
    sudo quietgate doctor
    """
    parts = Parts.at(Paths(settings.root))
    found = examine(parts, prepare(parts.paths))
    if as_json:
        print(forms.form("doctor", {"findings": [forms.finding(f) for f in found]}))
    else:
        screen = here()
        for finding in found:
            print(screen.line(f"{finding.severity}: {finding.what}", label=Tone.BAD if finding.severity == "problem" else Tone.ADVICE))
            print(screen.line(f"  remedy: {finding.remedy}", label=Tone.DIM))
        if not found:
            print("nothing stands in the way")
    return Exit.FAILED if any(f.severity == "problem" for f in found) else Exit.OK
