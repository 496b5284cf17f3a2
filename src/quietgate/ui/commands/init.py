"""`quietgate init`."""

from __future__ import annotations

import sys

import click

from quietgate.errors import InputError
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.inspect.survey import install, proposal
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("init")
@click.option("--closed", is_flag=True, help="Propose a policy that drops what is not in use here.")
@click.option("--print", "only_print", is_flag=True, help="Print the policy, write nothing.")
@click.option("--force", is_flag=True, help="Replace a policy that is there; it is kept beside it, as quietgate.toml.old.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, closed: bool, only_print: bool, force: bool, as_json: bool) -> None:
    """Look at this host and write a policy that fits it. Nothing is put in force.

    \b
    sudo quietgate init
    sudo quietgate init --closed --print     what a policy that drops by default would be
    """
    paths = Paths(settings.root)
    if paths.policy.exists() and not (force or only_print):
        raise InputError(f"{paths.policy}: there is a policy already", "see another proposal with --print, or replace it with --force")
    parts = Parts.at(paths)
    proposed = proposal(parts, closed=closed)
    if not only_print:
        install(parts, proposed)
    text, said = proposed.text, proposed.said
    if as_json:
        print(forms.form("init", {"file": None if only_print else str(paths.policy), "policy": text, "found": said}))
        return
    for line in said:
        print(safe(line), file=sys.stderr if only_print else sys.stdout)
    print(text if only_print else f"wrote {paths.policy}; next: quietgate check, then quietgate up", end="" if only_print else "\n")
