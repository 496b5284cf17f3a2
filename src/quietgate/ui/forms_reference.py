"""The public forms, written down once: `python -m quietgate.ui.forms_reference` makes docs/json.md and docs/forms/ of it.

A key is never removed or renamed within a version; keys are added. tests/kernel/test_forms.py compares what the commands print.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VERSION = 1
# JSON's types by the words of the pages; "or" joins them, "list of X" and "object" have no further shape here but what the words say.
TYPES = {"text": "string", "number": "number", "boolean": "boolean", "list": "array", "object": "object", "null": "null"}
_COMMON = {"form": ("text", "quietgate/NAME"), "version": ("number", "of the form: 1")}
_EVENT = {"event": ("text", "which"), "at": ("number", "wall second")}
_DEED = {**_EVENT, "reason": ("text", "why"), "by": ("text", "guard, a login user, or root (no login)")}
_SEQ = "grows by one or more with each deed, and is never used twice; absent while the disk has not taken it"

Keys = dict[str, tuple[str, str]]
# Name: from where, in which way (one object, or one a line), keys, keys that may be absent.
FORMS: dict[str, tuple[str, Keys, Keys]] = {
    "error": ("any command, with its exit code; the socket has `error` in place of `message`, and neither hint nor exit",
              {"id": ("text", "see below"), "message": ("text", "what is wrong"), "hint": ("text", "what to do"), "exit": ("number", "the exit code")},
              {"problems": ("list", "of a policy: file, line, what, remedy")}),
    "status": ("`status`", {
        "verdict": ("text", "the worst truth, in one word: up, down, drift, trial, stale, unguarded, blind …"), "why": ("text", "in words"),
        "also": ("list", "what is true besides, in words"), "generation": ("null or number", "in force"), "ssh_ports": ("list", "of numbers"),
        "ports_why": ("text", "how they were found"), "who": ("text", "may reach SSH"), "limit": ("text", "of strangers, or off"),
        "store_error": ("text", "why the store cannot be read; the next four are null then"), "bans": ("null or number", "in force"),
        "bans_day": ("null or number", "made in 24 hours"), "known": ("null or number", "sources that logged in before"),
        "floor": ("null or number", "addresses of administrators kept open"), "counters": ("object", "name: packets"),
        "conntrack": ("null or list", "entries, and the most there may be"), "policy_error": ("text", "mistakes of the policy on disk"),
        "policy_differs": ("boolean", "the policy on disk is not in force"), "warnings": ("list", "in words"), "next": ("text", "the next command"),
        "mode": ("text", "of SSH: enforce or observe"), "trial": ("null or number", "seconds to go"), "reserve": ("text", "in words"),
        "limited": ("list", "sources limited in the last minute"), "startups": ("list", "of each sshd: now, begin, full (MaxStartups)"),
        "findings": ("list", "id, severity, what, remedy"), "alerts": ("object", "topic: how many stand"), "undelivered": ("list", "why messages wait"),
        "guard_state": ("object", "state (answers, silent, disabled, off), why"), "guard": ("null or object", "pid, since, mode, bans, trouble, sources, unread, failed, logins"),
    }, {}),
    "doctor": ("`doctor`", {
        "findings": ("list", "id, severity (problem, advice), what, remedy"), "up": ("boolean", "something of ours is in force"),
        "generation": ("null or number", "that was looked at"), "trial": ("boolean", "it is on trial"), "policy_differs": ("boolean", "as in status"),
        "policy_error": ("text", "as in status"), "after_up": ("null or object", "findings that `up` would add (new) or end (gone)"),
    }, {}),
    "ban": ("`bans`, one a line; in `banned`, `why`", {
        "prefix": ("text", "what is banned"), "scope": ("text", "ssh or host"), "since": ("number", "wall second"), "until": ("null or number", "wall second; null for ever"),
        "left": ("null or number", "seconds; null for ever"), "reason": ("text", "why"), "detector": ("text", "of the guard's: burst, slow, names, root, noise, penalty, widen"),
        "by": ("text", "guard, a login user, or root (no login)"),
    }, {"how": ("text", "with --all: in force, ended, lifted, replaced, lost"), "ended": ("null or number", "wall second"), "ended_by": ("text", "who"), "ended_why": ("text", "why")}),
    "banned": ("`ban`", {
        "banned": ("list", "of ban"), "refused": ("list", "prefix, asked, why"), "narrowed": ("list", "prefix, asked, why, into (how many)"),
        "mistakes": ("list", "where, what, remedy"), "left_out": ("list", "of a list: why, lines"), "replaced": ("number", "earlier bans"),
        "evicted": ("list", "bans that left for want of room"), "in_kernel": ("boolean", "false: quietgate is down, and the ban takes effect with `up`"),
    }, {}),
    "unbanned": ("`unban`", {
        "lifted": ("list", "prefix, scope"), "opened": ("list", "prefix, out_of, scope: a hole in a wider ban"), "missing": ("list", "in words: what was not banned"),
        "mistakes": ("list", "in words"), "pardoned_until": ("null or number", "wall second before which the guard does not ban it again"),
    }, {}),
    "allowed": ("`allow`", {
        "allowed": ("list", "prefixes, or without arguments: prefix, until, by, reason"), "until": ("null or number", "wall second"), "ended": ("number", "how many were ended"),
    }, {}),
    "why": ("`why`", {
        "address": ("text", ""), "source": ("text", "what it counts as"), "protocol": ("text", "tcp, udp, icmp"), "port": ("number", ""),
        "verdict": ("text", "accept or drop"), "hook": ("text", "where it was decided"), "rule": ("text", "id of the rule"), "file": ("null or text", "of the policy"),
        "line": ("null or number", "in it"), "passed": ("list", "ids of rules on the way"), "sets": ("list", "set, address, left"), "slots_used": ("number", "of the limit"),
        "slots": ("number", "there are"), "next_slot": ("null or number", "seconds until one is free"), "bans": ("list", "of ban"), "up": ("boolean", "something of ours decides"),
        "kernel": ("boolean", "our sets were looked at"), "policy_differs": ("boolean", "as in status"), "history": ("list", "at, address, outcome, user, method, times, line"),
        "logins": ("list", "user, address, at, witness"), "proved": ("null or object", "with --prove: let_in, agree, by, unknown, to"),
        "certain": ("boolean", "nothing else decides"), "looked_at": ("list", "in words"), "not_looked_at": ("list", "in words"), "generation": ("null or number", "that answered"),
        "trial": ("boolean", "it is on trial"), "listening": ("boolean", "something listens there"), "policy_error": ("text", "as in status"),
        "sent_on": ("null or object", "by NAT: address, port, sure"), "after_up": ("null or object", "with the policy on disk: verdict, hook, rule, file, line"),
    }, {}),
    "up": ("`up`", {
        "generation": ("number", "in force, or on trial"), "changed": ("boolean", "rules"), "settings": ("boolean", "settings that change no rule"),
        "differences": ("list", "in words"), "bans": ("number", "in the kernel"), "known": ("number", "sources"), "floor": ("number", "addresses"),
        "trial": ("null or number", "seconds"), "ssh_ports": ("list", "of numbers"), "rehearsal": ("null or object", "who was tried"), "warnings": ("list", "file, line, what, remedy"),
    }, {"confirmed": ("boolean", "after a trial"), "proven_by": ("text", "address"), "proven": ("list", "IPv4, IPv6")}),
    "confirm": ("`confirm`", {"generation": ("number", "kept"), "proven": ("list", "IPv4, IPv6")}, {}),
    "revert": ("`revert`", {"generation": ("number", "in force again"), "ended": ("null or number", "the trial that was ended")}, {}),
    "down": ("`down`", {"changed": ("boolean", "something was in force")}, {}),
    "boot": ("`boot`", {"generation": ("number", "loaded"), "bans": ("number", ""), "fresh": ("boolean", "made from the policy"), "trouble": ("text", "in words")}, {}),
    "refresh": ("`refresh`", {"generation": ("null or number", "in force"), "changed": ("boolean", ""), "skipped": ("text", "why nothing was done"), "restored": ("boolean", "our table was put back")}, {}),
    "check": ("`check`", {"ok": ("boolean", ""), "files": ("list", "read"), "rules": ("number", "in the kernel"), "ssh_ports": ("list", "of numbers"), "warnings": ("list", "file, line, what, remedy")}, {}),
    "show": ("`show`", {"ruleset": ("text", "nft's text"), "digest": ("text", "SHA-256 of it")}, {}),
    "origins": ("`show --origin`", {"settings": ("list", "path, value, origin")}, {}),
    "diff": ("`diff`", {
        "up": ("boolean", ""), "generation": ("null or number", "in force"), "trial": ("boolean", ""), "drift": ("boolean", "another program changed our table"),
        "settings": ("list", "what the policy on disk says otherwise"), "moved": ("list", "in words: ports, addresses of names"), "people": ("list", "in words: who gains, who loses"),
        "changes": ("list", "rules"), "policy_error": ("text", "as in status"), "problems": ("list", "file, line, what, remedy"), "in_force": ("list", "key, value"),
    }, {}),
    "init": ("`init`", {"file": ("null or text", "written"), "policy": ("text", "proposed"), "found": ("list", "in words")}, {}),
    "report": ("`report`", {
        "host": ("text", ""), "since": ("number", "wall second"), "until": ("number", "wall second"), "attempts": ("number", ""), "sources": ("number", "that attacked"),
        "made": ("object", "bans by detector"), "bans": ("number", "in force"), "bars": ("list", "attempts in equal parts of the time"), "names": ("list", "name, attempts: names that exist"),
        "unknown": ("number", "attempts at names that do not exist"), "busiest": ("list", "source, attempts, first, last, existing, others, banned"),
        "logins": ("list", "user, address, at"), "changes": ("list", "generation, at, ports"), "alerts": ("list", "of alert"), "look": ("list", "id, severity, what, remedy"),
    }, {}),
    "observed": ("`report --observed`", {"since": ("number", "wall second"), "peer": ("boolean", "fail2ban is here"), "mode": ("text", "enforce or observe"), "rows": ("list", "source, ours, why, theirs, jail, observed")}, {}),
    "alert": ("`alerts`, one a line", {
        "id": ("number", "for `alerts ack`"), "topic": ("text", ""), "subject": ("text", ""), "severity": ("text", "page, warn, info"), "what": ("text", "in words"),
        "evidence": ("list", "in words"), "done": ("text", "what quietgate did"), "next": ("text", "what to do"), "first": ("number", "wall second"), "last": ("number", "wall second"),
        "count": ("number", ""), "told": ("null or number", "wall second"), "over": ("text", "why it is; empty while it is not"), "acknowledged": ("boolean", ""),
    }, {}),
    "acknowledged": ("`alerts ack`", {"ids": ("list", "of numbers")}, {}),
    "parsed": ("`parse`, one a line", {
        "line": ("number", "from 1"), "time": ("text", "ISO 8601 with a zone"), "kind": ("text", "of event"), "hostile": ("boolean", "attackers produce it"), "address": ("null or text", ""),
        "user": ("null or text", ""), "port": ("null or number", ""), "pid": ("number", "0: none"), "times": ("number", ""),
    }, {}),
    "ready": ("`run --ready`", {"state": ("text", "as guard_state in status"), "why": ("text", ""), "pid": ("null or number", "")}, {}),
    "guard": ("the socket, to `status` and `measures`", {
        "pid": ("number", ""), "since": ("number", "wall second"), "bans": ("number", "made by this process"), "trouble": ("text", "in words"), "mode": ("text", "enforce or observe"),
        "figures": ("object", "of the engine"), "alerts": ("object", ""), "heard": ("object", "attempts by outcome, and logins"), "places": ("object", "freed, ended"),
        "startups": ("list", "as in status"), "trial": ("null or list", "number, end"), "sources": ("list", "name, trust, last, events, trouble, lines, unread"),
    }, {"measures": ("object", "the kernel's and the store's figures")}),
    "listening": ("the socket, to `events`", {"listening": ("boolean", "true"), "seq": ("number", "of the last deed before what follows; 0: there is none")}, {}),
    "ok": ("the socket, to `changed`", {"ok": ("boolean", "true")}, {}),
    "version": ("the socket, to `version`", {"product": ("text", "version of quietgate"), "forms": ("number", "of all forms")}, {}),
    "event ban": ("`events`, the socket", {**_DEED, "source": ("text", "prefix"), "scope": ("text", "ssh or host"), "until": ("null or number", "wall second"), "detector": ("text", "as in ban")}, {"seq": ("number", _SEQ)}),
    "event unban": ("`events`, the socket", {**_DEED, "source": ("text", "prefix"), "scope": ("text", "ssh or host")}, {"seq": ("number", _SEQ)}),
    "event allow": ("`events`, the socket", {**_DEED, "source": ("text", "prefix"), "scope": ("text", "ssh"), "until": ("null or number", "wall second")}, {"seq": ("number", _SEQ)}),
    "event up": ("`events`, the socket", {**_DEED, "generation": ("null or number", ""), "until": ("null or number", "of a trial")}, {"seq": ("number", _SEQ)}),
    "event confirm": ("`events`, the socket", {**_DEED, "generation": ("null or number", "")}, {"seq": ("number", _SEQ)}),
    "event revert": ("`events`, the socket", {**_DEED, "generation": ("null or number", "")}, {"seq": ("number", _SEQ)}),
    "event lapse": ("`events`, the socket", {**_DEED, "generation": ("null or number", ""), "until": ("null or number", "the trial's end")}, {"seq": ("number", _SEQ)}),
    "event down": ("`events`, the socket", {**_DEED, "generation": ("null or number", "")}, {"seq": ("number", _SEQ)}),
    "event attempt": ("the socket", {**_EVENT, "address": ("text", ""), "source": ("text", "what it counts as"), "outcome": ("text", "failed, noise, penalty, unsure, excused, succeeded"),
                      "user": ("text", "as the store keeps it"), "method": ("text", ""), "times": ("number", "")}, {}),
    "event login": ("the socket", {**_EVENT, "user": ("text", ""), "address": ("text", "")}, {}),
    "event would-ban": ("the socket, in mode observe", {**_EVENT, "source": ("text", ""), "detector": ("text", ""), "until": ("null or number", ""), "reason": ("text", "")}, {}),
    "event spared": ("the socket", {**_EVENT, "source": ("text", ""), "why": ("text", ""), "detector": ("text", "")}, {}),
    "event alert": ("the socket", {**_EVENT, "topic": ("text", ""), "subject": ("text", ""), "said": ("text", "in words"), "severity": ("text", ""), "count": ("number", ""), "over": ("text", "as in alert")}, {}),
    "event table": ("the socket", {**_EVENT, "done": ("text", "what was put back")}, {}),
    "event mended": ("the socket", {**_EVENT, "done": ("text", "what became of the database")}, {}),
}  # fmt: skip

_HEAD = """# JSON for programs

