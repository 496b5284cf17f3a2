"""`quietgate show`."""

from __future__ import annotations

from pathlib import Path

import click

from quietgate.errors import QuietgateError
from quietgate.generations.plan import Prepared, prepare
from quietgate.generations.records import Generations
from quietgate.host.paths import Paths
from quietgate.policy.terms import Addresses
from quietgate.policy.written import raw, toml
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("show")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--origin", is_flag=True, help="Print every setting as TOML, with the file and line it comes from.")
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
        kept = Generations(paths.generations)
        newest = kept.newest()
    except QuietgateError:
        return 1  # without root the number is not known; it only names chains
    return newest.number if newest is not None and newest.digest == prepared.digest else kept.following(0)


def _origins(prepared: Prepared, *, as_json: bool) -> None:
    rows: list[tuple[str, object, str]] = []
    for path, value in prepared.policy.values.items():
        origins = ", ".join(map(str, prepared.policy.origins.get(path, ()))) or "default"
        groups = sorted({f"@{e.group}" for e in value.entries if e.group}) if isinstance(value, Addresses) else []
        rows.append((path, raw(path, value), f"{origins} ({', '.join(groups)})" if groups else origins))
    for rule in prepared.policy.firewall.rules:
        rows.append((f"firewall.rule.{rule.name}", rule.action, str(rule.origin)))
    if as_json:
        print(forms.form("origins", {"settings": [{"path": p, "value": v, "origin": o} for p, v, o in rows]}))
        return
    for path, found, where in rows:
        print(f"{path} = {safe(toml(found), lines=True)}  # {safe(where)}")  # `lines`: a long list is not cut, and TOML escapes line ends
