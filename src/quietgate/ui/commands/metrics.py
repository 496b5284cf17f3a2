"""`quietgate metrics`."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import click

from quietgate.daemon.measure import measure
from quietgate.errors import NotPermitted, QuietgateError
from quietgate.generations.deciding import of_guard
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.host.shut import no_new_ip
from quietgate.host.systemd import noted
from quietgate.ui.cli import Settings

EVERY = 15.0  # seconds between two texts for node_exporter


@click.command("metrics")
@click.option("--serve", is_flag=True, help="Go on, as the policy says: listen and textfile in [metrics].")
@click.option("--json", "as_json", is_flag=True, help="Has no effect: metrics have a form of their own.")
@click.pass_obj
def command(settings: Settings, serve: bool, as_json: bool) -> None:  # noqa: ARG001
    """Figures in Prometheus' text format.

    Who may not ask the guard gets none, and exit code 77. A member of `control.group` gets those that the guard knows.

    \b
    sudo quietgate metrics
    """
    from quietgate.ui import metrics

    paths = Paths(settings.root)
    now = measure(Parts.at(paths))
    if now.denied:
        raise NotPermitted(f"no figures: {now.why_not}", "run this as root, or let its user join the group that control.group names")
    if now.generation is None:
        print("the ruleset and the database may not be looked at by this user: their figures are left out", file=sys.stderr)
    found = metrics.registry(lambda: measure(Parts.at(paths)))
    if not serve:
        sys.stdout.buffer.write(metrics.text(found))
        return
    wanted = noted(paths, "metrics") or of_guard(Parts.at(paths)).policy.services["metrics"]
    listen, file = str(wanted["listen"]), str(wanted["textfile"])
    if not listen and not file:
        print("the policy wants no metrics: neither listen nor textfile is set in [metrics]", file=sys.stderr)
        return
    if listen:
        server = metrics.server(found, str(settings.root / listen.lstrip("/")) if listen.startswith("/") else listen)
        no_new_ip()  # before there is another thread
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"metrics are served at {listen}", file=sys.stderr, flush=True)
    said = ""
    while True:
        try:
            if file:
                metrics.write(found, Path(settings.root / file.lstrip("/")))
            said = ""
        except QuietgateError as error:  # the directory may come later
            if error.message != said:
                print(f"{error.message}; {error.hint}", file=sys.stderr, flush=True)
            said = error.message
        time.sleep(EVERY)