Made by `python -m quietgate.ui.forms_reference`; a schema of each form lies in `docs/forms/`. `tests/kernel/test_forms.py` compares both with
what the commands and the socket print.

**What is promised.** Every object has `form` and `version`. Within a version no key is removed, renamed or given another type; keys, events and
forms are added, so ignore what you do not know. Output is ASCII, one object a line. Times are seconds since 1970, lengths are seconds, unless a
row says otherwise. `null` means that there is none, or that it is not known. Texts "in words" are for people, and may change.

**Commands.** `--json` after the command. The exit code is that of `docs/errors.md` in either way; what goes wrong is an `error` on standard output,
wrong words on the command line too, and the same for people on standard error.

**The socket.** `/run/quietgate/guard/control`: a JSON object a line, both ways, for root and the members of `control.group`.
`{"ask": "status"}`, `{"ask": "measures"}`, `{"ask": "version"}` are answered once. `{"ask": "events"}` is answered with `listening`, then one object
for each event. With `"since": SEQ` the deeds after that number come first. So a front end listens, takes the `seq` of `listening`, reads what
stands (`bans --json`), and applies what has a greater number; after a lost connection it goes on with the last `seq` that it had, and misses nothing,
whatever was restarted. A ban that ends by itself has no event: its `until` says when. `examples/live_bans.py` does all of it in under 60 lines. A reader that is 1,000 events behind is dropped with an error
of id `lost`.

