"""`quietgate diff`."""

from __future__ import annotations

from typing import Any

import click

from quietgate.app.inside import drifted, in_force, look
from quietgate.app.parts import Parts
from quietgate.app.prepare import prepare
from quietgate.errors import Exit
from quietgate.firewall.compare import compare
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("diff")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """Compare the policy on disk with what is in force. Exit code 5 when they differ.

    \b
    quietgate diff && echo "nothing to do"
    """
    parts = Parts.at(Paths(settings.root))
    prepared = prepare(parts.paths)
    record = in_force(parts.generations, look(parts.nft))
    text = prepared.text(1)
    changes = compare(record.text if record else "", text) if record is None or record.digest != prepared.digest else ()
    tampered = record is not None and drifted(parts.nft, record) is True
    if as_json:
        rows: list[dict[str, Any]] = [{"what": c.what, "old": c.old, "new": c.new} for c in changes]
        print(forms.form("diff", {"up": record is not None, "drift": tampered, "changes": rows}))
    elif record is None:
        print(f"nothing is in force; `quietgate up` would load {len(text.splitlines())} lines (see `quietgate show`)")
    else:
        for change in changes:
            print(safe(str(change), lines=True))
        if tampered:
            print("the table in the kernel was changed by somebody else since it was loaded; `quietgate up` mends it")
        if not changes and not tampered:
            print(f"no difference: generation {record.number} is in force and is what the policy says")
    return Exit.DRIFT if record is None or changes or tampered else Exit.OK
