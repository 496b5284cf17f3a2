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
from quietgate.ui.text import safe


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
        print(f"nothing is in force; `quietgate up` would load {len(found.text.splitlines())} lines (see `quietgate show`)")
    else:
        for person in found.people:
            print(safe(str(person)))
        if found.rules and not found.people:
            print("nobody gains or loses access")
        for change in found.rules:
            print(safe(str(change), lines=True))
        if found.drift:
            print("the table in the kernel was changed by somebody else since it was loaded; `quietgate up` mends it")
        if found.none:
            print(f"no difference: generation {found.number} is in force and is what the policy says")
    return Exit.OK if found.none else Exit.DRIFT
