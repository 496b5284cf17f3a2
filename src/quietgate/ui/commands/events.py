"""`quietgate events`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import click

from quietgate.control.client import NeedsDaemon, connected
from quietgate.generations.history import event, words
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.state import history
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.since import parse_since
from quietgate.ui.text import moment, safe
from quietgate.values import Deed, What

USUAL = "24h"
PLAIN = frozenset({"form", "version", "event", "at"})
UNWRITTEN = 600.0  # seconds for which an event without a number may be in the history as well


@click.command("events")
@click.option(
    "--since", metavar="TIME", help=f'From when: 12h, 7d, 2026-11-26, "2026-11-26 22:00". Default: {USUAL}; with -f only what comes.'
)
@click.option("-f", "--follow", is_flag=True, help="Go on as they come, with attempts and logins too. Needs the guard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def command(settings: Settings, since: str | None, follow: bool, as_json: bool) -> None:
    """What quietgate did: bans, unbans and what became of rulesets, by whom and why; the oldest first.

    With -f also what the guard sees, as it happens.

    \b
    sudo quietgate events --since 12h
    sudo quietgate events --since 2026-11-26 --json | jq 'select(.event == "ban")'
    sudo quietgate events --since 1h -f
    """
    paths = Paths(settings.root)
    start = None if follow and since is None else parse_since(since or USUAL, time.time())
    if not follow:
        for deed in _recorded(paths, start or 0.0):
            _print(deed, as_json=as_json)
        return
    with connected(paths.control, None) as stream:
        stream.write(b'{"ask": "events"}\n')
        stream.flush()
        _checked(json.loads(stream.readline()))
        # It listens by now: what happens while the history is read is heard below, and known by its number.
        last, late = 0, set[tuple[str, float | None]]()
        for deed in _recorded(paths, start) if start is not None else ():
            _print(deed, as_json=as_json)
            last = deed.id
            if deed.what is What.BAN and deed.at > time.time() - UNWRITTEN:
                late.add((deed.subject, deed.until))
        for line in stream:
            found = _checked(json.loads(line))
            if "seq" in found and found["seq"] <= last:
                continue
            if found["event"] == "ban" and "seq" not in found and (found["source"], found["until"]) in late:
                continue
            print(line.decode().rstrip() if as_json else safe(_words(found)), flush=True)


def _recorded(paths: Paths, since: float) -> Iterator[Deed]:
    with Parts.at(paths).look() as store:
        yield from history.read(store, since=since)


def _print(deed: Deed, *, as_json: bool) -> None:
    print(forms.plain(event(deed)) if as_json else f"{moment(deed.at)}  {words(deed)}", flush=True)


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    if "error" in found:
        raise NeedsDaemon(found["error"], "start it again: quietgate events -f")
    return found


def _words(e: dict[str, Any]) -> str:
    at = moment(e["at"])
    match e["event"]:
        case "attempt":
            user = f" as {e['user']}" if e["user"] else ""
            return f"{at}  {e['outcome']}  {e['address']}{user} ({e['method']})" + (f" x{e['times']}" if e["times"] > 1 else "")
        case "would-ban":
            return f"{at}  would ban  {e['source']} until {moment(e['until'])} ({e['reason']})"
        case "login":
            return f"{at}  login  {e['user']} from {e['address']}"
        case "spared":
            return f"{at}  spared  {e['source']}: {e['why']} ({e['detector']})"
        case "alert":
            over, count = e.get("over"), e.get("count", 1)
            end = f" (over: {over})" if over else f", {count} times" if count > 1 else ""
            about = " ".join(filter(None, [e.get("topic"), e.get("subject")]))
            return f"{at}  {e.get('severity', 'alert')}  {about + ': ' if about else ''}{e['said']}{end}"
        case "table" | "mended":
            return f"{at}  {e['event']}  {e['done']}"
        case other:
            with contextlib.suppress(ValueError, KeyError):
                subject = e["source"] if "source" in e else str(e["generation"])
                return f"{at}  {words(Deed(e['at'], What(other), subject, e.get('scope', ''), e.get('until'), e['by'], e['reason']))}"
            # A newer guard's: all that it says, for want of better words.
            return "  ".join([at, str(other), *(f"{k} {v}" for k, v in e.items() if k not in PLAIN and v not in ("", None))])
