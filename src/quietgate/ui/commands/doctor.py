"""`quietgate doctor`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from quietgate.errors import Exit
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.inspect.doctor import Checkup, Finding, checkup
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """What on this host stands in the way, each with what to do. Changes nothing.

    By the policy in force, and then what the policy on disk would change in it. A mistake in the policy on disk is one of the findings.
    With nothing in force it goes by the policy on disk.

    Exit code 1 when there is a problem, 0 when there is only advice, or nothing.

    \b
    sudo quietgate doctor
    """
    found = checkup(Parts.at(Paths(settings.root)))
    told = found.told
    if as_json:
        print(forms.form("doctor", {"findings": [forms.finding(f) for f in found.findings], "up": told.number is not None,
                                    "generation": told.number, "trial": told.trial, "policy_differs": told.differs, "policy_error": told.wrong,
                                    "after_up": {"new": [forms.finding(f) for f in found.new],
                                                 "gone": [forms.finding(f) for f in found.gone]}}))  # fmt: skip
        return _exit(found)
    if told.number is None:
        print(here().line("quietgate is down: this goes by the policy on disk, as after `quietgate up`"))
    elif told.differs:
        print(here().line("this goes by what is in force; the policy on disk differs (see `quietgate diff`)"))
    _say(found.findings)
    if not found.findings:
        print(here().line("nothing stands in the way"))
    if found.new:
        print(here().line("after `quietgate up` also:"))
        _say(found.new)
    if found.gone:
        print(here().line("no more after `quietgate up`:"))
        _say(found.gone)
    return _exit(found)


def _say(findings: Sequence[Finding]) -> None:
    screen = here()
    for finding in findings:
        print(screen.line(f"{finding.severity}: {finding.what}", label=Tone.BAD if finding.severity == "problem" else Tone.ADVICE))
        print(screen.line(f"  remedy: {finding.remedy}", label=Tone.DIM))


def _exit(found: Checkup) -> int:
    return Exit.FAILED if any(f.severity == "problem" for f in found.findings) else Exit.OK
