"""`quietgate up`."""

from __future__ import annotations

import sys

import click

from quietgate.app.apply import Parts, up
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import plural, safe


@click.command("up")
@click.option("--now", is_flag=True, help="Confirm at once. In this version every `up` does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, now: bool, as_json: bool) -> None:  # noqa: ARG001
    """Put the policy in force, in one transaction: all of it or nothing.

    Open sessions, bans and counters live on. Twice is the same as once.

    \b
    quietgate check && sudo quietgate up
    """
    parts = Parts.at(Paths(settings.root))
    done = up(parts)
    ports = ", ".join(map(str, done.prepared.ports.ports))
    if as_json:
        print(forms.form("up", {"generation": done.number, "changed": done.changed, "bans": done.bans,
                                "ssh_ports": done.prepared.ports.ports,
                                "warnings": [forms.problem(w) for w in done.prepared.warnings]}))  # fmt: skip
        return
    for warning in done.prepared.warnings:
        print(f"warning: {safe(str(warning))}", file=sys.stderr)
    what = "is in force" if done.changed else "was in force already"
    print(f"generation {done.number} {what}: SSH on {ports}, {plural(done.bans, 'ban')}")
