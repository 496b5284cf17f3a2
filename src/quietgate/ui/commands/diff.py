"""`quietgate diff`."""

from __future__ import annotations

from typing import Any

import click

from quietgate.app.differ import difference
from quietgate.app.parts import Parts
from quietgate.errors import Exit
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here


@click.command("diff")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """Compare the policy on disk with what is in force: who gains and who loses access, then each rule and address.

    Exit code 5 when they differ.

    \b
    quietgate diff && echo "nothing to do"
    """
    found = difference(Parts.at(Paths(settings.root)))
    if as_json:
        rows: list[dict[str, Any]] = [{"what": c.what, "old": c.old, "new": c.new} for c in found.rules] if found.number else []
        people = [{"who": c.who.name, "address": str(c.who.address), "target": str(c.target), "before": c.before, "after": c.after}
                  for c in found.people]  # fmt: skip
        print(forms.form("diff", {"up": found.number is not None, "drift": found.drift, "people": people, "changes": rows}))
    elif found.number is None:
        print(here().line(f"nothing is in force; `quietgate up` would load {len(found.text.splitlines())} lines (see `quietgate show`)"))
    else:
        screen = here()
        for person in found.people:
            print(screen.line(str(person), Tone.GOOD if person.gains else Tone.ADVICE))
        if found.rules and not found.people:
            print("nobody gains or loses access")
        for line in [line for change in found.rules for line in str(change).split("\n")]:
            print(screen.line(line, label=Tone.DIM))
        if found.drift:
            print(
                screen.line("the table in the kernel was changed by somebody else since it was loaded; `quietgate up` mends it", Tone.BAD)
            )
        if found.none:
            print(screen.line(f"no difference: generation {found.number} is in force and is what the policy says"))
    return Exit.OK if found.none else Exit.DRIFT
