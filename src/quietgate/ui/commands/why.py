"""`quietgate why`."""

from __future__ import annotations

import time

import click

from quietgate.app.explain import PROTOCOLS, Explanation, why
from quietgate.app.parts import Parts
from quietgate.app.rehearse import Proved
from quietgate.clock import format_duration
from quietgate.errors import InputError
from quietgate.host.paths import Paths
from quietgate.net import AddressError, parse_address
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here
from quietgate.ui.text import moment

WORDS = {"accept": "is let in", "drop": "is dropped", "reject": "is refused", "reset": "is reset"}


@click.command("why")
@click.argument("address")
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port. Default: the first SSH port.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="tcp", show_default=True)
@click.option("--interface", default="eth0", show_default=True, help="The interface it comes in by.")
@click.option("--prove", is_flag=True, help="Try it with a real packet as well, in a copy of this host.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, address: str, port: int | None, protocol: str, interface: str, prove: bool, as_json: bool) -> None:
    """What happens to a new connection from ADDRESS, and why.

    \b
    sudo quietgate why 203.0.113.9
    sudo quietgate why 2001:db8::9 --port 443
    sudo quietgate why 203.0.113.9 --prove
    """
    try:
        prefix = parse_address(address)
    except AddressError as error:
        raise InputError(str(error), error.remedy) from None
    if prove and protocol != "tcp":
        raise InputError("--prove tries TCP connections only", "take out --protocol, or --prove")
    found = why(Parts.at(Paths(settings.root)), prefix, port, protocol, interface, prove=prove)
    now = time.time()
    if as_json:
        print(forms.form("why", forms.why(found, now)))
        return
    verdict, *rest = _lines(found, now)
    screen = here()
    print(screen.line(verdict, Tone.GOOD if found.decision.verdict == "accept" else Tone.BAD))
    for line in rest:
        print(screen.line(line, label=Tone.DIM))


def _proved(p: Proved) -> str:
    if p.unknown:
        return f"not proved: {p.unknown}"
    met = "it was let in" if p.let_in else f"it was shut out by {p.by}"
    if p.foreign and p.expected:
        return f"proved with a real packet in a copy of this host: our rules let it in, but {met}"
    if p.agree:
        return f"proved with a real packet in a copy of this host: {met}"
    return f"a bug of ours: with a real packet {met}, and that is not what the rules above say; please report it"


def _lines(e: Explanation, now: float) -> list[str]:
    d = e.decision
    to = "ping" if e.protocol == "icmp" else f"{e.protocol} port {e.port}"
    lines = [f"{e.address} to {to}: {WORDS[d.verdict]}, by rule {d.rule.id} in {d.hook}"]
    if e.source != e.address:
        lines.append(f"  it counts as {e.source}")
    lines.append(f"  policy: {d.rule.origin}" if d.rule.origin else "  policy: built in, or a default")
    if len(d.passed) > 1:
        lines.append(f"  on the way: {' > '.join(d.passed)}")
    for ban in e.bans:
        end = "for ever" if ban.until is None else f"until {moment(ban.until)}, {format_duration(ban.left(now) or 0)} more"
        by = f" by {ban.by}" if ban.by else ""
        lines.append(f"  banned: {ban.prefix} ({ban.scope}) since {moment(ban.since)} {end}{by}: {ban.reason or 'no reason given'}")
    if e.slots is not None and e.slots_used is not None:
        following = f"; the next is free in {format_duration(e.next_slot)}" if e.next_slot is not None else ""
        lines.append(f"  limit: {e.slots_used} of {e.slots} places used{following}")
    lines += [f"  held: {s.address} in {s.name}" + (f" for {format_duration(s.left)} more" if s.left is not None else "")
              for s in e.sets if not s.name.startswith("slot")]  # fmt: skip
    for login in e.logins:
        lines.append(f"  logged in: {login.user} from {login.address}, last {moment(login.at)} ({login.witness})")
    for guess in reversed(e.history):
        times = f" x{guess.times}" if guess.times > 1 else ""
        lines.append(f"  {moment(guess.at)}  {guess.outcome}{times}: {guess.line}")
    if e.proved is not None:
        lines.append(f"  {_proved(e.proved)}")
    if not e.kernel:
        lines.append("  the kernel's sets were not looked at: that needs root")
    elif not e.up:
        lines.append("  quietgate is down: this is what would happen after `quietgate up`")
    if e.policy_differs:
        lines.append("  the policy on disk is not the one in force: this answers for the one on disk (see `quietgate diff`)")
    return lines
