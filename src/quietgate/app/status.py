"""What is true now: the one source of `status`, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from quietgate.app import admins, known
from quietgate.app.apply import contents
from quietgate.app.control import ask
from quietgate.app.doctor import Finding, examine, limited_now
from quietgate.app.generations import Record
from quietgate.app.inside import drifted, in_force, look
from quietgate.app.parts import Parts
from quietgate.app.prepare import Prepared, prepare, prepare_from
from quietgate.errors import QuietgateError, StateError
from quietgate.host import conntrack
from quietgate.host.book import Book
from quietgate.host.files import policy_files
from quietgate.host.store import Store
from quietgate.policy.load import load
from quietgate.policy.model import Policy

SILENT = 86400.0  # seconds without a line of sshd's after which its silence is said


@dataclass(frozen=True, slots=True)
class Guard:
    """The guard as it tells of itself; `sources`: name, trust, wall second of the last line, trouble."""

    pid: int
    since: float
    mode: str
    bans: int
    trouble: str
    sources: tuple[tuple[str, str, float, str], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of this host. `verdict` is one word: up, trial, down, drift or stale; `next` the command to type.

    `startups`: of each sshd, connections that have not logged in, and first and last number of MaxStartups. `trial`:
    seconds left.
    """

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
    mode: str = "enforce"
    trial: float | None = None
    known: int = 0
    known_limit: str = ""
    floor: int = 0
    reserve: str = ""
    limited: tuple[str, ...] = ()
    startups: tuple[tuple[int, int, int], ...] = ()
    findings: tuple[Finding, ...] = ()
    guard: Guard | None = None
    store_error: str = ""
    alerts: Mapping[str, int] = field(default_factory=dict)  # that want a person, by topic
    undelivered: tuple[str, ...] = ()  # what is wrong with the ways that messages wait for


def status(parts: Parts) -> Status:
    """Look at the kernel, the disk and the store; change nothing. Raises NotPermitted without root."""
    inside = look(parts.nft)
    number = inside.deciding
    record = in_force(parts.generations, inside)
    newest = parts.generations.newest()
    error, absent, prepared = "", False, None
    try:
        prepared = prepare(parts.paths)
    except QuietgateError as found:
        error, absent = found.message, not policy_files(parts.paths.policy, parts.paths.drop_ins)
    differs = prepared is not None and record is not None and not _is_in_force(prepared, record)
    verdict, reason, following = "up", f"generation {number} is in force", "quietgate why ADDRESS"
    left = max(inside.left.values()) if inside.on_trial else None
    if left is not None:
        verdict, reason = "trial", f"generation {number} is on trial, {left:.0f} s to go; then {_then(inside.confirmed)}"
        following = "log in anew from another terminal, or: quietgate confirm"
    elif number is None:
        held = parts.paths.held_down.exists()
        verdict = "down"
        reason = "taken down by hand; nothing is limited or banned" if held else "nothing is limited or banned"
        following = "quietgate up"
    elif record is not None and inside.candidate is not None:  # not drift: it is ours, and the next refresh clears it away
        verdict, reason = "stale", f"generation {number} is in force; nobody confirmed generation {inside.candidate}, and its trial is over"
        following = "quietgate diff, then quietgate up"
    elif record is None or drifted(parts.nft, record):
        verdict, reason, following = "drift", "the table in the kernel is not what was loaded", "quietgate up"
    elif newest is None or newest.number != number:
        boot = newest.number if newest else "none"
        verdict, reason = "stale", f"generation {number} is in force, but a boot would load {boot}"
        following = "quietgate up"
    elif differs:
        verdict, reason, following = "stale", "the policy on disk is not the one in force", "quietgate diff, then quietgate up"
    if error:
        following = "quietgate init" if absent else "quietgate check"
    told = _in_effect(parts, record, prepared)
    ssh = told.policy.ssh if told else None
    up = inside.living is not None
    examined = prepared or told  # as `doctor` has it: what would be in force after the next `up`
    findings = examine(parts, examined) if examined else []
    if verdict == "up" and any(f.severity == "problem" for f in findings):
        following = "quietgate doctor"
    kept, store_error = _Kept(), ""
    try:
        kept = _kept(parts, told.policy if told else None)
    except StateError as found:  # the firewall is looked at all the same
        store_error = f"{found.message}; {found.hint}"
    if verdict == "up" and following == "quietgate why ADDRESS" and kept.alerts:
        following = "quietgate alerts"
    places = next((s for s in (inside.living.sets if inside.living else ()) if s.startswith("waiting_")), "")
    return Status(
        verdict=verdict,
        why=reason,
        generation=number,
        ssh_ports=record.ports if record else told.ports.ports if told else (),
        ports_why=told.ports.why if told else "",
        who="" if ssh is None else "anyone" if ssh.sources.anywhere else f"{len(ssh.sources.entries)} in ssh.from",
        limit="" if ssh is None else str(ssh.limit) if ssh.limit else "off",
        bans=kept.bans,
        bans_day=kept.day,
        counters=parts.nft.counters() if up else {},
        conntrack=conntrack.fill(),
        policy_error=error,
        policy_differs=differs,
        warnings=tuple(str(w) for w in prepared.warnings) if prepared else (),
        next=following,
        mode="observe" if ssh is not None and ssh.observe else "enforce",
        trial=left,
        known=kept.known,
        known_limit="" if ssh is None or ssh.known is None else str(ssh.known_limit or "off"),
        floor=kept.floor,
        reserve=""
        if not places or ssh is None
        else f"strangers may hold {places.split('_')[1]} of {_begin(told)} places ({ssh.reserve} % reserved)",
        limited=tuple(str(s) for s in limited_now(parts, told.policy)) if told and up else (),
        startups=tuple(d.startups for d in told.ports.daemons if d.startups) if told else (),
        findings=tuple(findings),
        guard=guard(parts),
        store_error=store_error,
        alerts=kept.alerts,
        undelivered=kept.undelivered,
    )


