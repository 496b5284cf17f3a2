"""The public JSON forms. Each object names its form and version; fields are added, never renamed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quietgate.errors import PolicyError, Problem, QuietgateError
from quietgate.firewall.evaluate import Decision
from quietgate.hindsight.digest import Digest
from quietgate.hindsight.past_bans import PastBan
from quietgate.inspect.doctor import Finding
from quietgate.inspect.status import Status
from quietgate.inspect.why import Explanation
from quietgate.values import Ban, Noted

VERSION = 1


def form(name: str, fields: Mapping[str, Any]) -> str:
    """One object as a line of JSON; ASCII only, so that no terminal is fooled by its text."""
    return json.dumps({"form": f"quietgate/{name}", "version": VERSION, **fields})


def ban(b: Ban, now: float) -> dict[str, Any]:
    """A ban. Times in seconds since 1970, `left` in seconds, null for ever."""
    return {"prefix": str(b.prefix), "scope": b.scope.value, "since": b.since, "until": b.until, "left": b.left(now),
            "reason": b.reason, "detector": b.reason.partition(":")[0] if b.by == "guard" else "", "by": b.by}  # fmt: skip


def past_ban(p: PastBan, now: float) -> dict[str, Any]:
    """The same, and how it ended: `how` is "in force", "ended", "lifted", "replaced" or "lost"; `ended` null while it is in force."""
    return {**ban(p.ban, now), "how": p.how, "ended": p.ended, "ended_by": p.ended_by, "ended_why": p.ended_why}


def problem(p: Problem) -> dict[str, Any]:
    """A mistake in the policy."""
    return {"file": p.origin.file, "line": p.origin.line, "what": p.what, "remedy": p.remedy}


def error(e: QuietgateError) -> str:
    """An error, with the same id and exit code as for people."""
    fields: dict[str, Any] = {"id": e.id, "message": e.message, "hint": e.hint, "exit": int(e.exit)}
    if isinstance(e, PolicyError):
        fields["problems"] = [problem(p) for p in e.problems]
    return form("error", fields)


def status(s: Status) -> dict[str, Any]:
    """The state of this host. What the store holds is null where it cannot be read; `store_error` says why."""

    def kept(count: int) -> int | None:
        return None if s.store_error else count

    return {
        "verdict": s.verdict, "why": s.why, "also": list(s.also), "generation": s.generation, "ssh_ports": list(s.ssh_ports),
        "ports_why": s.ports_why, "who": s.who, "limit": s.limit, "store_error": s.store_error, "bans": kept(s.bans),
        "bans_day": kept(s.bans_day),
        "counters": s.counters, "conntrack": s.conntrack, "policy_error": s.policy_error,
        "policy_differs": s.policy_differs, "warnings": list(s.warnings), "next": s.next,
        "mode": s.mode, "trial": s.trial, "known": kept(s.known), "floor": kept(s.floor), "reserve": s.reserve,
        "limited": list(s.limited), "startups": [list(x) for x in s.startups],
        "findings": [finding(f) for f in s.findings], "alerts": dict(s.alerts), "undelivered": list(s.undelivered),
        "guard_state": {"state": s.guard_state.state, "why": s.guard_state.why},
        "guard": None if s.guard is None else {
            "pid": s.guard.pid, "since": s.guard.since, "mode": s.guard.mode, "bans": s.guard.bans, "trouble": s.guard.trouble,
            "sources": [{"name": n, "trust": t, "last": at, "trouble": why} for n, t, at, why in s.guard.sources],
            "unread": [{"source": n, "kind": why, "lines": count, "example": example} for n, why, count, example in s.guard.unread],
            "failed": s.guard.failed, "logins": s.guard.logins,
        },
    }  # fmt: skip


def alert(n: Noted) -> dict[str, Any]:
    """A thing that a person should know. Times in seconds since 1970; `over` says why it is, "" while it is not."""
    return {"id": n.id, "topic": n.topic, "subject": n.subject, "severity": n.severity, "what": n.what, "evidence": list(n.evidence), "done": n.done,
            "next": n.next, "first": n.first, "last": n.last, "count": n.count, "told": n.told, "over": n.over, "acknowledged": n.seen}  # fmt: skip


def plain(found: Mapping[str, Any]) -> str:
    """A form that is whole already, as a line of ASCII."""
    return json.dumps(found)


def digest(d: Digest) -> dict[str, Any]:
    """What happened between two seconds since 1970."""
    return {
        "host": d.host, "since": d.since, "until": d.until, "attempts": d.attempts, "sources": d.sources, "made": dict(d.made), "bans": d.bans,
        "bars": list(d.bars), "names": [{"name": n, "attempts": c} for n, c in d.names], "unknown": d.unknown,
        "busiest": [{"source": str(s.source), "attempts": s.attempts, "first": s.first, "last": s.last, "existing": list(s.existing),
                     "others": s.others, "banned": s.ban is not None} for s in d.busiest],
        "logins": [{"user": x.user, "address": str(x.address), "at": x.at} for x in d.logins],
        "changes": [{"generation": c.number, "at": c.at, "ports": list(c.ports)} for c in d.changes],
        "alerts": [alert(a) for a in d.alerts], "look": [finding(f) for f in d.look],
    }  # fmt: skip


def finding(f: Finding) -> dict[str, Any]:
    """Something that is wrong, or could be better."""
    return {"id": f.id, "severity": f.severity, "what": f.what, "remedy": f.remedy}


def _decision(d: Decision) -> dict[str, Any]:
    origin = d.rule.origin
    return {"verdict": d.verdict, "hook": d.hook.value, "rule": d.rule.id, "file": origin.file if origin else None,
            "line": origin.line if origin else None}  # fmt: skip


def why(e: Explanation, now: float) -> dict[str, Any]:
    """What happens to a packet, and why."""
    return {
        "address": str(e.address), "source": str(e.source), "protocol": e.protocol, "port": e.port,
        **_decision(e.decision), "passed": e.decision.passed,
        "sets": [{"set": s.name, "address": str(s.address), "left": s.left} for s in e.sets],
        "slots_used": e.slots_used, "slots": e.slots, "next_slot": e.next_slot,
        "bans": [ban(b, now) for b in e.bans], "up": e.up, "kernel": e.kernel, "policy_differs": e.policy_differs,
        "history": [{"at": g.at, "address": str(g.address), "outcome": g.outcome, "user": g.user, "method": g.method, "times": g.times,
                     "line": g.line} for g in e.history],
        "logins": [{"user": x.user, "address": str(x.address), "at": x.at, "witness": x.witness} for x in e.logins],
        "proved": None if e.proved is None else {"let_in": e.proved.let_in, "agree": e.proved.agree, "by": e.proved.by,
                                                 "unknown": e.proved.unknown, "to": e.proved.to},
        "certain": e.certain, "looked_at": list(e.looked_at), "not_looked_at": list(e.not_looked_at), "generation": e.generation,
        "trial": e.trial, "listening": e.listening, "policy_error": e.wrong,
        "sent_on": None if e.sent is None else {"address": e.sent.address, "port": e.sent.inside, "sure": e.sent.sure},
        "after_up": None if e.after is None else _decision(e.after),
    }  # fmt: skip
