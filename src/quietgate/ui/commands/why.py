"""`quietgate why`."""

from __future__ import annotations

import time

import click

from quietgate.clock import format_duration
from quietgate.errors import InputError
from quietgate.firewall.rules import Hook
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.inspect.prove import Proved
from quietgate.inspect.why import PROTOCOLS, Explanation, why
from quietgate.net import AddressError, parse_address
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Tone, here
from quietgate.ui.text import moment

WORDS = {"accept": "is let in", "drop": "is dropped", "reject": "is refused", "reset": "is reset"}
OURS = {"accept": "let it in", "drop": "drop it", "reject": "refuse it", "reset": "reset it"}


@click.command("why")
@click.argument("address")
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port. Default: the first SSH port.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="tcp", show_default=True)
@click.option("--interface", default=None, help="The interface it comes in by. Default: the one by which this host answers ADDRESS.")
@click.option("--prove", is_flag=True, help="Try it with a real packet as well, in a copy of this host.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, address: str, port: int | None, protocol: str, interface: str | None, prove: bool, as_json: bool) -> None:
    """What happens to a new connection from ADDRESS, and why.

    By what is in force; with nothing in force, by the policy on disk, as after `quietgate up`. Where something else may decide that was
    not looked at (another tool's table, NAT that could not be read, anything at all without root), the first line says so.

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
    found = why(Parts.at(Paths(settings.root)), prefix, port, protocol, interface, proving=prove)
    now = time.time()
    if as_json:
        print(forms.form("why", forms.why(found, now)))
        return
    verdict, *rest = _lines(found, now)
    screen = here()
    print(screen.line(verdict, Tone.ADVICE if not found.certain else Tone.GOOD if found.decision.verdict == "accept" else Tone.BAD))
    for line in rest:
        print(screen.line(line, label=Tone.DIM))


def _proved(p: Proved) -> str:
    if p.unknown:
        return f"not proved: {p.unknown}"
    on = f"NAT sent it on to {p.to}, and " if p.to else ""
    met = f"{on}it was {'let through' if p.to else 'let in'}" if p.let_in else f"{on}it was shut out by {p.by}"
    if p.foreign and p.expected:
        return f"proved with a real packet in a copy of this host: our rules let it in, but {met}"
    if p.agree:
        return f"proved with a real packet in a copy of this host: {met}"
    return f"a bug of ours: with a real packet {met}, and that is not what the rules above say; please report it"


def _lines(e: Explanation, now: float) -> list[str]:
    d = e.decision
    to = "ping" if e.protocol == "icmp" else f"{e.protocol} port {e.port}"
    lines = [f"{e.address} to {to}: {_verdict(e)}"]
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
    lines += [f"  looked at: {', '.join(e.looked_at)}"]
    if e.trial:
        lines.append(f"  generation {e.generation} is on trial, and decides while that runs")
    if e.wrong:
        lines.append(f"  the policy on disk has a mistake, and `quietgate up` would refuse it: {e.wrong}")
    elif e.after is not None:
        origin = f" ({e.after.rule.origin})" if e.after.rule.origin else ""
        lines.append(f"  after `quietgate up`, with the policy on disk: our rules {OURS[e.after.verdict]}, by rule {e.after.rule.id} in "
                     f"{e.after.hook}{origin}")  # fmt: skip
    elif e.policy_differs:
        lines.append("  the policy on disk is not the one in force, and would decide the same here (see `quietgate diff`)")
    return lines


def _verdict(e: Explanation) -> str:
    """The first line: no more than is known."""
    d = e.decision
    by = f"by rule {d.rule.id} in {d.hook}"
    ours = f"our rules {OURS[d.verdict]}"
    if d.hook is Hook.FORWARD and e.sent is not None:
        ours = f"NAT sends it on to {e.sent}, and our forward rules {'let it through' if d.verdict == 'accept' else OURS[d.verdict]}"
    if not e.kernel:
        said = f"by the policy on disk {ours}, {by}"
    elif not e.up:
        said = f"quietgate is down, and nothing of ours decides; after `quietgate up` {ours}, {by}"
    elif not e.certain or d.hook is Hook.FORWARD:
        said = f"{ours}, {by}"
    elif d.verdict == "accept" and e.listening is False:
        said = f"{ours}, {by}, and nothing listens there"
    else:
        said = f"{WORDS[d.verdict]}, {by}"
    foreign = e.proved is not None and not e.proved.unknown and e.proved.foreign
    if foreign and e.proved is not None:
        said += f"; {e.proved.by} shuts it out"
    return said + (f"; not looked at: {'; '.join(e.not_looked_at)}" if e.not_looked_at else "")