**Ids of errors**: `failed`, `input`, `policy`, `refused`, `host`, `busy`, `nft`, `kernel`, `state`, `damaged`, `permission`, `daemon`, `daemon-hangs`; on the
socket also `lost`. 130 is the exit code after Ctrl-C.

"""


def keys(name: str) -> tuple[Keys, Keys]:
    """What is always there, and what may be."""
    _, always, maybe = FORMS[name]
    return {**_COMMON, **always}, maybe


def schema(name: str) -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    always, maybe = keys(name)
    properties: dict[str, Any] = {}
    for key, (words, about) in {**always, **maybe}.items():
        types = [TYPES[w] for w in words.split(" or ")]
        properties[key] = {"type": types[0] if len(types) == 1 else types, **({"description": about} if about else {})}
    properties["form"] = {"const": f"quietgate/{name.partition(' ')[0]}"}
    properties["version"] = {"const": VERSION}
    if name.startswith("event "):
        properties["event"] = {"const": name.removeprefix("event ")}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"quietgate/{name}", "type": "object", "properties": properties,
            "required": list(always)}  # fmt: skip


def page() -> str:
    """docs/json.md."""
    parts = [_HEAD.rstrip()]
    for name, (where, always, maybe) in FORMS.items():
        rows = [f"| `{k}` | {t} | {about} |" for k, (t, about) in always.items()]
        rows += [f"| `{k}` | {t}, or absent | {about} |" for k, (t, about) in maybe.items()]
        parts.append(f"## {name}\n{where}\n\n| key | type | |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def file_of(name: str) -> str:
    """The name of its schema's file."""
    return f"{name.replace(' ', '-')}.schema.json"


def main() -> None:
    """Write them, from the top of a checkout."""
    Path("docs/json.md").write_text(page())
    place = Path("docs/forms")
    place.mkdir(exist_ok=True)
    for old in place.glob("*.json"):
        old.unlink()
    for name in FORMS:
        (place / file_of(name)).write_text(json.dumps(schema(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
