"""`quietgate ban`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from quietgate.bans import deeds
from quietgate.bans.deeds import Wish
from quietgate.bans.writer import Consent, Outcome
from quietgate.clock import format_duration, parse_duration
from quietgate.errors import Exit, InputError
from quietgate.generations.deciding import usable
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.targets import Mistake, is_list, read_targets, say_left_out
from quietgate.ui.text import moment, plural, safe
from quietgate.values import Scope


@click.command("ban")
@click.argument("targets", nargs=-1, metavar="[ADDRESS]...")
@click.option("--for", "length", metavar="TIME", help='How long: 10m, 2h, 30d, or "forever". Default: bans.manual.for.')
@click.option("--scope", type=click.Choice([s.value for s in Scope]), help="The SSH ports, or every packet. Default: bans.manual.scope.")
@click.option("--evict", is_flag=True, help="Also an administrator's address: ends its open connections, takes it off the floor.")
@click.option(
    "--force", is_flag=True, help="Also what this host needs (gateway, resolvers, time servers), and a network that it stands in."
)
@click.option("--yes", is_flag=True, help="Also prefixes wider than an IPv4 /16 or IPv6 /32.")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the ban, and shown by `bans` and `why`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(
    settings: Settings,
    targets: tuple[str, ...],
    length: str | None,
    scope: str | None,
    evict: bool,
    force: bool,
    yes: bool,
    reason: str,
    as_json: bool,
) -> int:
    """Shut out addresses or prefixes. Effective before it returns, kept over reboots.

    A single address stands for its source: the /64, for IPv6 (write /128 for just the one). Addresses that must not
    be shut out are refused with the reason; a prefix around one is narrowed. What this host lives from is spared, unless
    it is named with --force.

    \b
    sudo quietgate ban 203.0.113.9 --for 1d --reason "guessing"
    sudo quietgate ban 203.0.113.0/24 --scope ssh
    sudo quietgate ban < addresses.txt      plain, Spamhaus, ipsum, hosts.deny, ipset save, csv, ranges
    sudo quietgate ban 203.0.113.9 --evict      a stolen administrator's account
    """
    parts = Parts.at(Paths(settings.root))
    prepared, warning = usable(parts)
    if warning:
        print(f"warning: {safe(warning)}", file=sys.stderr)
    manual = prepared.policy.bans
    seconds = manual.manual_for if length is None else _seconds(length)
    chosen = Scope(scope or manual.manual_scope)
    listed = is_list(targets)
    if force and listed:
        raise InputError("--force is for addresses that are named, not for a list", "name them after `quietgate ban --force`")
    requests, mistakes, left_out = read_targets(targets, prepared.policy.ssh.counting)
    wish = Wish(requests, chosen, seconds, reason, Consent(wide=yes, listed=listed), evict=evict, force=force)
    done = deeds.ban(parts, prepared, wish)
    outcome = done.outcome
    if as_json:
        print(_form(outcome, mistakes, left_out, done.now))
    else:
        _say(outcome, mistakes, done.until, chosen)
        say_left_out(left_out)
        if evict:
            print(f"evicted: {plural(done.ended, 'open SSH connection')} ended, and no address of theirs is kept open any more")
    return _code(outcome, mistakes)


def _seconds(text: str) -> int | None:
    if text in ("forever", "ever"):
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--for: {error}", 'write it like 10m, 2h, 30d or "forever"') from None
    if seconds < 1:
        raise InputError("--for: a ban lasts at least a second", 'write it like 10m, 2h, 30d or "forever"')
    return seconds


def _code(outcome: Outcome, mistakes: list[Mistake]) -> int:
    if mistakes or outcome.refused:
        if outcome.bans:
            return Exit.PARTLY
        return Exit.REFUSED if outcome.refused else Exit.USAGE
    return Exit.OK


def _say(outcome: Outcome, mistakes: list[Mistake], until: float | None, scope: Scope) -> None:
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    for request, why in outcome.refused:
        print(f"refused: {request.prefix} ({safe(request.asked)}): {why}", file=sys.stderr)
    for request, why, pieces in outcome.narrowed:
        print(f"narrowed: {request.prefix} became {plural(pieces, 'prefix')[:-1]}es around what must stay: {why}"
              if pieces > 1 else f"narrowed: {request.prefix} became {pieces} prefix beside what must stay: {why}", file=sys.stderr)  # fmt: skip
    if not outcome.bans:
        return
    end = "for ever" if until is None else f"until {moment(until)} ({format_duration(until - outcome.bans[0].since)})"
    what = "the SSH ports" if scope is Scope.SSH else "the whole host"
    who = str(outcome.bans[0].prefix) if len(outcome.bans) == 1 else plural(len(outcome.bans), "prefix").replace("prefixs", "prefixes")
    print(f"banned {who} from {what} {end}" + (f"; {outcome.replaced} replaced an earlier ban" if outcome.replaced else ""))
    if outcome.evicted:
        print(f"bans.max is reached: {plural(len(outcome.evicted), 'ban')} that would have ended soonest left", file=sys.stderr)
    if not outcome.in_kernel:
        print("quietgate is down: the ban is kept, and takes effect with `quietgate up`", file=sys.stderr)


def _form(outcome: Outcome, mistakes: list[Mistake], left_out: Mapping[str, int], now: float) -> str:
    fields: dict[str, Any] = {
        "banned": [forms.ban(b, now) for b in outcome.bans],
        "refused": [{"prefix": str(r.prefix), "asked": r.asked, "why": why} for r, why in outcome.refused],
        "narrowed": [{"prefix": str(r.prefix), "asked": r.asked, "why": why, "into": n} for r, why, n in outcome.narrowed],
        "mistakes": [{"where": m.where, "what": m.what, "remedy": m.remedy} for m in mistakes],
        "left_out": [{"why": why, "lines": count} for why, count in left_out.items()],
        "replaced": outcome.replaced,
        "evicted": [forms.ban(b, now) for b in outcome.evicted],
        "in_kernel": outcome.in_kernel,
    }
    return forms.form("banned", fields)
