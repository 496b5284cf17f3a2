"""`quietgate resolve`."""

from __future__ import annotations

import sys

import click

from quietgate.host.resolve import answer


@click.command("resolve")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: the answer is lines of a name and its addresses.")
def command(as_json: bool) -> None:  # noqa: ARG001
    """Host names in, one a line, until the end; addresses out: for the unit that may ask resolvers and nothing else.

    \b
    quietgate resolve <<< localhost
    """
    answer(sys.stdin.buffer, sys.stdout.buffer)
