"""`quietgate alerts`."""

from __future__ import annotations

import time

import click

from quietgate.alerts import record
from quietgate.clock import format_duration, parse_duration
from quietgate.errors import Exit, InputError
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Cell, Screen, Tone, here
from quietgate.ui.text import moment, plural, safe
from quietgate.values import Noted


@click.group("alerts", invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also what is over, and what was acknowledged.")
@click.option("--for", "length", default="30d", show_default=True, metavar="TIME", help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def command(ctx: click.Context, everything: bool, length: str, as_json: bool) -> None:
    """What a person should know: what stands, with what showed it and the command to run next.

    \b
    sudo quietgate alerts
    sudo quietgate alerts ack 3 4        it is known: say no more of it
    sudo quietgate alerts test           does every route work?
    """
    if ctx.invoked_subcommand is not None:
        return
    try:
        seconds = parse_duration(length)
    except ValueError as error:
        raise InputError(f"--for: {error}", "write it like 12h or 7d") from None
    settings: Settings = ctx.obj
    found = record.record(Parts.at(Paths(settings.root)), time.time() - seconds)
    shown = list(found.things) if everything else record.standing(found.things)
    if as_json:
        for n in shown:
            print(forms.form("alert", forms.alert(n)))
        return
    screen = here()
    if not shown:
        over = len(found.things)
        print(screen.line(f"nothing wants you; {plural(over, 'thing')} in the last {format_duration(seconds)}: quietgate alerts --all" if over
                          else f"nothing wants you, and nothing did in the last {format_duration(seconds)}"))  # fmt: skip
    for n in reversed(shown):
        print(_shown(n, screen))
    for p in found.waiting:
        if p.error:
            said = f"a message waits for {p.route.split('-')[0]} since {moment(p.made)}, tried {plural(p.tries, 'time')}: {p.error}"
            print(screen.line(said, Tone.BAD))


@command.command("ack")
@click.argument("numbers", nargs=-1, metavar="NUMBER...|all")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def ack(settings: Settings, numbers: tuple[str, ...], as_json: bool) -> None:
    """It is known: nothing more is said of these while they are the same.

    \b
    sudo quietgate alerts ack all
    """
    if not numbers or ("all" not in numbers and not all(n.isdigit() and len(n) < 18 for n in numbers)):
        raise InputError("which ones?", "write their numbers, as `quietgate alerts` shows them, or: all")
    done = record.acknowledge(Parts.at(Paths(settings.root)), None if "all" in numbers else [int(n) for n in numbers])
    print(forms.form("acknowledged", {"ids": done}) if as_json else f"{plural(len(done), 'alert')} acknowledged")


@command.command("test")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def test(settings: Settings, as_json: bool) -> int:
    """Send a message by every route, and say what came of it.

    \b
    sudo quietgate alerts test
    """
    tried = []
    for t in record.test(Parts.at(Paths(settings.root))):
        tried.append(t)
        # Never the URL: of some services it is the secret.
        where = f"{t.route.to} ({t.route.origin})"
        if as_json:
            print(
                forms.form(
                    "route",
                    {"to": t.route.to, "file": t.route.origin.file, "line": t.route.origin.line, "ok": not t.failed, "failed": t.failed},
                )
            )
        else:
            print(safe(f"{where}: it arrived" if not t.failed else f"{where}: {t.failed}" + (f"; {t.hint}" if t.hint else "")), flush=True)
    failed = sum(1 for t in tried if t.failed)
    return Exit.OK if not failed else Exit.PARTLY if failed < len(tried) else Exit.FAILED


def _shown(n: Noted, screen: Screen) -> str:
    first, *rest = _lines(n)
    tone = Tone.DIM if n.over or n.seen else Tone.BAD if n.severity == "page" else Tone.ADVICE
    said = [screen.table([(str(n.id), Cell(first, tone))])]
    return "\n".join([*said, *(screen.line(line, label=Tone.DIM) for line in rest)])


def _lines(n: Noted) -> list[str]:
    times = f", {n.count:,} times until {moment(n.last)}" if n.count > 1 else ""
    state = f"over: {n.over}" if n.over else "acknowledged" if n.seen else n.severity
    lines = [f"{n.what} ({state})", f"   {moment(n.first)}{times}"]
    lines += [f"   shown by: {e}" for e in n.evidence]
    if not n.over:
        lines += [f"   done: {n.done}", f"   next: {n.next}"]
    return lines
