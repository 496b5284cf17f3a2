"""`quietgate status`."""

from __future__ import annotations

import re
import time

import click

from quietgate.clock import format_duration
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.host.systemd import start_words
from quietgate.inspect.status import Status, counter_words, status
from quietgate.sshlog.unread import REMEDIES, Why
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Cell, Screen, Tone, here
from quietgate.ui.text import plural, safe

SHOWN = 5
VERDICTS = {"up": Tone.GOOD, "trial": Tone.ADVICE, "stale": Tone.ADVICE}  # any other is wrong
TONES = {"problem": Tone.BAD, "alerts": Tone.BAD, "messages": Tone.BAD,
         "limited": Tone.ADVICE, "policy": Tone.ADVICE, "advice": Tone.ADVICE}  # fmt: skip
WRONG = re.compile(r"trouble: |not known: |does not run|does not answer|\S+: failing: ")  # how a row begins that tells of a fault
OF_GUARD = ("guard-off", "guard-silent")  # findings that the guard's own rows tell already


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
    print(_text(found, here()))


def _guard(s: Status) -> list[tuple[str, str]]:
    """The guard, and each of its sources with the age of its last line."""
    if s.guard is None:
        state = s.guard_state.state
        if state == "disabled":
            return [("guard", f"{s.guard_state.why}: bans made by hand hold, nobody new is banned")]
        words = start_words("quietgate-guard", "restart" if state == "silent" else "start")
        off = [("guard", f"does not {'answer' if state == 'silent' else 'run'}: bans made by hand hold, nobody new is banned ({words})")]
        if s.guard_state.why:
            off.append(("guard", f"{s.guard_state.why} (its output: {start_words('quietgate-guard', 'log')})"))
        return off
    g = s.guard
    now = time.time()
    rows: list[tuple[str, str]] = [("guard", f"runs for {format_duration(now - g.since)}" + (", observe: it bans nobody" if g.mode == "observe" else "")
                                    + f", {plural(g.bans, 'ban')} made")]  # fmt: skip
    if g.trouble:
        rows.append(("guard", f"trouble: {g.trouble}"))
    for name, trust, last, trouble in g.sources:
        age = f"last line of sshd {format_duration(max(1, now - last))} ago" if last else "no line of sshd yet"
        forged = "; users of this host can forge lines in a file" if trust == "file" else ""
        rows.append(("source", f"{name}: " + (f"failing: {trouble}" if trouble else age) + forged))
    rows += [("unread", f"{name}: {plural(count, 'line')}: {REMEDIES[Why(kind)]}; see `quietgate doctor`") for name, kind, count, _ in g.unread
             if kind in set(Why) and kind != Why.MESSAGE]  # fmt: skip
    if g.failed or g.logins:
        rows.append(("heard", f"{plural(g.failed, 'failed attempt')}, {plural(g.logins, 'login')}"))
    return rows


def _text(s: Status, screen: Screen) -> str:
    rows: list[tuple[str, str]] = [("also", line) for line in s.also]
    rows += [("ssh ports", ", ".join(map(str, s.ssh_ports)) + (f" ({s.ports_why})" if s.ports_why else ""))]
    if s.limit:
        rows.append(
            ("who", f"{s.who}; limit {s.limit} for each stranger" + (f", {s.known_limit} for each known source" if s.known_limit else ""))
        )
    if s.mode == "observe":
        rows.append(("mode", "observe: at the SSH ports everything is counted and nothing is dropped"))
    rows += _guard(s)
    rows.append(("bans", f"not known: {safe(s.store_error)}" if s.store_error else f"{s.bans:,} now, {s.bans_day:,} of them made in 24 h"))
    if s.limited:
        more = f" and {len(s.limited) - SHOWN} more" if len(s.limited) > SHOWN else ""
        rows.append(("limited", f"in the last minute: {', '.join(s.limited[:SHOWN])}{more}; if one is yours, see `quietgate doctor`"))
    rows.append(("known", f"{plural(s.known, 'source')} that logged in before; {plural(s.floor, 'address')[:-1]}es of administrators kept open"
                 if s.floor != 1 else f"{plural(s.known, 'source')} that logged in before; 1 address of administrators kept open"))  # fmt: skip
    if s.reserve:
        rows.append(("reserve", s.reserve))
    if s.alerts:
        rows.append(
            ("alerts", ", ".join(f"{count:,} of {topic}" for topic, count in sorted(s.alerts.items())) + ": see `quietgate alerts`")
        )
    rows += [("messages", f"wait to be delivered: {why}") for why in s.undelivered]
    for now, begin, full in s.startups:
        rows.append(("sshd", f"{now} connections not logged in yet; from {begin} on it drops at random, at {full} all"))
    rows += [("count", f"{s.counters[name]:,} {words}") for name, words in counter_words().items() if s.counters.get(name)]
    if s.conntrack is not None:
        rows.append(("conntrack", f"{s.conntrack[0]:,} of {s.conntrack[1]:,}"))
    for line in s.policy_error.splitlines():
        rows.append(("policy", line))
    if s.policy_differs:
        rows.append(("policy", "on disk is not what is in force"))
    rows += [(f.severity, f.what) for f in s.findings if (f.severity == "problem" and f.id not in OF_GUARD) or f.id == "policy"]
    advice = sorted({f.id for f in s.findings if f.severity == "advice" and f.id != "policy"})
    if advice:
        rows.append(("advice", f"{', '.join(advice)}: see `quietgate doctor`"))
    tones = TONES | ({"policy": Tone.BAD} if s.policy_error else {})
    coloured = [(Cell(label, Tone.BAD if WRONG.match(said) else tones.get(label)), said) for label, said in rows]
    verdict = screen.line(f"{s.verdict}: {s.why}", label=VERDICTS.get(s.verdict, Tone.BAD))
    return "\n".join([verdict, screen.table(coloured, indent=2), screen.line(f"next: {s.next}")])
