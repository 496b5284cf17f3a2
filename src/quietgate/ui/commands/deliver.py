"""`quietgate deliver`."""

from __future__ import annotations

import json
import sys

import click

from quietgate.host.deliver import LONGEST
from quietgate.host.senders import Failed, carry, job_of
from quietgate.ui.messages import letter


@click.command("deliver")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: job and answer are JSON.")
def command(as_json: bool) -> None:  # noqa: ARG001
    """One message in, sent over the network, the answer out: for the unit that may do that and nothing else.

    \b
    quietgate deliver < job.json
    """
    try:
        job = job_of(sys.stdin.buffer.readline(LONGEST))
        carry(job, letter(job.message))
        failed = ""
    except Failed as error:
        failed = str(error)
    except Exception as error:  # noqa: BLE001  whoever handed it over has to know, and try again
        failed = f"{type(error).__name__}: {ascii(str(error))[1:-1]}"[:300]
    print(json.dumps({"failed": failed}))
