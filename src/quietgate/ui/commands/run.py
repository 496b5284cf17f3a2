"""`quietgate run`."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from quietgate.control.client import NeedsDaemon
from quietgate.daemon.guard_state import DISABLED, UNIT, guard_state
from quietgate.daemon.main import Daemon
from quietgate.errors import Busy, Exit
from quietgate.generations.deciding import of_guard
from quietgate.generations.in_force import flag
from quietgate.generations.installation import Parts
from quietgate.host import output
from quietgate.host.lock import locked
from quietgate.host.paths import Paths
from quietgate.host.systemd import notify, start_words
from quietgate.ui.cli import Settings
from quietgate.ui.text import safe


@click.command("run")
@click.option("--until-end", is_flag=True, help="Stop when every source has ended: for standard input.")
@click.option(
    "--ready", is_flag=True, help="Start nothing: print the process of the guard that answers; exit code 10, and why, if none does."
)
@click.option("--json", "as_json", is_flag=True, help="With --ready, print one JSON object; `events --json` is the guard's stream.")
@click.pass_obj
def command(settings: Settings, until_end: bool, ready: bool, as_json: bool) -> int:
    """The guard: read what sshd says, and ban who attacks. Runs until it is told to stop.

    The service quietgate-guard runs it. Where the policy switches the guard off (enabled = false in [guard]) it says so, and
    ends with 0.

    \b
    sudo quietgate run
    sudo quietgate run --ready       does one answer? if not, why?
    """
    parts = Parts.at(Paths(settings.root))
    if ready:
        return _ready(parts, as_json=as_json)
    output.bound()
    # A reload that is asked for before we can do it must not end us: it waits until `Daemon.run` listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with locked(parts.paths.guard_lock):
            if not flag(of_guard(parts).policy, "guard.enabled"):
                notify("READY=1", f"STATUS={DISABLED}")  # or systemd would take this for a failed start
                print(DISABLED, file=sys.stderr)
                return Exit.OK
            asyncio.run(Daemon(parts).run(until_end=until_end))
    except Busy as error:
        raise Busy(error.message.replace("is changing the firewall", "guards already"), "stop that one first, or leave it") from None
    return Exit.OK


def _ready(parts: Parts, *, as_json: bool) -> int:
    """What the init script waits for."""
    found = guard_state(parts.paths, of_guard(parts).policy)
    if found.state not in ("answers", "disabled"):
        because = f": {found.why}" if found.why else ""
        raise NeedsDaemon(f"the guard does not {'answer' if found.state == 'silent' else 'run'}{because}",
                          f"{start_words(UNIT, 'restart')}; its output: {start_words(UNIT, 'log')}")  # fmt: skip
    if as_json:
        from quietgate.ui import forms  # here, since the guard itself has no use for it

        print(forms.form("ready", {"state": found.state, "why": found.why, "pid": found.pid}))
    else:
        print(found.pid if found.state == "answers" else safe(found.why))
    return Exit.OK
