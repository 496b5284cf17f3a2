"""`quietgate arrange`."""

from __future__ import annotations

import os
import sys

import click

from quietgate.errors import NotPermitted, QuietgateError
from quietgate.generations.installation import Parts
from quietgate.host.files import policy_files
from quietgate.host.layout import arrange
from quietgate.host.paths import Paths
from quietgate.inspect.survey import install, proposal
from quietgate.ui.cli import Settings


@click.command("arrange")
@click.option("--first", is_flag=True, help="Write a policy that fits, where there is none: the first boot of an image.")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: nothing is printed.")
@click.pass_obj
def command(settings: Settings, first: bool, as_json: bool) -> None:  # noqa: ARG001
    """Make the directories of the state, and give each to whom it belongs: for the units, which may not do it themselves.

    \b
    sudo quietgate arrange
    """
    if os.geteuid() != 0:
        raise NotPermitted("the state is root's", "run this as root, with sudo")
    paths = Paths(settings.root)
    arrange(paths)
    if first and not policy_files(paths.policy, paths.drop_ins):
        parts = Parts.at(paths)
        try:
            install(parts, proposal(parts, closed=False))
        except QuietgateError as error:  # `boot`, which comes next, tries it and says it again
            print(error.message, file=sys.stderr)
        arrange(paths)
