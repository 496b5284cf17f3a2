"""`quietgate run`."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from quietgate.app.daemon import Daemon
from quietgate.app.deciding import of_guard
from quietgate.app.parts import Parts
from quietgate.app.policy_of import flag
from quietgate.errors import Busy
from quietgate.host.lock import locked
from quietgate.host.paths import Paths
from quietgate.ui.cli import Settings


@click.command("run")
@click.option("--until-end", is_flag=True, help="Stop when every source has ended: for standard input.")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: `events --json` is the stream.")
@click.pass_obj
def command(settings: Settings, until_end: bool, as_json: bool) -> None:  # noqa: ARG001
    """The guard: read what sshd says, and ban who attacks. Runs until it is told to stop.

    \b
    sudo quietgate run
    systemctl status quietgate-guard         the service that runs it
    """
    # A reload that is asked for before we can do it must not end us: it waits until `Daemon.run` listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    parts = Parts.at(Paths(settings.root))
    try:
        with locked(parts.paths.guard_lock):
            if not flag(of_guard(parts).policy, "guard.enabled"):
                print("the policy switches the guard off (enabled = false in [guard])", file=sys.stderr)
                return
            asyncio.run(Daemon(parts).run(until_end=until_end))
    except Busy as error:
        raise Busy(error.message.replace("is changing the firewall", "guards already"), "stop that one first, or leave it") from None
