"""`quietgate helper`."""

from __future__ import annotations

import os
import socket

import click

from quietgate.daemon.helper import Helper
from quietgate.errors import InputError
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.ui.cli import Settings

FIRST = 3  # where systemd puts the sockets that it hands over (sd_listen_fds(3))


@click.command("helper")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: questions and answers are JSON.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> None:  # noqa: ARG001
    """What root does for the guard, which is not root: for the unit that does it, started by its socket.

    \b
    quietgate helper                         started by quietgate-helper.socket
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise InputError("no socket was handed over", "start quietgate-helper.socket")
    Helper(Parts.at(Paths(settings.root)), socket.socket(fileno=FIRST)).run()
