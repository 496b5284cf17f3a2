"""A message as people read it: a subject and a text. Whatever it names was made safe by `ui/text`."""

from __future__ import annotations

from typing import Any

from quietgate.clock import format_duration
from quietgate.host.senders import Letter
from quietgate.ui.text import header, moment, plural, safe

WIDE = 100


def letter(message: dict[str, Any]) -> Letter:
    """For mail and Apprise. The form `quietgate/message`; raises KeyError or TypeError for anything else."""
    if message["form"] == "quietgate/digest":
        return Letter(header(str(message["subject"])), str(message["text"]), str(message["html"]))
    return Letter(subject(message), text(message))


def subject(message: dict[str, Any]) -> str:
    """One line that tells a person at night whether to get up."""
    first, rest = message["alerts"][0], len(message["alerts"]) - 1 + int(message["more"])
    said = f"over: {first['over']}" if first["over"] else str(first["what"])
    mark = "test: " if message["test"] else ""
    return header(f"[quietgate {message['host']}] {mark}{said}" + (f" (and {rest:,} more)" if rest else ""))


def text(message: dict[str, Any]) -> str:
    """All of it."""
    lines = [f"host      {message['host']}", f"sent      {moment(float(message['sent']))}", ""]
    for a in message["alerts"]:
        lines += [*_alert(a), ""]
    if message["more"]:
        lines += [f"and {plural(int(message['more']), 'thing')} more: quietgate alerts", ""]
    return "\n".join(safe(line) for line in lines)


def _alert(a: dict[str, Any]) -> list[str]:
    if a["over"]:
        return [f"OVER      {a['over']}", f"lasted    {format_duration(max(1.0, float(a['last']) - float(a['first'])))}"]
    lines = [f"{str(a['severity']).upper():<9} {a['what']}"]
    lines.append(
        f"when      {moment(float(a['first']))}" + (f", {a['count']:,} times until {moment(float(a['last']))}" if a["count"] > 1 else "")
    )
    lines += [f"shown by  {e}" for e in a["evidence"]]
    lines += [f"done      {a['done']}", f"next      {a['next']}"]
    return lines
