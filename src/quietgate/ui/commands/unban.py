"""`quietgate unban`."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

from quietgate.app.bans import Bans, Request
from quietgate.app.control import tell
from quietgate.app.deciding import usable
from quietgate.app.deeds import PATIENCE, Teller
from quietgate.app.parts import Parts
from quietgate.errors import Exit, InputError
from quietgate.host import grants
from quietgate.host.journal_write import Log
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.paths import Paths
from quietgate.host.sessions import who
from quietgate.host.store import Store
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.commands.ban import WAIT
from quietgate.ui.targets import Mistake, grant_seconds, read_targets, say_left_out
from quietgate.ui.text import moment, plural, safe
from quietgate.values import Ban, Scope


@click.command("unban")
@click.argument("targets", nargs=-1, metavar="[ADDRESS]...")
@click.option("--scope", type=click.Choice([s.value for s in Scope]), help="Only bans of this scope. Default: both.")
@click.option("--for", "length", metavar="TIME", help="The guard does not ban it again before: 1h, 1d, 30d.")
@click.option("--all", "everyone", is_flag=True, help="Lift every ban.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, targets: tuple[str, ...], scope: str | None, length: str | None, everyone: bool, as_json: bool) -> int:
    """Lift bans. Effective before it returns.

    What `ban` made of the same words is lifted, and every ban inside it. Out of a wider ban it is let out, and the rest stays banned.

    \b
    sudo quietgate unban 203.0.113.9
    sudo quietgate unban 203.0.113.0/24         and all that is banned in it
    sudo quietgate unban 203.0.113.9 --for 1d   and the guard leaves it alone until tomorrow
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
    left_out: Counter[str] = Counter()
    seconds = None if length is None else grant_seconds(length)
    if everyone and seconds is not None:
        raise InputError("--all and --for were both given", "name the addresses that are not to be banned again")
    if not everyone:
        requests, mistakes, left_out = read_targets(targets, counting)
    with locked(parts.paths.lock, WAIT), Store(parts.paths.store) as store, SetWriter() as sets:
        now, by = time.time(), who()
        bans = Bans(store, sets, counting, prepared.policy.bans.max, Teller(Log(settings.root, PATIENCE)).tell)
        lifted = [b for b in store.bans(now) if b.scope in scopes] if everyone else []
        opened: list[tuple[Request, Ban]] = []
        for request in requests:
            found = bans.inside(request.prefix, scopes, now)
            # Once more before the hole is made: a piece of it may be a ban of its own.
            wider = bans.open_in(request.prefix, scopes, now, by)
            opened += [(request, ban) for ban in wider]
            lifted += found
            if not found and not wider:
                missing.append(f"{request.prefix} ({safe(request.asked)}): neither it nor anything in it is banned"
                               + (f" in scope {scope}" if scope else ""))  # fmt: skip
        lifted = list({(b.prefix, b.scope): b for b in lifted}.values())
        bans.unban(lifted, now, by)
        if seconds is not None:
            grants.put(store, [grants.Grant(grants.Kind.PARDON, r.prefix, now + seconds, by) for r in requests])
            missing = []
    tell(parts.paths.control, "bans")
    if as_json:
        rows = [{"prefix": str(b.prefix), "scope": b.scope.value} for b in lifted]
        holes = [{"prefix": str(r.prefix), "out_of": str(b.prefix), "scope": b.scope.value} for r, b in opened]
        print(forms.form("unbanned", {"lifted": rows, "opened": holes, "missing": missing, "mistakes": [str(m) for m in mistakes],
                                      "pardoned_until": None if seconds is None else now + seconds}))  # fmt: skip
    else:
        for line in (*map(str, mistakes), *missing):
            print(line, file=sys.stderr)
        say_left_out(left_out)
        for request, ban in opened:
            print(f"let {request.prefix} out of the ban of {ban.prefix}; the rest of it stays banned")
        if lifted or everyone:
            print(f"lifted {plural(len(lifted), 'ban')}")
        if seconds is not None:
            print(f"the guard does not ban {'it' if len(requests) == 1 else 'them'} again before {moment(now + seconds)}")
    if mistakes or missing:
        return Exit.PARTLY if lifted or opened else Exit.USAGE if mistakes else Exit.FAILED
    return Exit.OK
