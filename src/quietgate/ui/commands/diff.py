"""`quietgate diff`."""

from __future__ import annotations

import sys
from typing import Any

import click

from quietgate.errors import Exit
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.policy.changes import departures
from quietgate.rollout.diff import Difference, difference
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here
from quietgate.ui.text import plural, safe


@click.command("diff")
@click.option("--nft", "rules", is_flag=True, help="Print each rule and set that differs as well, as nft has it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, rules: bool, as_json: bool) -> int:
    """Say what `up` would change: settings of the policy, old and new, then who gains and who loses access.

    The policy on disk is compared with what is in force. With a mistake in it, the mistakes are listed, and what is in force.

    Exit code 5 when they differ, 2 when the policy on disk has mistakes.

    \b
    quietgate diff && echo "nothing to do"
    quietgate diff --nft             the rules as well
    """
    found = difference(Parts.at(Paths(settings.root)))
    if as_json:
        print(forms.form("diff", _fields(found)))
    elif found.deciding.mistake is not None:
        _say_broken(found)
    elif found.number is None:
        written = found.deciding.prepared
        print(
            here().line(f"nothing is in force; `quietgate up` would load {len(written.text(1).splitlines())} lines (see `quietgate show`)")
        )
    else:
        _say(found, rules=rules)
    if found.deciding.mistake is not None:
        return found.deciding.mistake.exit
    return Exit.OK if found.none else Exit.DRIFT


def _fields(found: Difference) -> dict[str, Any]:
    told = found.deciding
    rows = [{"what": c.what, "old": c.old, "new": c.new} for c in found.rules]
    people = [{"who": c.who.name, "address": str(c.who.address), "target": str(c.target), "before": c.before, "after": c.after}
              for c in found.people]  # fmt: skip
    settings = [{"key": c.key, "old": c.old, "new": c.new} for c in found.settings]
    return {"up": found.number is not None, "generation": found.number, "trial": told.trial, "drift": found.drift, "settings": settings,
            "moved": list(found.moved), "people": people, "changes": rows, "policy_error": told.wrong,
            "problems": [forms.problem(p) for p in told.mistakes],
            "in_force": [{"key": k, "value": v} for k, v in departures(told.prepared.policy)] if told.faithful else []}  # fmt: skip


def _say(found: Difference, *, rules: bool) -> None:
    screen = here()
    for line in (*map(str, found.settings), *found.moved):
        print(screen.line(line))
    for person in found.people:
        print(screen.line(str(person), Tone.GOOD if person.gains else Tone.ADVICE))
    if found.deciding.record is None:
        print(screen.line(f"generation {found.number} is in force, and the disk does not have it; `quietgate up` mends that", Tone.BAD))
    elif (found.rules or found.settings) and not found.people:
        print(screen.line("nobody gains or loses access"))
    if rules:
        for line in [line for rule in found.rules for line in str(rule).split("\n")]:
            print(screen.line(line, label=Tone.DIM))
    elif found.rules:
        print(screen.line(f"{plural(len(found.rules), 'difference')} in the rules: quietgate diff --nft"))
    _say_drift(found)
    if found.none:
        print(screen.line(f"no difference: generation {found.number} is {_trial(found)} and is what the policy says"))


def _say_drift(found: Difference) -> None:
    if found.drift:
        print(here().line("the table in the kernel was changed by somebody else since it was loaded; `quietgate up` mends it", Tone.BAD))


def _trial(found: Difference) -> str:
    return "on trial" if found.deciding.trial else "in force"


def _say_broken(found: Difference) -> None:
    told = found.deciding
    assert told.mistake is not None
    print(safe(told.mistake.message, lines=True), file=sys.stderr)
    print(safe(told.mistake.hint), file=sys.stderr)
    if told.faithful:
        print(here().line(f"generation {found.number} is {_trial(found)} all the same, with:"))
        rows = departures(told.prepared.policy)
        for key, value in rows:
            print(here().line(f"  {key} = {value}"))
        if not rows:
            print("  every setting as it is by default")
    _say_drift(found)
