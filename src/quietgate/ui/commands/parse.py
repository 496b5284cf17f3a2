"""`quietgate parse`."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path
from typing import Any

import click

from quietgate.errors import Exit, HostError, InputError
from quietgate.hindsight.logs import events_of
from quietgate.host.packed import BROKEN, opened
from quietgate.sshlog.headers import Header
from quietgate.sshlog.lines import PROGRAMS, Event, Reader, Stamps
from quietgate.sshlog.sshd import HOSTILE
from quietgate.sshlog.unread import REMEDIES, Unread, Why
from quietgate.ui import forms
from quietgate.ui.text import moment, plural, safe


@click.command("parse")
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@click.option(
    "--program", type=click.Choice(PROGRAMS), default=None, help="Whose lines they are, where they do not tell: sshd -e, a container."
)
@click.option("--explain", metavar="LINE", help="Say what is read of this one line, or where reading it ends and why.")
def command(file: Path, as_json: bool, program: str | None, explain: str | None) -> Exit:
    """Log lines in, events out: what the guard understands of FILE (standard input without one). Changes nothing.

    A line without a time of its own is shown with this moment's. FILE may be packed (gz, xz, bz2, zst), the journal's own export (-o json, -o export, -o short-...), or a container's log (docker's
    json-file, CRI), of which --program says whose words it holds. The last line, on standard error, counts what was not understood.
    Exit code 0: all that an SSH server wrote was read; 3: some lines were not; 1: none was.

    \b
    quietgate parse /var/log/auth.log.2.gz
    journalctl -t sshd -o short-iso | quietgate parse - --json
    quietgate parse --explain "$(tail -n 1 /var/log/auth.log)"
    """
    now = time.time()
    reader = Reader(Stamps(now), program or "", journals=True, undated=now)
    if explain is not None:
        return _explain(reader, explain)
    try:
        stream = sys.stdin.buffer if str(file) == "-" else opened(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "name a log file, or - for standard input") from None
    events = 0
    with stream:
        try:
            for event in events_of(stream, reader):
                events += 1
                print(forms.form("parsed", form(event)) if as_json else safe(_words(event)))
        except BROKEN as error:
            raise HostError(
                f"{file}: it cannot be read further: {error or type(error).__name__}", "the file is cut off or damaged"
            ) from None
    sys.stdout.flush()
    if reader.unread.counts or not as_json:
        print(_summary(reader, events), file=sys.stderr)
    if reader.unread.forms:
        return Exit.PARTLY if reader.lines else Exit.FAILED
    return Exit.OK


def _summary(reader: Reader, events: int) -> str:
    said = f"{plural(reader.lines, 'line')} of SSH servers, {plural(events, 'event')}"
    if not reader.unread.counts:
        return said if reader.lines else "no line of an SSH server"
    return f"{said}; not understood: {unread_words(reader.unread)}"


def unread_words(unread: Unread) -> str:
    """Each kind with its number and an example, for people."""
    return "; ".join(
        f"{plural(count, 'line')}: {REMEDIES[why]} ({safe(unread.examples.get(why, ''))[:160]!r})"
        for why, count in sorted(unread.counts.items())
    )


def _explain(reader: Reader, line: str) -> Exit:
    header, event = reader.explained(line.rstrip("\n"))
    if isinstance(header, Header):
        program = header.program or reader.program
        print(f"header   time {safe(header.stamp) or '(none: now)'}, host {safe(header.host) or '(none)'}, program {program}, "
              f"process {header.pid or '(none)'}")  # fmt: skip
        print(f"message  {safe(header.message)}")
        if event is not None:
            print(f"event    {safe(_words(event).partition(': ')[2])}")
            return Exit.OK
        why = next(iter(reader.unread.counts), None)
        print("event    none: it tells of nothing that matters here" if why is None else f"event    none: {REMEDIES[why]}")
        return Exit.OK if why is None else Exit.PARTLY
    if isinstance(header, Why):
        print(f"header   not read: {REMEDIES[header]}")
        return Exit.PARTLY
    print("header   another program wrote it, or it names no SSH server: it is passed over")
    return Exit.OK


def form(event: Event) -> dict[str, Any]:
    """The public form: `time` in ISO 8601 with a zone; `hostile`: attackers produce such lines."""
    said = event.said
    when = datetime.datetime.fromtimestamp(event.at, datetime.UTC).isoformat()
    return {"line": event.number, "time": when, "kind": said.kind.value, "hostile": said.kind in HOSTILE or (said.kind.value == "closed"),
            "address": str(said.address) if said.address is not None else None, "user": said.user, "port": said.port or None,
            "pid": event.pid, "times": said.times}  # fmt: skip


def _words(event: Event) -> str:
    said = event.said
    parts = [f"{event.number}:", moment(event.at), said.kind.value]
    if said.user is not None:
        parts.append(f"user {said.user!r}")
    if said.address is not None:
        parts.append(f"from {said.address}" + (f" port {said.port}" if said.port else ""))
    if said.method:
        parts.append(f"({said.method})")
    if said.times > 1:
        parts.append(f"x{said.times}")
    return " ".join(parts)
