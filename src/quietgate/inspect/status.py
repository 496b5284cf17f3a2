"""What is true now: the one source of `status`, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from quietgate.control.client import ask
from quietgate.daemon.guard_state import ANSWERS, GuardState, guard_state
from quietgate.errors import QuietgateError, StateError
from quietgate.generations.deciding import in_effect, is_in_force
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import drifted, in_force, look
from quietgate.generations.plan import Prepared, prepare
from quietgate.host import conntrack
from quietgate.host.files import policy_files
from quietgate.host.systemd import start_words
from quietgate.inspect.doctor import Finding, examine, limited_now
from quietgate.inspect.verdict import WHY, Facts, judge
from quietgate.people import admins, known
from quietgate.policy.model import Policy, Ssh
from quietgate.state.alerts import Book


@dataclass(frozen=True, slots=True)
class Guard:
    """The guard as it tells of itself; `sources`: name, trust, wall second of the last line, trouble."""

    pid: int
    since: float
    mode: str
    bans: int
    trouble: str
    sources: tuple[tuple[str, str, float, str], ...]
    unread: tuple[tuple[str, str, int, str], ...] = ()  # source, kind (`sshlog/unread`), lines, an example
    failed: int = 0
    logins: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The state of this host. `verdict` is a word of `inspect/verdict`, `also` what else is not well; `next` the command to type.

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
    also: tuple[str, ...] = ()
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
    guard_state: GuardState = ANSWERS  # off, silent, disabled; and why, where that is known
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
    except QuietgateError as mistake:
        error, absent = mistake.message, not policy_files(parts.paths.policy, parts.paths.drop_ins)
    differs = prepared is not None and record is not None and not is_in_force(prepared, record)
    left = max(inside.left.values()) if inside.on_trial else None
    damaged = record is None and number is not None and any(b.number == number for b in parts.generations.broken())
    lapsed = inside.candidate if record is not None and not inside.on_trial else None
    told = in_effect(parts, record, prepared)
    ssh = told.policy.ssh if told else None
    up = inside.living is not None
    findings = examine(parts, told) if told else []
    kept, store_error = _Kept(), ""
    try:
        kept = _kept(parts, told.policy if told else None)
    except StateError as trouble:  # the firewall is looked at all the same
        store_error = f"{trouble.message}; {trouble.hint}"
    guarding = guard(parts)
    state = ANSWERS if guarding else guard_state(parts.paths, told.policy if told else None)
    found = judge(Facts(
        deciding=number,
        confirmed=inside.confirmed,
        lapsed=lapsed,
        boots=newest.number if newest else None,
        left=left,
        drifted=number is not None
        and left is None
        and lapsed is None
        and not damaged
        and (record is None or drifted(parts.nft, record) is True),
        damaged=damaged,
        held=parts.paths.held_down.exists(),
        differs=differs,
        guard=state.state,
        blind=_blind(guarding) or kept.blind,
        start=start_words("quietgate-guard"),
        restart=start_words("quietgate-guard", "restart"),
    ))  # fmt: skip
    following = found.next
    if error:
        following = "quietgate init" if absent else "quietgate check"
    elif following == WHY and any(f.severity == "problem" for f in findings):
        following = "quietgate doctor"
    elif following == WHY and kept.alerts:
        following = "quietgate alerts"
    places = next((s for s in (inside.living.sets if inside.living else ()) if s.startswith("waiting_")), "")
    return Status(
        verdict=found.word,
        why=found.why,
        also=found.also,
        generation=number,
        ssh_ports=record.ports if record else told.ports.ports if told else (),
        ports_why=told.ports.why if told else "",
        who="" if ssh is None else _who(ssh),
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
        guard=guarding,
        guard_state=state,
        store_error=store_error,
        alerts=kept.alerts,
        undelivered=kept.undelivered,
    )


def _who(ssh: Ssh) -> str:
    """Who may reach SSH."""
    if ssh.sources.anywhere:
        return "anyone"
    said = [f"{len(ssh.sources.entries)} in ssh.from"] if ssh.sources.entries or not ssh.interfaces else []
    return " and ".join([*said, *([f"whoever comes over {', '.join(ssh.interfaces)}"] if ssh.interfaces else [])])


def guard(parts: Parts) -> Guard | None:
    """Ask the guard how it does; None if it does not run, or does not answer."""
    try:
        said = ask(parts.paths.control, {"ask": "status"}, 2.0)
        rows = tuple((str(s["name"]), str(s["trust"]), float(s["last"]), str(s["trouble"])) for s in said["sources"])
        unread = tuple(
            (str(s["name"]), str(why), int(count), str(example))
            for s in said["sources"]
            for why, (count, example) in s.get("unread", {}).items()
        )
        heard = said.get("heard", {})
        return Guard(int(said["pid"]), float(said["since"]), str(said["mode"]), int(said["bans"]), str(said["trouble"]), rows, unread,
                     int(heard.get("failed", 0)), int(heard.get("logins", 0)))  # fmt: skip
    except (QuietgateError, KeyError, TypeError, ValueError):
        return None


def _blind(guard: Guard | None) -> str:
    """Why it reads nothing of one of its sources."""
    if guard is None:
        return ""
    return "; ".join(f"{name}: {trouble}" for name, _, _, trouble in guard.sources if trouble)


def _begin(prepared: Prepared | None) -> int:
    return 0 if prepared is None else prepared.ports.begin


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the store says."""

    bans: int = 0
    day: int = 0
    known: int = 0
    floor: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    undelivered: tuple[str, ...] = ()
    blind: str = ""


def _kept(parts: Parts, policy: Policy | None) -> _Kept:
    now = time.time()
    with parts.look() as store:
        sources = (len(known.sources(store, policy.ssh, now)), len(admins.sources(store, policy.ssh.counting, now))) if policy else (0, 0)
        book = Book(store)
        return _Kept(store.count(now), store.count_since(now, now - 86400), *sources, book.open_things(),
                     tuple(sorted({p.error for p in book.parcels() if p.error})), _still_blind(book, now))  # fmt: skip


def _still_blind(book: Book, now: float) -> str:
    """What the guard has found out about itself, and what still lasts: a log that is silent, a limit without effect."""
    return next((n.what for n in book.noted(now) if n.topic == "blind" and n.lasting and not n.over), "")


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
