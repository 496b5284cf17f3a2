"""The rehearsal: a candidate is loaded in a copy of this host, and real connections are tried, before anybody depends on it.

Tried are live administrators (a session that is older than the rules, and a new one), trusted and allowed hosts, and the
logins that are remembered and would get in today; administrators once more without the floor, which ends. Each comes out *proven*, *failed* with the rule that ended it, or
*unknown*. Other tools' tables are loaded beside the candidate, as far as nft or iptables can load them again, since a
packet must pass them too. Where namespaces are not allowed, the evaluator answers, and the report says so.

What no rehearsal sees: sshd's own AllowUsers, routing elsewhere, IPsec and VRF, the provider's firewall.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from quietgate.clock import format_duration
from quietgate.errors import HostError, NftError, Refused
from quietgate.firewall import names
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.evaluate import Decision, Memory, Packet, decide
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render, sets_only
from quietgate.firewall.rules import Ruleset
from quietgate.generations.plan import Prepared
from quietgate.generations.records import Record
from quietgate.host import other_firewalls, sockets
from quietgate.host.accounts import user_name
from quietgate.host.netlink import Item, SetWriter
from quietgate.host.scratch import Guest, Scratch, Try, paths_to
from quietgate.net import BITS, LINK_LOCAL6, Counting, Prefix, PrefixSet
from quietgate.people import admins, known
from quietgate.policy.load import load
from quietgate.policy.model import addresses_of
from quietgate.rollout.neighbours import reason
from quietgate.rollout.strangers import host_of, strangers
from quietgate.state.database import Store
from quietgate.values import Ban, File, Scope

MOST = 600  # connections tried at most: the rest is unknown, and said so
FIRST, AGAIN = 0.6, 2.5  # seconds for a connection at the first pass, and at the second, with the trace: SYNPROXY takes one
OPEN = 1_000_000  # places: they all come at once in a rehearsal
FOREIGN = "another tool's table"
UNSEEN = ("sshd's own AllowUsers and Match rules", "routing elsewhere", "the provider's firewall")


@dataclass(frozen=True, slots=True)
class Probe:
    """Somebody who must get in: address, port, why, and whether a session that is open now must live on.

    `stranger`: stands for whoever may reach SSH and is not known here.
    """

    address: Prefix
    port: int
    why: str
    session: bool = False
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Who would be shut out, by what, and what to do."""

    probe: Probe
    kind: str  # "a new connection" | "the open session"
    by: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.probe.address} (port {self.probe.port}; {self.probe.why}): {self.kind} would be shut out by {self.by}; {self.remedy}"


@dataclass(slots=True)
class Report:
    """What came of it. `method`: "real connections", or "the evaluator".

    `strangers`: whoever is not known here, and is shut out by another tool's rule: it may be meant, and stops nothing.
    """

    method: str
    proven: list[Probe] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    strangers: list[Failure] = field(default_factory=list)
    seconds: float = 0.0


def rehearse(prepared: Prepared, store: Store, in_force: Record | None, now: float, *, remembered: bool = True) -> Report:
    """Try the candidate. Changes nothing. `in_force` tells who gets in today.

    `remembered` False leaves out past logins: where only a host name moved, its old address loses what it had by intent.
    """
    begin = time.monotonic()
    report = Report("real connections")
    probes = list(_probes(prepared, store, in_force, now, report, remembered=remembered))
    report.failed += _denied(prepared, store, now)
    ruleset = roomy(prepared)
    state = State.of(prepared, store, probes, now)
    reachable = paths_to(sorted({p.address for p in probes}))
    if prepared.ports.bound:  # a stranger comes to the address that sshd listens on, or cannot be tried
        heard = {x.address for x in sockets.listeners() if x.port in prepared.ports.ports}
        probes = [p for p in probes if not p.stranger or (p.address in reachable and reachable[p.address].local in heard)]
    for probe in probes:
        if probe.address not in reachable and not probe.stranger:
            report.unknown.append(f"{probe.address} ({probe.why}): this host has no path to it now")
    todo = {p: Try(p.address, p.port, reachable[p.address].interface, reachable[p.address].local) for p in probes if p.address in reachable}
    try:
        connect_all(todo, prepared, ruleset, state, report)
    except NftError:
        raise
    except (PermissionError, HostError) as error:
        report = Report("the evaluator", failed=list(_denied(prepared, store, now)), unknown=report.unknown)
        report.unknown.append(
            f"no namespace to rehearse in ({error}): no real connection was tried, other tools' tables were not looked at"
        )
        _evaluated(todo, prepared, ruleset, state, report)
    report.seconds = time.monotonic() - begin
    return report


