"""What a policy says to the guard: thresholds, sentences, who is spared."""

from __future__ import annotations

from typing import cast

from quietgate.generations.plan import Prepared
from quietgate.guard.alerts import Topic
from quietgate.guard.detect import NAMES, Threshold
from quietgate.guard.engine import Settings
from quietgate.guard.never import never_banned, passing
from quietgate.guard.pacing import Manners
from quietgate.guard.sentences import Sentences
from quietgate.guard.widen import Widen
from quietgate.policy.model import Policy
from quietgate.policy.terms import Rate
from quietgate.values import Scope, Surroundings


def settings(prepared: Prepared, around: Surroundings) -> Settings:
    """The guard's settings under this policy, on this host with these surroundings."""
    policy, resolved = prepared.policy, prepared.resolved
    values = policy.values
    rates = ((name, cast("Rate | None", values[f"guard.detect.{name}"])) for name in NAMES)
    return Settings(
        thresholds={name: Threshold(rate.count, rate.window) for name, rate in rates if rate is not None},
        sentences=Sentences(
            tuple(_length(s) for s in cast("tuple[object, ...]", values["bans.steps"])),
            cast("float", values["bans.forget"]),
            cast("int", values["bans.jitter"]),
        ),
        counting=policy.ssh.counting,
        never=never_banned(policy, resolved, around),
        spared=passing(policy, resolved, around),
        scope=Scope(cast("str", values["bans.scope"])),
        patience=cast("int", values["guard.patience"]),
        known_for=policy.ssh.known,
        observe=values["guard.mode"] == "observe",
        root_refused=all(c.values.get("permitrootlogin", "prohibit-password") != "yes" for c in prepared.ports.configs),
        most_sources=cast("int", values["guard.max_sources"]),
        widen=Widen(
            number(policy, "bans.widen.sources"),
            number(policy, "bans.widen.within"),
            number(policy, "bans.widen.v4"),
            number(policy, "bans.widen.v6"),
        ),
        most_open=cast("int", values["guard.max_open"]),
        alerts=frozenset(t for t in Topic if values[f"alerts.{t.value}"]),
    )


def manners(policy: Policy) -> Manners:
    """How messages are to behave."""
    values = policy.values
    most = cast("Rate | None", values["alerts.at_most"])
    first, _, last = str(values["alerts.quiet"]).partition("-")
    return Manners(
        group_for=float(number(policy, "alerts.group_for")),
        at_most=None if most is None else (most.count, float(most.window)),
        hours=(minutes(first), minutes(last)) if first else None,
        kept=frozenset(t for t in Topic if values[f"alerts.{t.value}"] == "digest"),
    )


def minutes(text: str) -> int:
    """`07:30` as minutes of the day."""
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _length(step: object) -> float:
    """A step in seconds; "forever" has no end."""
    return float(step) if isinstance(step, int) else float("inf")


def flag(policy: Policy, path: str) -> bool:
    """A setting that is true or false."""
    return bool(policy.values[path])


def number(policy: Policy, path: str) -> int:
    """A setting that is a number, or a time in seconds."""
    return cast("int", policy.values[path])
