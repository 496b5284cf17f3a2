"""`quietgate allow`."""

from __future__ import annotations

import sys
import time

import click

from quietgate.bans import deeds
from quietgate.clock import format_duration
from quietgate.errors import Exit, InputError
from quietgate.generations.deciding import usable
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.state import grants
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.targets import grant_seconds, read_targets
from quietgate.ui.text import moment, safe


@click.command("allow")
@click.argument("targets", nargs=-1, metavar="[ADDRESS]...")
@click.option("--for", "length", metavar="TIME", help="How long: 30m, 2h, 7d.")
@click.option("--end", is_flag=True, help="Not any longer.")
@click.option("--reason", default="", metavar="TEXT", help="Kept with it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, targets: tuple[str, ...], length: str | None, end: bool, reason: str, as_json: bool) -> int:
    """Let addresses in on the SSH ports for a time, without touching the policy. Effective before it returns, kept over reboots.

    They are not limited and not banned, and are let in wherever the policy lets nobody else in. Without an address: who is let in now.

    \b
    sudo quietgate allow --for 2h 203.0.113.9 --reason "the hotel of next week"
    sudo quietgate allow --end 203.0.113.9
    sudo quietgate allow
    """
    parts = Parts.at(Paths(settings.root))
    if not targets:
        if end or length:
            raise InputError("no address was named", "name one or more")
        return _show(parts, as_json)
    if end == (length is not None):
        raise InputError("--for says how long, --end that it is over: one of them is needed", "quietgate allow --for 2h ADDRESS")
    prepared, warning = usable(parts)
    if warning:
        print(f"warning: {safe(warning)}", file=sys.stderr)
    counting = prepared.policy.ssh.counting
    seconds = grant_seconds(length) if length is not None else 0
    requests, mistakes, _ = read_targets(targets, counting)
    wide = [r for r in requests if not counting.is_source(r.prefix) and not r.prefix.single]
    if mistakes or wide:
        for mistake in mistakes:
            print(mistake, file=sys.stderr)
        for request in wide:
            print(f"{request.prefix}: more than one source is not let in for a time; write it into trusted in [ssh]", file=sys.stderr)
        return Exit.USAGE
    ended, until = 0, None
    if end:
        ended = deeds.end_allowed(parts, prepared, requests)
    else:
        until = deeds.allow(parts, prepared, requests, seconds, reason)
    names = ", ".join(str(r.prefix) for r in requests)
    if as_json:
        print(forms.form("allowed", {"allowed": [] if end else [str(r.prefix) for r in requests], "until": until,
                                     "ended": ended}))  # fmt: skip
    elif end:
        print(f"ended for {names}" if ended else f"{names}: was not let in for a time", file=sys.stdout if ended else sys.stderr)
    elif until is not None:
        print(f"let in on the SSH ports until {moment(until)} ({format_duration(seconds)}): {names}")
    return Exit.FAILED if end and not ended else Exit.OK


def _show(parts: Parts, as_json: bool) -> int:
    now = time.time()
    with parts.look() as store:
        found = grants.standing(store, grants.Kind.ALLOW, now)
    if as_json:
        rows = [{"prefix": str(g.prefix), "until": g.until, "by": g.by, "reason": g.reason} for g in found]
        print(forms.form("allowed", {"allowed": rows, "until": None, "ended": 0}))
        return Exit.OK
    for g in found:
        print(f"{g.prefix}  until {moment(g.until)}  by {safe(g.by)}" + (f"  {safe(g.reason)}" if g.reason else ""))
    if not found:
        print("nobody is let in for a time: the policy alone decides")
    return Exit.OK
