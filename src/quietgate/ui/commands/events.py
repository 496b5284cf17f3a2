"""`quietgate events`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from quietgate.app.control import NeedsDaemon, connected
from quietgate.host.paths import Paths
from quietgate.ui.cli import Settings
from quietgate.ui.text import moment, safe


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on as they come (the only way there is, for now).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def command(settings: Settings, follow: bool, as_json: bool) -> None:  # noqa: ARG001
    """What the guard sees and does, as it happens.

    \b
    sudo quietgate events -f
    sudo quietgate events -f --json | jq 'select(.event == "ban")'
    """
    with connected(Paths(settings.root).control, None) as stream:
        stream.write(b'{"ask": "events"}\n')
        stream.flush()
        stream.readline()
        for line in stream:
            event = json.loads(line)
            if "error" in event:
                raise NeedsDaemon(event["error"], "start it again: quietgate events -f")
            print(line.decode().rstrip() if as_json else safe(_words(event)), flush=True)
            sys.stdout.flush()


def _words(e: dict[str, Any]) -> str:
    at = moment(e["at"])
    match e["event"]:
        case "attempt":
            user = f" as {e['user']}" if e["user"] else ""
            return f"{at}  {e['outcome']}  {e['address']}{user} ({e['method']})" + (f" x{e['times']}" if e["times"] > 1 else "")
        case "ban":
            return f"{at}  banned  {e['source']} until {moment(e['until'])} ({e['reason']})"
        case "would-ban":
            return f"{at}  would ban  {e['source']} until {moment(e['until'])} ({e['reason']})"
        case "login":
            return f"{at}  login  {e['user']} from {e['address']}"
        case "spared":
            return f"{at}  spared  {e['source']}: {e['why']} ({e['detector']})"
        case other:
            return f"{at}  {other}"
