"""What each command that people read prints on a screen, of values that hold everything it can say, hostile text too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import click
from click.testing import CliRunner

from quietgate.alerts.record import Record as Alerts
from quietgate.errors import Origin
from quietgate.firewall.access import Change as Access
from quietgate.firewall.access import Target, Who
from quietgate.firewall.compare import Change
from quietgate.firewall.evaluate import Decision
from quietgate.firewall.rules import Hook, Rule
from quietgate.generations.deciding import Deciding
from quietgate.generations.plan import Prepared
from quietgate.generations.records import Record
from quietgate.host.paths import Paths
from quietgate.inspect.doctor import Checkup, Finding
from quietgate.inspect.status import Guard, Status
from quietgate.inspect.why import Explanation
from quietgate.net import parse_address, parse_prefix
from quietgate.policy.changes import Change as Setting
from quietgate.rollout.diff import Difference
from quietgate.state.database import Store
from quietgate.ui.cli import Settings
from quietgate.ui.terminal import Screen
from quietgate.values import Ban, Guess, Login, Noted, Parcel, Scope
from tests.ui import pictures

NOW = pictures.BEGIN + 86400
A = parse_address("203.0.113.77")
SIX = parse_prefix("2001:db8:66:5::/64")
EVIL = "\x1b[31m東京\u202e\nproblem: e\u0301" + "x" * 50
BANS = (Ban(A, Scope.SSH, NOW - 4000, NOW + 11_000, "root: 3 in 10m", "guard"), Ban(SIX, Scope.HOST, NOW - 90_000, None, EVIL, "anna"),
        Ban(parse_address("198.18.5.9"), Scope.SSH, NOW - 9, NOW + 600, "scanned the mail ports as well, see the ticket of Monday", "root"))  # fmt: skip
FINDINGS = (
    Finding("closed-by-other", "problem", "table inet filter (of firewalld) drops what its own rules do not accept, and names no port 22: SSH may not get in there",
            "firewall-cmd --permanent --add-port=22/tcp && firewall-cmd --reload"),
    Finding("loglevel", "advice", "sshd writes no line for who connects and leaves", "write LogLevel VERBOSE in /etc/ssh/sshd_config, then: systemctl reload ssh"),
)  # fmt: skip
ENTRY = Noted(3, "break_in", str(A), "page", f"bob logged in from {A}, which had guessed passwords here", ("11 failed attempts", EVIL), "nothing",
              f"quietgate ban --evict {A}", False, NOW - 90, NOW - 50, 2, 1, 1, NOW - 49, "", False, False)  # fmt: skip
STATUS = Status(
    verdict="trial", why="generation 5 is on trial, 42 s to go; then generation 4 is back", generation=5, ssh_ports=(22, 2222),
    ports_why="its configuration says 22 and 2222", who="anyone", limit="5 per 1m", bans=1204, bans_day=395,
    counters={"ssh_limited": 98_123, "ban_ssh": 4}, conntrack=(512, 262_144), policy_error="", policy_differs=True, warnings=(),
    next="log in anew from another terminal, or: quietgate confirm", trial=42.0, known=3, known_limit="60 per 1m", floor=2,
    reserve="strangers may hold 7 of 10 places (30 % reserved)", limited=tuple(f"198.51.100.{n}" for n in range(7)), startups=((3, 10, 100),),
    findings=FINDINGS, guard=Guard(812, NOW - 86400 * 11, "enforce", 4012, f"the store: {EVIL}", (("journal", "root", NOW - 5, ""), ("auth.log", "file", 0.0, "no such file"))),
    alerts={"break_in": 1}, undelivered=("mail: nobody listens on port 25 of this host",),
)  # fmt: skip
WHY = Explanation(
    address=A, source=A, port=22, protocol="tcp", decision=Decision("drop", Rule("ban.ssh4", (), Origin("/etc/quietgate/quietgate.toml", 7)), Hook.PREROUTING, False,
                                                                      ["raw.first", "ban.ssh4"]),
    sets=(), slots_used=3, slots=5, next_slot=12.0, bans=BANS[:1], up=True, kernel=True, policy_differs=True,
    history=(Guess(NOW - 4000, A, A, "failed", "root", "password",
                   f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root{EVIL}", 2),),
    logins=(Login("bob", A, NOW - 50, "journal"),), generation=4, looked_at=("generation 4, which is in force", "our sets in the kernel"),
    not_looked_at=("table inet filter of ufw, which drops what it does not accept", EVIL), wrong=f"/etc/quietgate/quietgate.toml:2: {EVIL}",
)  # fmt: skip
# What is in force: nothing of it is printed by these.
TOLD = Deciding(cast("Prepared", None), 4, Record(4, "", "", (22,), (), NOW), trial=False, written=None)
DIFF = Difference(
    TOLD, drift=True, settings=(Setting("ssh.limit", '"5 per 1m"', '"10 per 1m"'), Setting("firewall.deny", "[]", "[...]", tuple(f'"198.18.{n}.0/24"' for n in range(12)))),
    moved=("sshd's ports: 22 -> 22, 2222",), rules=(Change("rule in ssh.trusted", "tcp dport 22 ip saddr @trusted4 accept", "tcp dport { 22, 2222 } ip saddr @trusted4 counter name ssh_known accept"),
                          Change("elements of deny4", None, ", ".join(f"198.18.{n}.0/24" for n in range(12)))),
    people=(Access(Who("192.0.2.7 (ssh.trusted, @office)", parse_address("192.0.2.7")), Target("tcp", 22), "yes", "limited"),
            Access(Who("everyone else over IPv6", parse_address("2001:db8::9")), Target("ping", 0), "no", "yes")))  # fmt: skip


@contextlib.contextmanager
def utc(now: float | None = NOW) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.dict("os.environ", {"TZ": "UTC"}))
        if now is not None:
            stack.enter_context(patch("time.time", lambda: now))
        time.tzset()
        try:
            yield
        finally:
            stack.close()
            time.tzset()


def fill(root: Path) -> None:
    """A store with these bans, below `root`."""
    with Store(Paths(root).store) as store:
        store.put_bans(BANS, lambda: None)


def said(name: str, screen: Screen, root: Path) -> str:
    """What command `name` prints on such a screen."""
    module = import_module(f"quietgate.ui.commands.{name}")
    values: dict[str, dict[str, Callable[..., Any]]] = {
        "status": {"status": lambda _: STATUS},
        "why": {"why": lambda *_, **__: WHY},
        "doctor": {"checkup": lambda _: Checkup(TOLD, FINDINGS, new=FINDINGS[1:])},
        "diff": {"difference": lambda _: DIFF},
        "alerts": {
            "record.record": lambda *_: Alerts((ENTRY,), (Parcel("1", "mail-1", "", NOW - 70, NOW, 3, "nobody listens on port 25"),))
        },
        "report": {"look.digest": lambda *_: pictures.shown()},
        "bans": {},
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(utc())
        for what, instead in {**values[name], "here": lambda: screen}.items():
            holder, _, attribute = what.rpartition(".")
            stack.enter_context(patch.object(getattr(module, holder) if holder else module, attribute, instead))
        command: click.Command = module.command
        done = CliRunner().invoke(command, [str(A)] if name == "why" else [], obj=Settings(root), color=True, catch_exceptions=False)
    return done.output
