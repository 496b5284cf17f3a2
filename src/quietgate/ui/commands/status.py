"""`quietgate status`."""

from __future__ import annotations

import click

from quietgate.app.apply import Parts
from quietgate.app.status import Status, counter_words, status
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe, table


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:
    """What is true now: the verdict first, the next command last.

    \b
    sudo quietgate status
    sudo quietgate status --json | jq .verdict
    """
    found = status(Parts.at(Paths(settings.root)))
    if as_json:
        print(forms.form("status", forms.status(found)))
        return
    for line in _lines(found):
        print(safe(line))


def _lines(s: Status) -> list[str]:
    rows: list[tuple[str, ...]] = [("ssh ports", f"{', '.join(map(str, s.ssh_ports))} ({s.ports_why})")]
    if s.limit:
        rows.append(("who", f"{s.who}; limit {s.limit} for each source"))
    rows.append(("bans", f"{s.bans:,} now, {s.bans_day:,} of them made in 24 h"))
    rows += [("count", f"{s.counters[name]:,} {words}") for name, words in counter_words().items() if s.counters.get(name)]
    if s.conntrack is not None:
        rows.append(("conntrack", f"{s.conntrack[0]:,} of {s.conntrack[1]:,}"))
    for line in s.policy_error.splitlines():
        rows.append(("policy", line))
    if s.policy_differs:
        rows.append(("policy", "on disk is not what is in force"))
    rows += [("warning", w) for w in s.warnings]
    return [f"{s.verdict}: {s.why}", *("  " + line for line in table(rows)), f"next: {s.next}"]
