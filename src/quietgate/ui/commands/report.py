"""`quietgate report`."""

from __future__ import annotations

import click

from quietgate.app.parts import Parts
from quietgate.app.report import Row, observed
from quietgate.clock import format_duration, parse_duration
from quietgate.errors import InputError
from quietgate.host.paths import Paths
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import moment, plural, safe, table


@click.command("report")
@click.option("--observed", "only_observed", is_flag=True, help="What would have been banned in mode observe, beside fail2ban's bans.")
@click.option("--for", "length", default="7d", show_default=True, metavar="TIME", help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, only_observed: bool, length: str, as_json: bool) -> None:
    """What the guard would have done beside another tool, and what that tool did: before you let it.

    \b
    sudo quietgate report --observed
    """
    if not only_observed:
        raise InputError("there is one report for now", "quietgate report --observed")
    try:
        seconds = parse_duration(length)
    except ValueError as error:
        raise InputError(f"--for: {error}", "write it like 12h or 7d") from None
    found = observed(Parts.at(Paths(settings.root)), seconds)
    if as_json:
        rows = [{"source": str(r.source), "ours": r.ours, "why": r.why, "theirs": r.theirs, "jail": r.jail} for r in found.rows]
        print(forms.form("observed", {"since": found.since, "peer": found.peer, "rows": rows}))
        return
    both = [r for r in found.rows if r.ours is not None and r.theirs is not None]
    ours = [r for r in found.rows if r.theirs is None]
    theirs = [r for r in found.rows if r.ours is None]
    print(f"in the last {format_duration(seconds)}: {plural(len(both) + len(ours), 'source')} would have been banned")
    if not found.peer:
        print("there is no fail2ban here to compare with")
    else:
        print(
            f"fail2ban banned {len(both) + len(theirs)}: {len(both)} of them the same, {len(theirs)} that we would not have; it missed {len(ours)}"
        )
    if found.rows:
        rows_ = [("SOURCE", "WE WOULD HAVE", "FAIL2BAN DID", "WHY")]
        rows_ += [
            (str(r.source), moment(r.ours) if r.ours else "-", moment(r.theirs) if r.theirs else "-", safe(_why(r))) for r in found.rows
        ]
        print("\n".join(table(list(rows_))))


def _why(row: Row) -> str:
    return "; ".join(filter(None, [row.why, f"jail {row.jail}" if row.jail else ""]))
