"""`quietgate check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from quietgate.generations.plan import prepare
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import plural, safe


@click.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, files: tuple[Path, ...], as_json: bool) -> None:
    """Is the policy right? Changes nothing.

    Without FILE it checks the installed policy. Every mistake is named with its file, its line and what to do.

    \b
    quietgate check
    quietgate check ./quietgate.toml
    """
    prepared = prepare(Paths(settings.root), files)
    rules = sum(len(c.rules) for c in prepared.ruleset.chains)
    if as_json:
        print(forms.form("check", {"ok": True, "files": prepared.files, "rules": rules, "ssh_ports": prepared.ports.ports,
                                   "warnings": [forms.problem(w) for w in prepared.warnings]}))  # fmt: skip
        return
    for warning in prepared.warnings:
        print(f"warning: {safe(str(warning))}", file=sys.stderr)
    ports = ", ".join(map(str, prepared.ports.ports))
    said = f", {plural(len(prepared.warnings), 'warning')}" if prepared.warnings else ""
    print(f"{', '.join(prepared.files)}: right{said}; {plural(rules, 'rule')} in the kernel, SSH on {ports} ({prepared.ports.why})")