def refusal(report: Report) -> Refused | None:
    """The error that stops `up`; None if nobody would be shut out."""
    if not report.failed:
        return None
    who = "\n".join(str(f) for f in report.failed)
    return Refused(f"refused, since somebody would be locked out (tried with {report.method}):\n{who}",
                   "nothing was changed; `quietgate up --force` goes on, as a trial")  # fmt: skip


# -- whom to try


def _probes(prepared: Prepared, store: Store, in_force: Record | None, now: float, report: Report, *, remembered: bool) -> Iterator[Probe]:
    policy, ports = prepared.policy, prepared.ports.ports
    seen: set[tuple[Prefix, int]] = set()

    def fresh(address: Prefix, port: int) -> bool:
        key = (policy.ssh.counting.source_of(address), port)
        if key in seen or len(seen) >= MOST:
            return False
        seen.add(key)
        return True

    for session in admins.sessions(policy, ports):
        flow = session.flow
        if LINK_LOCAL6.covers(flow.peer):
            report.unknown.append(f"{flow.peer} ({user_name(session.uid)} is logged in from there): link-local addresses are not rehearsed")
        elif fresh(flow.peer, flow.local_port):
            yield Probe(flow.peer, flow.local_port, f"{user_name(session.uid)} is logged in from there", session=True)
    listening = [p for p in ports if p in prepared.ports.listening] or list(ports)
    for address, uid, _ in store.floor(now):
        for port in listening[:1]:
            if not LINK_LOCAL6.covers(address) and fresh(address, port):
                yield Probe(address, port, f"{user_name(uid)} was logged in from there")
    named = [(policy.ssh.trusted, "ssh.trusted"), (policy.firewall.allow, "firewall.allow")]
    for addresses, path in named:
        for entry in addresses.entries:
            for prefix in addresses_of(entry, prepared.resolved):
                sample = host_of(prefix)
                if not LINK_LOCAL6.covers(sample) and fresh(sample, listening[0]):
                    yield Probe(sample, listening[0], f"{path}, {entry.origin}")
    today = _today(prepared, store, in_force, now)
    since = now - policy.lockout.history
    for login in (*store.logins(since), *store.remembered(since)) if remembered else ():
        if not LINK_LOCAL6.covers(login.address) and today(login.address, listening[0]) and fresh(login.address, listening[0]):
            yield Probe(login.address, listening[0], f"{login.user} logged in from there")
    # Where nobody else filters, our own rules decide about strangers, and are tested to.
    for address in strangers(prepared, store, now) if other_firewalls.any_tables() else ():
        if fresh(address, listening[0]):
            yield Probe(address, listening[0], "whoever ssh.from lets reach SSH", stranger=True)
    if len(seen) >= MOST:
        report.unknown.append(f"only the first {MOST} connections were tried")


def _today(prepared: Prepared, store: Store, in_force: Record | None, now: float) -> Callable[[Prefix, int], bool]:
    """Whether an address gets in under what is in force now; with nothing in force everybody does."""
    record = in_force
    if record is None or not record.contents:
        return lambda _address, _port: True
    loaded = load([File(n, t.encode()) for n, t in record.contents])
    if loaded.problems:
        return lambda _address, _port: True
    old = replace(prepared, policy=loaded.policy)
    ruleset = compile_policy(loaded.policy, Facts(Door(record.ports, prepared.ports.bound, OPEN, prepared.ports.grace), prepared.resolved))

    def asked(address: Prefix, port: int) -> bool:
        state = State.of(old, store, [Probe(address, port, "")], now)
        return decide_for(ruleset, address, port, state.memory()).verdict == "accept"

    return asked


