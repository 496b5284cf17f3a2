"""`quietgate up`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

import click

from quietgate.clock import format_duration, parse_duration
from quietgate.control.client import tell
from quietgate.errors import Exit, InputError, QuietgateError
from quietgate.generations.installation import Parts
from quietgate.host.accounts import user_name
from quietgate.host.paths import Paths
from quietgate.rollout.rehearsal import UNSEEN
from quietgate.rollout.trial import Moment, confirm, revert, watch
from quietgate.rollout.up import Up, up
from quietgate.ui import forms
from quietgate.ui.cli import Settings
from quietgate.ui.text import plural, safe
from quietgate.ui.warn import warn


@click.command("up")
@click.option("--now", is_flag=True, help="Keep it at once: for scripts and the boot. The rehearsal can still refuse.")
@click.option("--trial", "length", metavar="TIME", help="How long it lives unless confirmed: 10s to 1h. Default: lockout.trial.")
@click.option("--force", is_flag=True, help="Go on, as a trial, where the rehearsal refuses.")
@click.option("--detach", is_flag=True, help="Arm the trial and return; confirm it with `quietgate confirm`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(settings: Settings, now: bool, length: str | None, force: bool, detach: bool, as_json: bool) -> int:
    """Put the policy in force, in one transaction: on trial, until a new login proves that the door still opens.

    A trial ends by itself in the kernel, whatever dies. Log in anew from another terminal while it runs: that login
    keeps it. Open sessions, bans and counters live on. Twice is the same as once.

    \b
    sudo quietgate up
    sudo quietgate up --trial 5m
    sudo quietgate up --now          keep it without a trial
    """
    if now and (length or force or detach):
        raise InputError("--now keeps it at once, without a trial", "take out --now, or --trial, --force and --detach")
    parts = Parts.at(Paths(settings.root))
    seconds = _seconds(length)
    done = up(parts, now=now, trial=seconds, force=force)
    tell(parts.paths.control, "policy")
    warn(parts)
    for warning in done.prepared.warnings:
        print(f"warning: {safe(str(warning))}", file=sys.stderr)
    for line in _rehearsal(done):
        print(safe(line), file=sys.stderr)
    if done.trial is None:
        _say_kept(done, as_json=as_json)
        return Exit.OK
    if detach:
        if as_json:
            print(forms.form("up", _fields(done)))
        else:
            _say_armed(done)
        return Exit.OK
    return _wait(parts, done, as_json=as_json)


def _rehearsal(done: Up) -> Iterator[str]:
    """What the rehearsal proved, in a few lines."""
    report = done.report
    if report is None:
        return
    yield from (f"would be shut out: {failure}" for failure in report.failed)
    yield from (f"strangers are shut out: {failure}" for failure in report.strangers)
    yield from (f"unknown: {line}" for line in report.unknown)
    if report.proven:
        sources, wrong = len({p.address for p in report.proven}), len({f.probe.address for f in report.failed})
        yield f"rehearsed with {report.method}: {sources} of {sources + wrong} addresses that must get in do"
    yield f"not seen by a rehearsal: {', '.join(UNSEEN)}"


def _report(done: Up) -> dict[str, object] | None:
    report = done.report
    if report is None:
        return None
    rows = [{"address": str(p.address), "port": p.port, "why": p.why, "session": p.session} for p in report.proven]
    failed = [
        {"address": str(f.probe.address), "port": f.probe.port, "why": f.probe.why, "by": f.by, "remedy": f.remedy} for f in report.failed
    ]
    return {
        "method": report.method,
        "proven": rows,
        "failed": failed,
        "strangers": [{"address": str(f.probe.address), "port": f.probe.port, "by": f.by, "remedy": f.remedy} for f in report.strangers],
        "unknown": report.unknown,
        "seconds": report.seconds,
        "unseen": UNSEEN,
    }


def _seconds(length: str | None) -> int | None:
    if length is None:
        return None
    try:
        seconds = parse_duration(length)
    except ValueError as error:
        raise InputError(f"--trial: {error}", "write it like 60s or 5m") from None
    if not 10 <= seconds <= 3600:
        raise InputError(f"--trial: {format_duration(seconds)} is out of range", "write 10s to 1h")
    return seconds


def _say_armed(done: Up) -> None:
    ports = ", ".join(map(str, done.prepared.ports.ports))
    print(f"generation {done.number} is on trial for {format_duration(done.trial or 0)}: SSH on {ports}, {plural(done.bans, 'ban')}")
    print("log in anew from another terminal, and it is kept:  ssh -o ControlPath=none " + _target())
    print("or type `quietgate confirm` there; without either it goes away by itself", flush=True)


def _target() -> str:
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
    address = os.environ.get("SSH_CONNECTION", "").split()
    return safe(f"{user}@{address[2]}") if len(address) == 4 else safe(f"{user}@this-host")


def _wait(parts: Parts, done: Up, *, as_json: bool) -> int:
    """Until a new login proves it, or it is over. A terminal that goes away ends nothing: the login may still come."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if not as_json:
        _print(lambda: _say_armed(done))
    try:
        for moment in watch(parts):
            if moment.proof is not None:
                return _keep(parts, done, moment, as_json=as_json)
            if moment.over:
                return _over(parts, done, as_json=as_json)
            if not as_json and sys.stdout.isatty():
                left = moment.left
                _print(lambda: print(f"\r{left:4.0f} s to go ", end="", flush=True))  # noqa: B023  called at once
    except KeyboardInterrupt:
        with contextlib.suppress(QuietgateError):
            then = revert(parts)
            _print(lambda: warn(parts))
            _print(lambda: print(f"\ninterrupted: {_force(then.number)}", file=sys.stderr))
        return 130
    return Exit.FAILED


