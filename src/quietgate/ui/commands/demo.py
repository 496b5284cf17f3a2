"""`quietgate demo`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from quietgate.demo.stage import BOTS, GUESSERS, STARTUPS, Seen, Server, Stage
from quietgate.errors import NotPermitted
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import plural, safe

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("demo")
@click.option("--seconds", type=click.IntRange(5, 600), default=40, show_default=True, help="How long the attack lasts.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_obj
def command(settings: Settings, seconds: int, as_json: bool) -> None:  # noqa: ARG001
    """Two real servers under the same attack, one of them with quietgate: in namespaces of their own, touching nothing else.

    \b
    sudo quietgate demo
    """
    import os

    if os.geteuid() != 0:
        raise NotPermitted("the demo makes network namespaces", "run this as root, with sudo")
    signal.signal(signal.SIGTERM, _interrupted)
    print("setting the stage: two servers, each with a real sshd, and a world full of bots ...", file=sys.stderr, flush=True)
    with Stage() as stage:
        stage.attack()
        if sys.stdout.isatty() and not as_json:
            _live(stage, seconds)
        else:
            _plain(stage, seconds, quiet=as_json)
        last = stage.seen()
    if as_json:
        print(
            forms.form(
                "demo", {"seconds": last.seconds, "bans": last.bans, "limited": last.limited, "servers": [_row(s) for s in last.servers]}
            )
        )
        return
    for line in summary(last):
        print(line)


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _plain(stage: Stage, seconds: int, *, quiet: bool) -> None:
    until = stage.begun + seconds
    while time.monotonic() < until:
        time.sleep(min(5.0, max(0.0, until - time.monotonic())))
        seen = stage.seen()
        if not quiet:
            parts = [f"{s.name}: {s.processes} sshd processes, administrator {s.logins} of {s.logins + s.failed}" for s in seen.servers]
            print(f"{seen.seconds:4.0f} s  {'; '.join(parts)}; {plural(seen.bans, 'ban')}", flush=True)


def _live(stage: Stage, seconds: int) -> None:
    from rich.live import Live

    until = stage.begun + seconds
    with Live(view(stage.seen(), seconds), refresh_per_second=4, transient=True) as live:
        while time.monotonic() < until:
            time.sleep(0.5)
            live.update(view(stage.seen(), seconds))


def view(seen: Seen, seconds: int) -> RenderableType:
    """One calm picture: both servers side by side, and what was shut out and why."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True, box=None, padding=(0, 2))
    table.add_column("")
    for server in seen.servers:
        table.add_column(f"{server.name} quietgate", justify="right", style="bold green" if server.guarded else "red")
    for label, cell in _CELLS:
        table.add_row(label, *(cell(s) for s in seen.servers))
    lines = Text("\n".join(safe(e) for e in seen.events) or "...", style="dim")
    head = f"{BOTS} bots, {GUESSERS} guessers, one administrator   {seen.seconds:3.0f} of {seconds} s"
    foot = f"{seen.bans} banned   {seen.limited:,} connections stopped by the limit and the reserve   sshd MaxStartups {STARTUPS}"
    return Panel(Group(table, Text(""), lines), title=head, subtitle=foot, padding=(1, 2))


_CELLS: tuple[tuple[str, Callable[[Server], str]], ...] = (
    ("sshd processes, not logged in", lambda s: f"{'█' * min(24, s.processes // 2)}  {s.processes:3d}"),
    ("administrator in at first try", lambda s: f"{s.logins} of {s.logins + s.failed}"),
    ("his slowest login", lambda s: f"{s.slowest:.1f} s"),
    ("attackers sshd had to answer", lambda s: f"{s.reached:,}"),
)


def _row(s: Server) -> dict[str, object]:
    return {"name": s.name, "logins": s.logins, "failed": s.failed, "most_processes": s.most, "slowest": s.slowest, "reached": s.reached}


def summary(seen: Seen) -> list[str]:
    """What it came to."""
    lines = [f"after {seen.seconds:.0f} s of {BOTS} bots and {GUESSERS} guessers:"]
    for s in seen.servers:
        lines.append(f"  {s.name:7} quietgate: the administrator got in {s.logins} of {s.logins + s.failed} times at the first try, "
                     f"at most {s.most} sshd processes, {s.reached:,} attackers answered")  # fmt: skip
    lines.append(
        f"  {plural(seen.bans, 'ban')} (a network that several guess from is one more), {seen.limited:,} connections stopped before sshd saw them"
    )
    return lines
