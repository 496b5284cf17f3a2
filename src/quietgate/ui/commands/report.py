"""`quietgate report`."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from pathlib import Path

import click

from quietgate.alerts.notifier import SUMMED
from quietgate.clock import format_duration, parse_duration
from quietgate.control.client import tell
from quietgate.errors import InputError, QuietgateError
from quietgate.generations.deciding import usable
from quietgate.generations.in_force import settings as guard_settings
from quietgate.generations.installation import Parts
from quietgate.generations.plan import prepare_from
from quietgate.hindsight import digest as look
from quietgate.hindsight.logs import Logs
from quietgate.hindsight.look_back import look_back
from quietgate.hindsight.observed import Row, compared
from quietgate.host.files import write_where_told
from quietgate.host.paths import Paths
from quietgate.host.surroundings import surroundings
from quietgate.policy.routes import for_digest, key, recipients
from quietgate.sshlog.lines import PROGRAMS
from quietgate.state.alerts import Book
from quietgate.ui import digest as show
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.commands.parse import unread_words
from quietgate.ui.since import parse_since
from quietgate.ui.terminal import Row as Line
from quietgate.ui.terminal import here
from quietgate.ui.text import moment, plural, safe
from quietgate.values import Parcel


@click.command("report")
@click.argument("logs", nargs=-1, metavar="[LOGS]...", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--since", metavar="TIME", help="Of logs: from when, as 12h, 7d, 2026-11-26.")
@click.option("--until", metavar="TIME", help="Of logs: until when.")
@click.option("--program", type=click.Choice(PROGRAMS), default=None, help="Of logs: whose lines they are, where they do not tell.")
@click.option("--for", "length", default=None, metavar="TIME", help="How far back; 1d unless said, with --observed 7d.")
@click.option("--html", "file", metavar="FILE", help="Write one self-contained page; - for standard output.")
@click.option("--send", is_flag=True, help="Send it to whom [digest] names, as the guard does when it is due.")
@click.option(
    "--observed", "only_observed", is_flag=True, help="The guard's bans, or in mode observe those it would have made, beside fail2ban's."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(
    settings: Settings,
    logs: tuple[Path, ...],
    since: str | None,
    until: str | None,
    program: str | None,
    length: str | None,
    file: str | None,
    send: bool,
    only_observed: bool,
    as_json: bool,
) -> None:
    """What was shut out, from where, which names were tried, what changed, what deserves a look: the digest.

    \b
    sudo quietgate report
    sudo quietgate report --for 7d --html /tmp/week.html
    sudo quietgate report --observed         our bans beside fail2ban's, in either mode
    quietgate report /var/log/auth.log*      the same of old logs, packed ones too: what they tell, and whom the guard would have banned
    """
    parts = Parts.at(Paths(settings.root))
    if logs:
        if send or only_observed or length is not None:
            raise InputError("LOGS go with --since, --until, --program, --html and --json alone", "leave the other options out")
        _of_logs(parts, Logs.of(logs, program or ""), since, until, file, as_json=as_json)
        return
    if since or until or program:
        raise InputError(
            "--since, --until and --program are about logs, and none was named", "quietgate report /var/log/auth.log, or --for 7d"
        )
    if only_observed:
        _observed(parts, _seconds(length or "7d"), as_json=as_json)
        return
    now = time.time()
    if send:
        _send(parts, None if length is None else now - _seconds(length), now)
        return
    found = look.digest(parts, now - _seconds(length or "1d"), now)
    _show(found, file, as_json=as_json)


def _show(found: look.Digest, file: str | None, *, as_json: bool) -> None:
    if as_json:
        print(forms.form("report", forms.digest(found)))
    if file == "-":
        sys.stdout.write(show.page(found))
    elif file is not None:
        write_where_told(Path(file), show.page(found).encode())
    elif not as_json:
        print(show.text(found, here()))


def _of_logs(parts: Parts, logs: Logs, since: str | None, until: str | None, file: str | None, *, as_json: bool) -> None:
    now = time.time()
    try:
        prepared = usable(parts)[0]
    except QuietgateError:  # none yet, or not ours to read: then what the guard does by itself
        prepared = prepare_from(parts.paths, [], ask=False)
    begin = parse_since(since, now) if since else 0.0
    end = parse_since(until, now) if until else float("inf")
    names = ", ".join(dict.fromkeys(str(p) for group in logs.groups for p in group))
    found = look_back(logs.events(), guard_settings(prepared, surroundings(parts.paths.root)), since=begin, until=end, of=safe(names)[:200])
    _show(found, file, as_json=as_json)
    for path, why in logs.broken:
        print(f"{safe(str(path))}: it was read until it broke: {safe(why)}", file=sys.stderr)
    if logs.unread.counts:
        print(f"not understood: {unread_words(logs.unread)}", file=sys.stderr)
    elif not logs.lines and not logs.broken:
        print("no line of an SSH server", file=sys.stderr)


def _seconds(length: str) -> int:
    try:
        return parse_duration(length)
    except ValueError as error:
        raise InputError(f"--for: {error}", "write it like 12h or 7d") from None


def _send(parts: Parts, since: float | None, now: float) -> None:
    policy = usable(parts)[0].policy
    route = for_digest(policy)
    if route is None:
        raise InputError("digest.to names nobody", 'name somebody: to = ["ops@example.net"] in [digest]')
    with parts.store() as store:
        if since is None:
            usual = 7 * 86400.0 if policy.values["digest.every"] == "weekly" else 86400.0
            told = 0.0
            with contextlib.suppress(ValueError):
                told = float(store.about(SUMMED) or 0)
            since = max(told, now - 2 * usual)
        name = uuid.uuid4().hex
        message = show.message(look.digest(parts, since, now), name)
        Book(store).write([], [Parcel(name, key(route), forms.plain(message), now, now)], [(SUMMED, str(now))])
    tell(parts.paths.control, "messages")
    print(f"it is on its way to {', '.join(recipients(route.url))}")


def _observed(parts: Parts, seconds: int, *, as_json: bool) -> None:
    found = compared(parts, seconds)
    if as_json:
        rows = [{"source": str(r.source), "ours": r.ours, "why": r.why, "theirs": r.theirs, "jail": r.jail, "observed": r.only_observed}
                for r in found.rows]  # fmt: skip
        print(forms.form("observed", {"since": found.since, "peer": found.peer, "mode": found.mode, "rows": rows}))
        return
    observe = found.mode == "observe"
    both = [r for r in found.rows if r.ours is not None and r.theirs is not None]
    ours = [r for r in found.rows if r.theirs is None]
    theirs = [r for r in found.rows if r.ours is None]
    banned = [r for r in (*both, *ours) if not r.only_observed]
    only = len(both) + len(ours) - len(banned)
    counts = [f"{plural(len(banned), 'source')} banned"] if banned or not observe else []
    counts += [f"{plural(only, 'source')} would have been banned"] if only or observe else []
    screen = here()
    print(screen.line(f"guard.mode is {found.mode}; in the last {format_duration(seconds)}: {', '.join(counts)}"))
    if not found.peer:
        print("there is no fail2ban here to compare with")
    else:
        more = f"{len(theirs):,} {'that we would not have' if observe else 'that we did not'}"
        print(screen.line(f"fail2ban banned {len(both) + len(theirs):,}: {len(both):,} of them the same, {more}; it missed {len(ours):,}"))
    if found.rows:
        rows_: list[Line] = [("SOURCE", "WE WOULD HAVE" if observe else "WE BANNED", "FAIL2BAN DID", "WHY")]
        rows_ += [
            (str(r.source), moment(r.ours) if r.ours else "-", moment(r.theirs) if r.theirs else "-", _why(r, observe=observe))
            for r in found.rows
        ]
        print(screen.table(rows_, head=True))


def _why(row: Row, *, observe: bool) -> str:
    """In the words of this mode; what was otherwise in the other one says so."""
    other = "" if row.ours is None or row.only_observed == observe else "only observed" if row.only_observed else "banned"
    return "; ".join(filter(None, [row.why, other, f"jail {row.jail}" if row.jail else ""]))