def _keep(parts: Parts, done: Up, moment: Moment, *, as_json: bool) -> int:
    proof = moment.proof
    assert proof is not None
    kept = confirm(parts, anyway=True)  # the proof is at hand; this process may well run in the old connection
    tell(parts.paths.control, "policy")
    _print(lambda: warn(parts))
    unproven = [f"IPv{v}" for v in (4, 6) if v not in {*kept.proven, proof.version}]
    if as_json:
        fields = {**_fields(done), "confirmed": True, "proven_by": str(proof.peer), "proven": [f"IPv{proof.version}"]}
        _print(lambda: print(forms.form("up", fields)))
        return Exit.OK
    _print(lambda: print(f"\nproven: {safe(user_name(proof.uid))} logged in anew from {proof.peer} over IPv{proof.version}"))
    if unproven:
        _print(lambda: print(f"not proven: {', '.join(unproven)}; nobody logged in that way"))
    _print(lambda: _say_kept(done, as_json=False))
    return Exit.OK


def _over(parts: Parts, done: Up, *, as_json: bool) -> int:
    newest = parts.generations.newest()
    if newest is not None and newest.number == done.number:  # somebody typed `quietgate confirm`
        _print(lambda: _say_kept(done, as_json=as_json))
        return Exit.OK
    with contextlib.suppress(QuietgateError):
        from quietgate.rollout.up import clear_away

        clear_away(parts)
        _print(lambda: warn(parts))
        tell(parts.paths.control, "history")
    then = _force(newest.number if newest else None)
    if as_json:
        _print(lambda: print(forms.form("up", {**_fields(done), "confirmed": False})))
    _print(lambda: print(f"\nnobody confirmed generation {done.number}: {then}", file=sys.stderr))
    return Exit.FAILED


def _force(number: int | None) -> str:
    return f"generation {number} is back in force" if number is not None else "nothing is in force, as before"


def _print(say: Callable[[], object]) -> None:
    """Print, if the terminal is still there."""
    with contextlib.suppress(OSError):
        say()


def _fields(done: Up) -> dict[str, object]:
    return {"generation": done.number, "changed": done.changed, "settings": done.settings,
            "differences": [{"key": c.key, "old": c.old, "new": c.new} for c in done.differences], "bans": done.bans, "known": done.known, "floor": done.floor,
            "trial": done.trial, "ssh_ports": done.prepared.ports.ports, "rehearsal": _report(done),
            "warnings": [forms.problem(w) for w in done.prepared.warnings]}  # fmt: skip


def _say_kept(done: Up, *, as_json: bool) -> None:
    if as_json:
        print(forms.form("up", _fields(done)))
        return
    what = (
        "is in force"
        if done.changed
        else "was in force already, and the other settings are now"
        if done.settings
        else "was in force already"
    )
    ports = ", ".join(map(str, done.prepared.ports.ports))
    print(f"generation {done.number} {what}: SSH on {ports}, {plural(done.bans, 'ban')}")
    for change in done.differences:
        print(safe(f"  {change}"))