def _denied(prepared: Prepared, store: Store, now: float) -> Iterator[Failure]:
    """`deny` over an administrator: the floor would keep his SSH, and everything else would be shut."""
    floor = [(a, uid) for a, uid, _ in store.floor(now)]
    for entry in prepared.policy.firewall.deny.entries:
        for prefix in addresses_of(entry, prepared.resolved):
            for address, uid in floor:
                if prefix.covers(address):
                    probe = Probe(address, prepared.ports.ports[0], f"{user_name(uid)} is or was logged in from there")
                    yield Failure(
                        probe, "everything but SSH", f"firewall.deny {entry}, {entry.origin}", "take it out of deny, or narrow it"
                    )


def roomy(prepared: Prepared) -> Ruleset:
    """The rules of a policy, with places for everybody: in a rehearsal all come at once."""
    ports = prepared.ports
    return compile_policy(prepared.policy, Facts(Door(ports.ports, ports.bound, OPEN, ports.grace), prepared.resolved))


# -- what the state sets hold for them


@dataclass(frozen=True, slots=True)
class State:
    """The shared sets as they will be, as far as they touch those who are tried."""

    counting: Counting
    floor: tuple[Prefix, ...]
    known: tuple[Prefix, ...]
    bans: tuple[Ban, ...]
    knows: bool

    @classmethod
    def of(cls, prepared: Prepared, store: Store, probes: Iterable[Probe], now: float) -> State:
        """Read from the store."""
        policy = prepared.policy
        counting = policy.ssh.counting
        bans = {(b.prefix, b.scope): b for p in probes for b in store.covering(p.address, now)}
        return cls(counting, tuple(admins.sources(store, counting, now)), tuple(known.sources(store, policy.ssh, now)), tuple(bans.values()),
                   policy.ssh.known is not None)  # fmt: skip

    def on_floor(self, address: Prefix) -> bool:
        """Return whether an administrator's session keeps this address open."""
        return self.counting.source_of(address) in self.floor

    def without_floor(self) -> State:
        """Return the state after every administrator's session is long over."""
        return replace(self, floor=())

    def hashed(self) -> Iterator[tuple[str, Prefix]]:
        """Set and source of each element of a plain set."""
        yield from ((names.floor(p.version, self.counting), p) for p in self.floor)
        if self.knows:
            yield from ((names.known(p.version, self.counting), p) for p in self.known)
        yield from ((names.ban(b.prefix.version, b.scope, self.counting), b.prefix) for b in self.bans if self.counting.is_source(b.prefix))

    def nets(self) -> Iterator[tuple[str, int, list[Prefix]]]:
        """Interval set, IP version and prefixes."""
        for scope in Scope:
            for version in (4, 6):
                wide = [
                    b.prefix
                    for b in self.bans
                    if b.scope is scope and b.prefix.version == version and not self.counting.is_source(b.prefix)
                ]
                yield names.ban_net(version, scope), version, wide

    def memory(self) -> Memory:
        """The same, for the evaluator."""
        memory = Memory()
        for name, source in self.hashed():
            memory.sets.setdefault(name, set()).add((source.version, source.value))
        for name, _, prefixes in self.nets():
            memory.nets[name] = PrefixSet(prefixes)
        return memory

    def fill(self, sets: SetWriter) -> None:
        """The same, for a kernel."""
        items: dict[str, list[Item]] = {}
        for name, source in self.hashed():
            items.setdefault(name, []).append((source.value.to_bytes(BITS[source.version] // 8, "big"), None))
        for name, one in items.items():
            sets.add(name, one)
        for name, version, prefixes in self.nets():
            if prefixes:
                sets.replace_intervals(name, version, [(low, high, None) for low, high in PrefixSet(prefixes).ranges(version)])


# -- real connections


def connect_all(todo: dict[Probe, Try], prepared: Prepared, ruleset: Ruleset, state: State, report: Report, guest: Guest | None = None,
                decision: Decision | None = None) -> None:  # fmt: skip
    """Try them. With a `guest` the connections are for that one, and nobody on this host answers. `decision`: the evaluator's of the one."""
    if not todo:
        return
    generation = Generation(1, ruleset)
    with Scratch(list(todo.values()), guest) as scratch:
        bound = (
            [x.address for x in sockets.listeners() if x.port in prepared.ports.ports and not x.wildcard and x.address]
            if prepared.ports.bound
            else []
        )
        local = {t.local for t in todo.values()}
        if guest is None:
            scratch.listen(sorted({t.port for t in todo.values()}), [b for b in bound if b in local])
        old = scratch.connect([t for p, t in todo.items() if p.session], FIRST)
        missing = other_firewalls.load_into(scratch.here.run)
        report.unknown += [f"{what}: it could not be loaded again, so what it drops is not seen" for what in missing]
        for text in (sets_only(generation), render(generation)):
            code, said = scratch.here.run("nft", "-f", "-", text=text)
            if code:
                raise NftError(f"nft refused the candidate: {said[:2000]}", "nothing was changed; if it passed `check`, report this")
            if text == sets_only(generation):
                with scratch.here.inside(), SetWriter() as sets:
                    state.fill(sets)
                    _live(sets, old, scratch)
        alive = scratch.alive(old, FIRST)
        new = scratch.connect(list(todo.values()), FIRST)
        lost = [t for t in todo.values() if t not in new]
        ended, late = scratch.trace(lost, AGAIN) if lost else ({}, set())
        if decision is None:  # who must get in, must later, too
            report.failed += _without_floor({p: t for p, t in todo.items() if t in new or t in late}, prepared, ruleset, state, scratch)
        for s in (*old.values(), *new.values()):
            s.close()
    for probe, one in todo.items():
        if one not in new and one not in late:
            failure = _failure(probe, "a new connection", ended.get(one), ruleset, state, decision)
            if probe.stranger and failure.by.startswith(FOREIGN):
                report.strangers.append(failure)
            else:
                found = reason(prepared.ports.ports) if probe.stranger else None
                if found is not None:
                    by = f"{failure.by}, since conntrack does not see the handshake ({found[0]})"
                    failure = replace(failure, by=by, remedy=found[1])
                if probe.stranger and found is None and one not in ended:  # nothing that must be is lost, and no rule is to blame
                    report.unknown.append(f"{probe.address} ({probe.why}): it did not get in, and no rule dropped it")
                else:
                    report.failed.append(failure)
        elif probe.stranger:
            pass  # as it should be: who *must* get in is somebody else
        elif probe.session and one in old and one not in alive:
            report.failed.append(Failure(probe, "the open session", "the candidate's first rules", "report this: it is a bug of ours"))
        else:
            report.proven.append(probe)


def _without_floor(passed: dict[Probe, Try], prepared: Prepared, ruleset: Ruleset, state: State, scratch: Scratch) -> list[Failure]:
    """Those of them who get in by the floor alone: a check that holds while an exception does proves nothing of the time after it."""
    kept = {p: t for p, t in passed.items() if state.on_floor(p.address)}
    if not kept:
        return []
    with scratch.here.inside(), SetWriter() as sets:
        for version in (4, 6):
            sets.replace(names.floor(version, state.counting), [])
    found = scratch.connect(list(kept.values()), FIRST)
    for s in found.values():
        s.close()
    lost = {p: t for p, t in kept.items() if t not in found}
    ended, late = scratch.trace(list(lost.values()), AGAIN) if lost else ({}, set())
    return [_failure(p, _later(prepared), ended.get(t), ruleset, state.without_floor()) for p, t in lost.items() if t not in late]


def _later(prepared: Prepared) -> str:
    return f"{format_duration(prepared.policy.lockout.keep)} after the last session from there (lockout.keep), a new connection"


def _live(sets: SetWriter, old: Mapping[Try, object], scratch: Scratch) -> None:
    """The sessions that are older than the rules, as `up` tells the kernel of them."""
    with scratch.here.inside():
        flows = sockets.flows(frozenset(t.port for t in old))
    for version in (4, 6):
        size = BITS[version] // 8
        port = struct.Struct(">Hxx")
        items: list[Item] = [
            (
                f.peer.value.to_bytes(size, "big") + port.pack(f.peer_port) + f.local.value.to_bytes(size, "big") + port.pack(f.local_port),
                None,
            )
            for f in flows
            if f.peer.version == version
        ]
        if items:
            sets.add(names.live(version), items)


def _failure(
    probe: Probe, kind: str, ended: tuple[str, str] | None, ruleset: Ruleset, state: State, said: Decision | None = None
) -> Failure:
    """Name the rule: the kernel's own trace where there is one, the evaluator's answer else."""
    if ended is None:
        decision = said or decide_for(ruleset, probe.address, probe.port, state.memory())
        if decision.verdict == "accept":
            return Failure(
                probe, kind, "something that could not be traced", "see `quietgate doctor`; `quietgate up --force` tries it on trial"
            )
        return Failure(probe, kind, named(decision.rule.id, ruleset), _remedy(decision.rule.id))
    table, rule = ended
    if table != f"{names.FAMILY} {names.TABLE}":
        return Failure(probe, kind, f"{FOREIGN} {table}: {rule}", "open the port there too, or take that table out of use")
    id_ = rule.rsplit(names.COMMENT, 1)[-1].split('"', 1)[0] if names.COMMENT in rule else rule
    return Failure(probe, kind, named(id_, ruleset), _remedy(id_))


def named(id_: str, ruleset: Ruleset) -> str:
    """Return a rule's id with the line of the policy that it comes from."""
    rule = next((r for c in ruleset.chains for r in c.rules if r.id == id_), None)
    return f"rule {id_}" + (f" ({rule.origin})" if rule is not None and rule.origin else "")


def _remedy(id_: str) -> str:
    if id_.startswith("ssh.from"):
        return "add it to ssh.from or ssh.trusted"
    if id_.startswith("ban."):
        return "unban it, or add it to ssh.trusted"
    if ".deny" in id_:
        return "take it out of firewall.deny"
    return "add it to ssh.trusted"


# -- without namespaces


def decide_for(ruleset: Ruleset, address: Prefix, port: int, memory: Memory, interface: str = "eth0") -> Decision:
    """Return what the rules alone do with the first packet of a new connection to a port."""
    return decide(ruleset, first_packet(address, port, interface), memory)


def first_packet(address: Prefix, port: int, interface: str = "eth0") -> Packet:
    """The first packet of a new connection to this host."""
    local = Prefix(address.version, 1, BITS[address.version])
    return Packet(address, local, 6, 40000, port, frozenset({"syn"}), iif=interface, expires=120.0)


def _evaluated(todo: dict[Probe, Try], prepared: Prepared, ruleset: Ruleset, state: State, report: Report) -> None:
    for probe in (p for p in todo if not p.stranger):  # what shuts strangers out stands in another table
        if decide_for(ruleset, probe.address, probe.port, state.memory()).verdict != "accept":
            report.failed.append(_failure(probe, "a new connection", None, ruleset, state))
            continue
        report.proven.append(probe)
        later = state.without_floor()
        if state.on_floor(probe.address) and decide_for(ruleset, probe.address, probe.port, later.memory()).verdict != "accept":
            report.failed.append(_failure(probe, _later(prepared), None, ruleset, later))
