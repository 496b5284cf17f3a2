"""The limit at published ports: connections that NAT sends on into a container's or guest's SSH server, in the forward hook. Pure.

One budget for all doors of this host: the slots are the limiter's. Places are not: a container's sshd has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from quietgate.errors import Origin
from quietgate.firewall import limiter, names
from quietgate.firewall.limiter import Door
from quietgate.firewall.rules import Assured, Chain, Drop, Goto, Jump, Original, Published, Return, Rule, Settled, State, Waits
from quietgate.policy.model import Ssh


def rules(ssh: Ssh, origin: Origin | None) -> Iterator[Rule]:
    """What is sent on into a container's SSH server has the same limit: one budget for all doors of this host."""
    if not ssh.published or ssh.limit is None:
        return
    at = Published(ssh.published)
    yield Rule("pub.syn", (at, limiter.SYN, Goto("pub_syn")), origin)
    yield Rule("pub.prove", (at, State(("established",)), Original(), Jump("pub_prove")), origin)


def chains(ssh: Ssh, door: Door, origin: Origin | None) -> Iterator[Chain]:
    """The chains behind `pub.syn` and `pub.prove`. A container's sshd has places of its own, so none of this host's is taken."""
    if not ssh.published or ssh.limit is None:
        return

    def named(rules: Iterable[Rule]) -> tuple[Rule, ...]:
        return tuple(replace(rule, id=f"pub.{rule.id.removeprefix('ssh.')}") for rule in rules)

    begun = "ssh_begun" if door.places(ssh) is not None else "ssh_known"
    yield Chain("pub_syn", named((*limiter.if_known(ssh, "hello", lambda _: "ssh_open", origin), *limiter.by_key(ssh, "gate", origin))))
    rules = [] if ssh.observe else [Rule("pub.over", (Waits(names.refused()), Drop()), origin)]
    rules += [
        Rule("pub.settled", (Settled(), Waits(names.reopened(), absent=True), Return()), origin),
        Rule("pub.count", (Assured(), Goto("pub_count")), origin),
    ]
    yield Chain("pub_prove", tuple(rules))
    yield Chain(
        "pub_count", named((*limiter.if_known(ssh, "known", lambda name: f"{begun}{name}", origin), *limiter.by_key(ssh, "count", origin)))
    )
