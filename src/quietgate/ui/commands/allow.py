"""`quietgate allow`."""

from __future__ import annotations

import sys
import time

import click

from quietgate.app import admins
from quietgate.app.control import tell
from quietgate.app.deciding import usable
from quietgate.app.deeds import PATIENCE, Teller, note_in
from quietgate.app.parts import Parts
from quietgate.clock import format_duration
from quietgate.errors import Exit, InputError
from quietgate.host import grants
from quietgate.host.journal_write import Log
from quietgate.host.lock import locked
from quietgate.host.netlink import SetWriter
from quietgate.host.paths import Paths
from quietgate.host.sessions import who
from quietgate.host.store import Store
from quietgate.net import BITS, Prefix
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.commands.ban import WAIT
from quietgate.ui.targets import grant_seconds, read_targets
from quietgate.ui.text import moment, safe
from quietgate.values import Deed, What


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
    with locked(parts.paths.lock, WAIT), Store(parts.paths.store) as store, SetWriter() as sets:
        now, by = time.time(), who()
        done = 0
        if end:
            done = sum(grants.end(store, grants.Kind.ALLOW, r.prefix) for r in requests)
        else:
            found = [
                grants.Grant(
                    grants.Kind.ALLOW, Prefix(r.prefix.version, r.prefix.value, BITS[r.prefix.version]), now + seconds, by, reason[:1000]
                )
                for r in requests
            ]
            grants.put(store, found)
            note_in(store, [Deed(now, What.ALLOW, str(r.prefix), "ssh", now + seconds, by, reason[:1000]) for r in requests],
                    Teller(Log(settings.root, PATIENCE)).tell)  # fmt: skip
        admins.fill(sets, counting, admins.sources(store, counting, now))
    tell(parts.paths.control, "bans")
    names = ", ".join(str(r.prefix) for r in requests)
    if as_json:
        print(forms.form("allowed", {"allowed": [] if end else [str(r.prefix) for r in requests], "until": None if end else now + seconds,
                                     "ended": done}))  # fmt: skip
    elif end:
        print(f"ended for {names}" if done else f"{names}: was not let in for a time", file=sys.stdout if done else sys.stderr)
    else:
        print(f"let in on the SSH ports until {moment(now + seconds)} ({format_duration(seconds)}): {names}")
    return Exit.FAILED if end and not done else Exit.OK


def _show(parts: Parts, as_json: bool) -> int:
    now = time.time()
    found = []
    if parts.paths.store.exists():
        with Store(parts.paths.store, read_only=True) as store:
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
