"""`quietgate resolve`."""

from __future__ import annotations

import encodings.idna  # noqa: F401  loaded before the privileges go: afterwards this process may not see our own files
import os
import sys

import click

from quietgate.errors import HostError
from quietgate.host.resolve import answer
from quietgate.host.shut import become_nobody, only_datagrams


@click.command("resolve")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: the answer is lines of a name and its addresses.")
def command(as_json: bool) -> None:  # noqa: ARG001
    """Host names in, one a line, until the end; addresses out: for the unit that may ask resolvers and nothing else.

    \b
    quietgate resolve <<< localhost
    """
    os.environ.setdefault("RES_OPTIONS", "edns0")  # a UDP answer may have 1,200 bytes then (resolv.conf(5))
    try:
        become_nobody()
        only_datagrams()
    except OSError as error:
        raise HostError(f"it cannot give its privileges up: {error.strerror}", "start quietgate-resolve.socket") from None
    answer(sys.stdin.buffer, sys.stdout.buffer)
