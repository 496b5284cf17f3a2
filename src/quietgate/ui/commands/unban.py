"""`quietgate unban`."""

from __future__ import annotations

import sys
from collections import Counter

import click

from quietgate.bans import deeds
from quietgate.bans.writer import Request
from quietgate.errors import Exit, InputError
from quietgate.generations.deciding import usable
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.targets import Mistake, grant_seconds, read_targets, say_left_out
from quietgate.ui.text import moment, plural, safe
from quietgate.values import Scope


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
    requests: list[Request] = []
    left_out: Counter[str] = Counter()
    seconds = None if length is None else grant_seconds(length)
    if everyone and seconds is not None:
        raise InputError("--all and --for were both given", "name the addresses that are not to be banned again")
    if not everyone:
        requests, mistakes, left_out = read_targets(targets, counting)
    done = deeds.unban_all(parts, prepared, scopes) if everyone else deeds.unban(parts, prepared, requests, scopes, seconds)
    lifted, opened, until = done.lifted, done.opened, done.until
    missing = [] if until is not None else [
        f"{r.prefix} ({safe(r.asked)}): neither it nor anything in it is banned" + (f" in scope {scope}" if scope else "") for r in done.missing
    ]  # fmt: skip
    if as_json:
        rows = [{"prefix": str(b.prefix), "scope": b.scope.value} for b in lifted]
        holes = [{"prefix": str(r.prefix), "out_of": str(b.prefix), "scope": b.scope.value} for r, b in opened]
        print(forms.form("unbanned", {"lifted": rows, "opened": holes, "missing": missing, "mistakes": [str(m) for m in mistakes],
                                      "pardoned_until": until}))  # fmt: skip
    else:
        for line in (*map(str, mistakes), *missing):
            print(line, file=sys.stderr)
        say_left_out(left_out)
        for request, ban in opened:
            print(f"let {request.prefix} out of the ban of {ban.prefix}; the rest of it stays banned")
        if lifted or everyone:
            print(f"lifted {plural(len(lifted), 'ban')}")
        if until is not None:
            print(f"the guard does not ban {'it' if len(requests) == 1 else 'them'} again before {moment(until)}")
    if mistakes or missing:
        return Exit.PARTLY if lifted or opened else Exit.USAGE if mistakes else Exit.FAILED
    return Exit.OK