def _in_effect(parts: Parts, record: Record | None, prepared: Prepared | None) -> Prepared | None:
    """What decides now, whatever was written on the disk since; the policy on disk where nothing is in force."""
    if record is None or not record.contents or (prepared is not None and _is_in_force(prepared, record)):
        return prepared
    try:
        return prepare_from(parts.paths, record.written(), ask=False)
    except QuietgateError:
        return prepared  # it was right once: another version of ours reads it differently


def _is_in_force(prepared: Prepared, record: Record) -> bool:
    """True if a policy means what the one in force does: the rules, and what the guard alone obeys."""
    if prepared.digest != record.digest:
        return False
    return not record.contents or contents(prepared) == record.contents or load(record.written()).policy.meaning == prepared.policy.meaning


def guard(parts: Parts) -> Guard | None:
    """Ask the guard how it does; None if it does not run, or does not answer."""
    try:
        said = ask(parts.paths.control, {"ask": "status"}, 2.0)
        rows = tuple((str(s["name"]), str(s["trust"]), float(s["last"]), str(s["trouble"])) for s in said["sources"])
        return Guard(int(said["pid"]), float(said["since"]), str(said["mode"]), int(said["bans"]), str(said["trouble"]), rows)
    except (QuietgateError, KeyError, TypeError, ValueError):
        return None


def _begin(prepared: Prepared | None) -> int:
    return 0 if prepared is None else prepared.ports.begin


def _then(confirmed: int | None) -> str:
    return f"generation {confirmed} is back" if confirmed is not None else "nothing is in force again"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the store says."""

    bans: int = 0
    day: int = 0
    known: int = 0
    floor: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    undelivered: tuple[str, ...] = ()


def _kept(parts: Parts, policy: Policy | None) -> _Kept:
    now = time.time()
    if not parts.paths.store.exists():
        return _Kept()
    with Store(parts.paths.store, read_only=True) as store:
        sources = (len(known.sources(store, policy.ssh, now)), len(admins.sources(store, policy.ssh.counting, now))) if policy else (0, 0)
        book = Book(store)
        return _Kept(store.count(now), store.count_since(now, now - 86400), *sources, book.open_things(),
                     tuple(sorted({p.error for p in book.parcels() if p.error})))  # fmt: skip


def counter_words() -> dict[str, str]:
    """Counters shown by `status`, in order, with what to call them."""
    return {
        "ssh_counted": "SSH connections within the limit",
        "ssh_limited": "SYNs dropped by the limit",
        "ssh_refused": "connections reset by the limit or the reserve",
        "ssh_reserved": "of these, since strangers held all their places",
        "ssh_share": "of these, since their network held its share",
        "ssh_known": "SSH connections of known sources",
        "ssh_known_over": "of known sources, over their own limit",
        "ssh_waits": "packets of known, trusted and floor sources that had to wait",
        "ssh_overflow": "let through with all slots taken",
        "ban_ssh": "packets of banned sources (ssh)",
        "ban_host": "packets of banned sources (host)",
        "deny": "packets of deny",
    }
