"""`quietgate parse`."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from quietgate.errors import InputError
from quietgate.guard.record import Event, Stamps, read_numbered
from quietgate.guard.sshd import HOSTILE
from quietgate.ui import forms
from quietgate.ui.text import moment, safe

BLOCK = 1 << 20


@click.command("parse")
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
def command(file: Path, as_json: bool) -> None:
    """Log lines in, events out: what the guard understands of FILE (standard input without one). Changes nothing.

    A line without an event prints nothing.

    \b
    quietgate parse /var/log/auth.log
    journalctl -u ssh -o short-iso | quietgate parse - --json
    """
    try:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "name a log file, or - for standard input") from None
    with stream:
        for event in _events(stream):
            print(forms.form("parsed", form(event)) if as_json else safe(_words(event)))


def _events(stream: BinaryIO) -> Iterator[Event]:
    stamps = Stamps(time.time())
    number, rest = 1, b""
    while chunk := stream.read(BLOCK):
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        text = data[:end].decode("utf-8", "replace")
        yield from read_numbered(text, stamps, number)
        number += text.count("\n")
    if rest:
        yield from read_numbered(rest.decode("utf-8", "replace"), stamps, number)


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
