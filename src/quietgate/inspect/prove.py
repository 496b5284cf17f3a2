"""`why --prove`: one new connection, really made, in a copy of this host with the tables and the NAT of other tools."""

from __future__ import annotations

from dataclasses import dataclass

from quietgate.errors import HostError
from quietgate.firewall.evaluate import decide, decide_sent
from quietgate.generations.plan import Prepared
from quietgate.host.other_firewalls import Around
from quietgate.host.scratch import Guest, Try, paths_to
from quietgate.net import LINK_LOCAL6, Prefix, parse_address
from quietgate.rollout.rehearsal import FOREIGN, Probe, Report, State, connect_all, first_packet, roomy
from quietgate.state.database import Store


@dataclass(frozen=True, slots=True)
class Proved:
    """What a real packet met, beside what the evaluator says of the same: verdicts, and what ended it ("" if nothing did).

    `to`: where NAT sent it on, as ADDRESS:PORT, "" for this host. `unknown`: why nothing is proved.
    """

    let_in: bool
    expected: bool
    by: str
    unknown: str = ""
    to: str = ""

    @property
    def foreign(self) -> bool:
        """True if another tool's table ended it."""
        return self.by.startswith(FOREIGN)

    @property
    def agree(self) -> bool:
        """False is a bug of ours: our rules alone say otherwise."""
        return bool(self.unknown) or self.foreign or self.let_in == self.expected


def prove(prepared: Prepared, store: Store, address: Prefix, port: int, now: float, around: Around) -> Proved:
    """Try one new TCP connection in a copy of this host, under a policy and the bans, floor and known sources of now. Where NAT sends it
    on to a container or guest, the copy has one too.
    """
    probe = Probe(address, port, "asked for")
    ruleset = roomy(prepared)
    state = State.of(prepared, store, [probe], now)
    sent = around.sent_on(address.version, "tcp", port)
    ways = paths_to([address, *([parse_address(sent.address)] if sent else [])])
    if address not in ways or LINK_LOCAL6.covers(address):
        return Proved(let_in=False, expected=False, by="", unknown=f"this host has no path to {address} that can be rehearsed")
    way = ways[address]
    guest = None
    if sent is not None:
        to = parse_address(sent.address)
        guest = Guest(to, sent.inside, ways[to]) if to in ways and ways[to].interface != way.interface else None
        if guest is None or not sent.sure:
            why = "by a rule that does not hold for every packet" if guest else "by the interface that it comes in by"
            return Proved(let_in=False, expected=False, by="", unknown=f"NAT sends it on to {sent} {why}: that is not rehearsed")
    elif rule := around.unread_for(port):
        return Proved(let_in=False, expected=False, by="", unknown=f"NAT may send it elsewhere, and this cannot read where: {rule}")
    packet = first_packet(address, port, way.interface)
    decision = decide_sent(ruleset, packet, state.memory(), guest.address, guest.port) if guest else decide(ruleset, packet, state.memory())
    expected = decision.verdict == "accept"
    report = Report("real connections")
    try:
        connect_all({probe: Try(address, port, way.interface, way.local)}, prepared, ruleset, state, report, guest, decision)
    except (PermissionError, HostError) as error:
        return Proved(let_in=False, expected=expected, by="", unknown=f"no namespace to rehearse in: {error}")
    # What could not be loaded there could only have dropped more.
    unknown = "; ".join(report.unknown) if report.proven else ""
    return Proved(
        bool(report.proven),
        expected,
        report.failed[0].by if report.failed and not report.proven else "",
        unknown,
        str(sent) if sent else "",
    )
