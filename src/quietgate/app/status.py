"""What is true now: the one source of `status`, for people and for programs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from quietgate.app.apply import Parts, drifted, kernel_number
from quietgate.app.prepare import prepare
from quietgate.errors import QuietgateError
from quietgate.host.store import Store

CONNTRACK = Path("/proc/sys/net/netfilter")


@dataclass(frozen=True, slots=True)
class Status:
    """The state of this host. `verdict` is one word: up, down, drift, stale or broken; `next` the command to type."""

    verdict: str
    why: str
    generation: int | None
    ssh_ports: tuple[int, ...]
    ports_why: str
    who: str
    limit: str
    bans: int
    bans_day: int
    counters: dict[str, int]
    conntrack: tuple[int, int] | None
    policy_error: str
    policy_differs: bool
    warnings: tuple[str, ...]
    next: str


def status(parts: Parts) -> Status:
    """Look at the kernel, the disk and the store; change nothing. Raises NotPermitted without root."""
    living = parts.nft.living()
    number = kernel_number(living)
    record = None if number is None else parts.generations.number(number)
    newest = parts.generations.newest()
    error, prepared = "", None
    try:
        prepared = prepare(parts.paths)
    except QuietgateError as found:
        error = found.message
    differs = prepared is not None and record is not None and prepared.digest != record.digest
    verdict, reason, following = "up", f"generation {number} is in force", "quietgate why ADDRESS"
    if number is None:
        held = parts.paths.held_down.exists()
        verdict = "down"
        reason = "taken down by hand; nothing is limited or banned" if held else "nothing is limited or banned"
        following = "quietgate up"
    elif record is None or drifted(parts, record):
        verdict, reason, following = "drift", "the table in the kernel is not what was loaded", "quietgate up"
    elif newest is None or newest.number != number:
        boot = newest.number if newest else "none"
        verdict, reason = "stale", f"generation {number} is in force, but a boot would load {boot}"
        following = "quietgate up"
    elif differs:
        verdict, reason, following = "stale", "the policy on disk is not the one in force", "quietgate diff, then quietgate up"
    if error:
        following = "quietgate check"
    count, day = _bans(parts)
    ssh = prepared.policy.ssh if prepared else None
    return Status(
        verdict=verdict,
        why=reason,
        generation=number,
        ssh_ports=record.ports if record else prepared.ports.ports if prepared else (),
        ports_why=prepared.ports.why if prepared else "",
        who="" if ssh is None else "anyone" if ssh.sources.anywhere else f"{len(ssh.sources.entries)} entries of ssh.from",
        limit="" if ssh is None else str(ssh.limit) if ssh.limit else "off",
        bans=count,
        bans_day=day,
        counters=parts.nft.counters() if living else {},
        conntrack=_conntrack(),
        policy_error=error,
        policy_differs=differs,
        warnings=tuple(str(w) for w in prepared.warnings) if prepared else (),
        next=following,
    )


def _bans(parts: Parts) -> tuple[int, int]:
    now = time.time()
    if not parts.paths.store.exists():
        return 0, 0
    with Store(parts.paths.store, read_only=True) as store:
        return store.count(now), store.count_since(now, now - 86400)


def _conntrack() -> tuple[int, int] | None:
    try:
        return tuple(int((CONNTRACK / f).read_text()) for f in ("nf_conntrack_count", "nf_conntrack_max"))  # type: ignore[return-value]
    except (OSError, ValueError):
        return None


def counter_words() -> dict[str, str]:
    """Counters shown by `status`, in order, with what to call them."""
    return {
        "ssh_counted": "SSH connections within the limit",
        "ssh_limited": "SYNs dropped by the limit",
        "ssh_refused": "connections reset by the limit",
        "ssh_overflow": "let through with all slots taken",
        "ban_ssh": "packets of banned sources (ssh)",
        "ban_host": "packets of banned sources (host)",
        "deny": "packets of deny",
    }
