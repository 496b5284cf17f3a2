"""`quietgate unban`."""

from __future__ import annotations

import sys
import time

import click

from quietgate.app.bans import Bans, Request
from quietgate.app.control import tell
from quietgate.app.deciding import usable
from quietgate.app.deeds import PATIENCE, Teller
from quietgate.app.parts import Parts
from quietgate.errors import Exit, InputError
from quietgate.host.journal_write import Log
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.paths import Paths
from quietgate.host.sessions import who
from quietgate.host.store import Store
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.commands.ban import WAIT
from quietgate.ui.targets import Mistake, read_targets
from quietgate.ui.text import plural, safe
from quietgate.values import Scope


@click.command("unban")
@click.argument("targets", nargs=-1, metavar="[ADDRESS]...")
@click.option("--scope", type=click.Choice([s.value for s in Scope]), help="Only bans of this scope. Default: both.")
@click.option("--all", "everyone", is_flag=True, help="Lift every ban.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, targets: tuple[str, ...], scope: str | None, everyone: bool, as_json: bool) -> int:
    """Lift bans. Effective before it returns.

    \b
    sudo quietgate unban 203.0.113.9
    sudo quietgate unban --all
    """
    if everyone and targets:
        raise InputError("--all and an address were both given", "name addresses, or --all")
    parts = Parts.at(Paths(settings.root))
    prepared, warning = usable(parts)
    if warning:
        print(f"warning: {safe(warning)}", file=sys.stderr)
    counting = prepared.policy.ssh.counting
    scopes = [Scope(scope)] if scope else list(Scope)
    mistakes: list[Mistake] = []
    missing: list[str] = []
    requests: list[Request] = []
    if not everyone:
        requests, mistakes = read_targets(targets, counting)
    with locked(parts.paths.lock, WAIT), Store(parts.paths.store) as store, SetWriter() as sets:
        now = time.time()
        lifted = []
        if everyone:
            lifted = [b for b in store.bans(now) if b.scope in scopes]
        for request in requests:
            found = [b for b in store.find(request.prefix) if b.scope in scopes]
            lifted += found
            if not found:
                wider = [str(b.prefix) for b in store.covering(request.prefix, now) if b.scope in scopes]
                inside = f"it is covered by {', '.join(wider)}; unban that" if wider else "it is not banned"
                missing.append(f"{request.prefix} ({safe(request.asked)}): {inside}")
        Bans(store, sets, counting, prepared.policy.bans.max, Teller(Log(settings.root, PATIENCE)).tell).unban(lifted, now, who())
    tell(parts.paths.control, "bans")
    if as_json:
        rows = [{"prefix": str(b.prefix), "scope": b.scope.value} for b in lifted]
        print(forms.form("unbanned", {"lifted": rows, "missing": missing, "mistakes": [str(m) for m in mistakes]}))
    else:
        for line in (*map(str, mistakes), *missing):
            print(line, file=sys.stderr)
        if lifted or everyone:
            print(f"lifted {plural(len(lifted), 'ban')}")
    if mistakes or missing:
        return Exit.PARTLY if lifted else Exit.USAGE if mistakes else Exit.FAILED
    return Exit.OK
