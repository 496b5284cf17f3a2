"""`quietgate show`."""

from __future__ import annotations

from pathlib import Path

import click

from quietgate.app.generations import Generations
from quietgate.app.prepare import Prepared, prepare
from quietgate.errors import QuietgateError
from quietgate.host.paths import Paths
from quietgate.policy.terms import Addresses
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("show")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--origin", is_flag=True, help="Print every setting with the file and line it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, files: tuple[Path, ...], origin: bool, as_json: bool) -> None:
    """Print the ruleset that `up` would load: valid input for `nft -f`.

    \b
    quietgate show
    quietgate show --origin          where each setting comes from
    quietgate show ./new.toml | nft -c -f -
    """
    paths = Paths(settings.root)
    prepared = prepare(paths, files)
    if origin:
        _origins(prepared, as_json=as_json)
        return
    text = prepared.text(_number(paths, prepared))
    print(forms.form("show", {"ruleset": text, "digest": prepared.digest}) if as_json else text, end="\n" if as_json else "")


def _number(paths: Paths, prepared: Prepared) -> int:
    try:
        newest = Generations(paths.generations).newest()
    except QuietgateError:
        return 1  # without root the number is not known; it only names chains
    if newest is None:
        return 1
    return newest.number if newest.digest == prepared.digest else newest.number + 1


def _origins(prepared: Prepared, *, as_json: bool) -> None:
    rows = []
    for path, value in prepared.policy.values.items():
        origins = prepared.policy.origins.get(path, ())
        rows.append((path, _value(value), ", ".join(map(str, origins)) or "default"))
    for rule in prepared.policy.firewall.rules:
        rows.append((f"firewall.rule.{rule.name}", rule.action, str(rule.origin)))
    if as_json:
        print(forms.form("origins", {"settings": [{"path": p, "value": v, "origin": o} for p, v, o in rows]}))
        return
    for path, value, where in rows:
        print(safe(f"{path} = {value}  # {where}"))


def _value(value: object) -> str:
    if isinstance(value, Addresses):
        return str([*(["anywhere"] if value.anywhere else []), *(str(e) for e in value.entries)])
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return str([str(v) for v in value])
    return str(value)
