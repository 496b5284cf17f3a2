"""Policies and packets for holding the evaluator against the kernel, and the bench that sees what became of a packet.

Each packet has its own number, in the IPv4 id or the IPv6 flow label, and its own source port, so that none changes
another's conntrack entry. A table of the test counts it in (before ours) and out (after ours); what was neither is
gone, and whether it was refused or dropped is heard at the other end of the cable.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import time
from dataclasses import dataclass

from hypothesis import strategies as st

from quietgate.firewall import names
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.evaluate import Memory, Packet, decide
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.firewall.rules import Ruleset
from quietgate.net import PrefixSet, parse_address, parse_prefix
from quietgate.policy.check import conflicts
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.values import File, Scope
from tests.kernel.lab import SERVER4, SERVER6, Pair, Wire, checksum, icmp_packet, ip_packet, pseudo_header, tcp_packet, udp_packet

FOUR = ("198.19.0.9", "198.19.0.77", "198.19.5.5", "198.19.7.1", "198.18.0.2")
SIX = ("2001:db8:100:7::9", "2001:db8:100:7::a", "2001:db8:100:8::1", "2001:db8:101::5", "64:ff9b::c633:6401", "2001:db8:18::2")
NETS4 = ("198.19.0.9", "198.19.0.0/24", "198.19.5.0/25", "198.19.0.0/16", "198.19.7.1")
NETS6 = ("2001:db8:100:7::/64", "2001:db8:100::/47", "2001:db8:100:8::1", "2001:db8:101::/48", "64:ff9b::c633:6401")
PORTS = (22, 80, 443, 8000, 8005, 9999)
LISTENING = 22
PROBE = """
add table inet probe
delete table inet probe
table inet probe {
  set in4 { typeof ip id; size 65536; flags dynamic; }
  set in6 { typeof ip6 flowlabel; size 65536; flags dynamic; }
  set out4 { typeof ip id; size 65536; flags dynamic; }
  set out6 { typeof ip6 flowlabel; size 65536; flags dynamic; }
  chain before { type filter hook prerouting priority -400; policy accept;
    add @in4 { ip id }
    add @in6 { ip6 flowlabel }
  }
  chain after { type filter hook input priority 100; policy accept;
    add @out4 { ip id }
    add @out6 { ip6 flowlabel }
  }
}
"""
_numbers = itertools.count(1)

addresses = st.lists(st.sampled_from(NETS4 + NETS6), max_size=3, unique=True)


@st.composite
def rules(draw: st.DrawFn, index: int) -> str:
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "icmpv6", "any", 253]))
    action = draw(st.sampled_from(["accept", "drop", "reject", "rate"]))
    lines = [f'name = "r{index}"', f"protocol = {json.dumps(protocol)}", f'action = "{action}"']
    if protocol in ("tcp", "udp", "any") and draw(st.booleans()):
        ports = draw(st.lists(st.sampled_from([80, 443, "8000-8010", 9999]), min_size=1, max_size=2, unique=True))
        lines.append(f"ports = {json.dumps(ports)}")
    if action == "rate":
        lines += ['rate = "1000 per 1s"', f'per = "{draw(st.sampled_from(["source", "all"]))}"']
    if action == "reject" and protocol == "tcp" and draw(st.booleans()):
        lines.append('reject = "tcp-reset"')
    if draw(st.booleans()):
        pool = NETS6 if protocol == "icmpv6" else NETS4 if protocol == "icmp" else NETS4 + NETS6
        lines.append(f"from = {json.dumps(draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True)))}")
    lines.append(f'interface = "{draw(st.sampled_from(["*", "eth0", "eth*", "wg*", "eth1"]))}"')
    return "[[firewall.rule]]\n" + "\n".join(lines) + "\n"


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy without mistakes."""
    lists = {k: draw(addresses) for k in ("trusted", "allow", "deny")}
    source = draw(st.one_of(st.none(), st.lists(st.sampled_from(NETS4 + NETS6), min_size=1, max_size=3, unique=True)))
    friends = PrefixSet(parse_prefix(p) for p in lists["trusted"] + lists["allow"])
    lists["deny"] = [p for p in lists["deny"] if not friends.overlaps(parse_prefix(p))]
    count = draw(st.integers(0, 4))
    text = "[ssh]\nports = [22]\n"
    text += f"limit = {json.dumps(draw(st.sampled_from(['3 per 1m', '5 per 60s', '1 per 1h', 'off'])))}\n"
    text += f"trusted = {json.dumps(lists['trusted'])}\n" + (f"from = {json.dumps(source)}\n" if source else "")
    text += "[firewall]\n"
    text += f"default = {json.dumps(draw(st.sampled_from(['accept', 'drop'])))}\n"
    text += f"ping = {json.dumps(draw(st.sampled_from(['accept', 'drop', '100000 per 1s'])))}\n"
    text += f"other_icmp = {json.dumps(draw(st.sampled_from(['accept', 'drop'])))}\n"
    text += f"dhcp = {json.dumps(draw(st.booleans()))}\n"
    text += f"allow = {json.dumps(lists['allow'])}\ndeny = {json.dumps(lists['deny'])}\n"
    text += "".join(draw(rules(n)) for n in range(count))
    loaded = load([File("case.toml", text.encode())])
    assert not loaded.problems, (text, loaded.problems)
    assert not list(conflicts(loaded.policy, {}))
    object.__setattr__(loaded.policy, "values", {"text": text})
    return loaded.policy


@dataclass(frozen=True)
class Shot:
    """One packet to send: where from, what, and how conntrack is to know it."""

    source: str
    kind: str  # tcp, udp, icmp, other
    port: int
    flags: str
    icmp: int
    known: bool  # a reply to something the server sent


@st.composite
def shots(draw: st.DrawFn) -> Shot:
    source = draw(st.sampled_from(FOUR + SIX))
    kind = draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "icmp", "other"]))
    four = ":" not in source
    types = [8, 0, 3, 11, 13, 5] if four else [128, 129, 1, 3, 4, 137, 151, 138]
    return Shot(
        source=source,
        kind=kind,
        port=draw(st.sampled_from(PORTS)),
        flags=draw(st.sampled_from(["syn", "syn", "syn", "ack", "rst", "fin ack", "syn ack", "psh ack"])),
        icmp=draw(st.sampled_from(types)),
        known=kind == "udp" and draw(st.booleans()),
    )


@dataclass(frozen=True)
class Banned:
    """A ban for the case."""

    prefix: str
    scope: Scope


bans = st.lists(
    st.builds(Banned, st.sampled_from([*NETS4, *NETS6[:4], "2001:db8:100:8::/64"]), st.sampled_from(list(Scope))),
    max_size=2,
    unique=True,
)
used_slots = st.lists(st.tuples(st.sampled_from(FOUR + SIX), st.integers(1, 5)), max_size=3, unique_by=lambda s: s[0])


@dataclass(frozen=True)
class Seen:
    """One packet's fate: what the evaluator says and what the kernel did."""

    packet: Packet
    expected: str
    rule: str
    happened: str


class Bench:
    """Runs batches of packets against policies in one pair of hosts."""

    def __init__(self, pair: Pair, wire: Wire) -> None:
        self.pair = pair
        self.wire = wire
        with pair.server.inside():
            self.listener = socket.create_server(("::", LISTENING), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        # Refusals are told from drops by what comes back: the kernel shall not hold its answers back.
        pair.server.sysctl("net.ipv4.icmp_ratelimit", 0)
        pair.server.sysctl("net.ipv6.icmp.ratelimit", 0)
        pair.server.sysctl("net.ipv4.icmp_msgs_per_sec", 1_000_000)
        pair.server.sysctl("net.ipv4.icmp_msgs_burst", 1_000_000)
        pair.server.sysctl("net.ipv4.conf.all.rp_filter", 0)
        # The client is mute: it answers nothing, so no packet of its own disturbs.
        pair.client.nft("table inet mute { chain c { type filter hook input priority -400; policy drop; icmpv6 type 135-136 accept\n }\n }")

    def run(self, policy: Policy, batch: list[Shot], banned: list[Banned], used: list[tuple[str, int]],
            planted: Ruleset | None = None) -> list[Seen]:  # fmt: skip
        """Load, send, look. `planted` is given to the evaluator in place of what was loaded."""
        ruleset = compile_policy(policy, Facts(Door((22,), bound=False), {}))
        self.pair.server.sh("nft", "add table inet quietgate; delete table inet quietgate")
        self.pair.server.sh("conntrack", "-F", check=False)
        self.pair.server.nft(render(Generation(1, ruleset)))
        memory = Memory()
        self._fill(policy, memory, banned, used)
        self.pair.server.nft(PROBE)
        plans = [self._plan(shot) for shot in batch]
        self._silence()
        for raw, _, _ in plans:
            self.wire.send(raw)
        arrived, passed = self._read("in"), self._read("out")
        refusals = self._refusals()
        seen = []
        for raw, packet, number in plans:
            assert number in arrived, f"the packet never arrived: {packet}"
            decision = decide(planted or ruleset, packet, memory)
            happened = "accept" if number in passed else refusals.get(number, "drop")
            seen.append(Seen(packet, decision.verdict, decision.rule.id, happened))
            del raw
        return seen

    def _fill(self, policy: Policy, memory: Memory, banned: list[Banned], used: list[tuple[str, int]]) -> None:
        counting = policy.ssh.counting
        text = []
        nets: dict[str, list[str]] = {}
        for ban in banned:
            prefix = parse_prefix(ban.prefix)
            if counting.is_source(prefix):
                name = names.ban(prefix.version, ban.scope, counting)
                memory.sets.setdefault(name, set()).add((prefix.version, prefix.value))
                text.append(f"add element inet quietgate {name} {{ {str(prefix).split('/')[0]} }}")
            else:
                nets.setdefault(names.ban_net(prefix.version, ban.scope), []).append(ban.prefix)
        for name, prefixes in nets.items():
            memory.nets[name] = PrefixSet(parse_prefix(p) for p in prefixes)
            text.append(f"add element inet quietgate {name} {{ {', '.join(map(str, memory.nets[name]))} }}")
        for version in (4, 6):
            for scope in Scope:
                memory.nets.setdefault(names.ban_net(version, scope), PrefixSet())
        limit = policy.ssh.limit
        for source, count in used if limit else []:
            assert limit is not None
            key = counting.source_of(parse_address(source))
            for index in range(1, min(count, limit.count) + 1):
                name = names.slot(key.version, index, limit.window, counting, policy.ssh.slots)
                if (key.version, key.value) not in memory.sets.setdefault(name, set()):
                    memory.sets[name].add((key.version, key.value))
                    # with its bucket, as the kernel itself would have put it there
                    text.append(f"add element inet quietgate {name} {{ {str(key).split('/')[0]} limit rate 1/week burst 1 packets }}")
        if text:
            self.pair.server.nft("\n".join(text))

    def _plan(self, shot: Shot) -> tuple[bytes, Packet, int]:
        number = next(_numbers) % 60000 + 1
        sport = 1024 + number
        four = ":" not in shot.source
        target = SERVER4 if four else SERVER6
        tracked, expires, dport, original = "new", 120.0, shot.port, True
        flags: frozenset[str] = frozenset()
        protocol, socket_, icmp = 253, "none", 0
        if shot.kind == "tcp":
            protocol, flags = 6, frozenset(shot.flags.split())
            raw = tcp_packet(
                shot.source, target, sport, dport, shot.flags, seq=number, ack=number if "ack" in shot.flags else 0, ident=number
            )
            socket_ = "listener" if dport == LISTENING else "none"
            if flags & {"rst"} or flags in ({"fin", "ack"}, {"syn", "ack"}):
                tracked, expires = "invalid", -1.0  # conntrack opens nothing for these
        elif shot.kind == "udp":
            protocol = 17
            if shot.known:
                dport, original = self._ask(shot.source, target, sport), False
                tracked = "established"
            raw = udp_packet(shot.source, target, sport, dport, ident=number)
        elif shot.kind == "icmp":
            protocol, icmp = (1 if four else 58), shot.icmp
            body = struct.pack("!HH", number & 0xFFFF, 1) + bytes(40)
            raw = icmp_packet(shot.source, target, shot.icmp, body=body, ident=number)
            tracked, sport, dport = self._icmp_state(four, shot.icmp), 0, 0
        else:
            # The kernel answers no packet whose checksum is wrong, and takes any protocol to have one (nf_ip_checksum, nf_ip6_checksum).
            body = b"experiment"
            pseudo = b"" if four else pseudo_header(shot.source, target, 253, len(body) + 2)
            raw = ip_packet(shot.source, target, 253, body + struct.pack("!H", checksum(pseudo + body)), ident=number)
            sport = dport = 0
        packet = Packet(
            src=parse_address(shot.source), dst=parse_address(target), protocol=protocol, sport=sport, dport=dport, flags=flags,
            icmp_type=icmp, iif="eth0", tracked=tracked, original=original, expires=None if expires < 0 else expires, socket=socket_,
        )  # fmt: skip
        return raw, packet, number

    @staticmethod
    def _icmp_state(four: bool, kind: int) -> str:
        """What conntrack calls an ICMP packet nothing went before."""
        if four:
            return "new" if kind in (8, 13) else "invalid"
        return "new" if kind == 128 else "untracked" if kind in (130, 131, 132, 133, 134, 135, 136, 137, 143, 151) else "invalid"

    def _ask(self, source: str, target: str, port: int) -> int:
        """Send a question from the server, so that the next packet is its answer; the port it was sent from."""
        six = ":" in source
        with self.pair.server.inside():
            s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((target, 0))
        s.sendto(b"?", (source, port))
        own: int = s.getsockname()[1]
        self._open = [*getattr(self, "_open", [])[-200:], s]
        return own

    def _read(self, which: str) -> set[int]:
        found: set[int] = set()
        for version in (4, 6):
            raw = json.loads(self.pair.server.sh("nft", "-j", "list", "set", "inet", "probe", f"{which}{version}"))
            found |= set(raw["nftables"][1]["set"].get("elem", []))
        return found

    def _silence(self) -> None:
        self.wire.socket.setblocking(False)
        try:
            while self.wire.socket.recv(65535):
                pass
        except BlockingIOError:
            pass

    def _refusals(self) -> dict[int, str]:
        """Number of each packet that was refused, and how."""
        found: dict[int, str] = {}
        until = time.monotonic() + 0.02
        self.wire.socket.setblocking(False)
        while True:
            try:
                frame = self.wire.socket.recv(65535)
            except BlockingIOError:
                if time.monotonic() > until:
                    return found
                time.sleep(0.002)
                continue
            if frame[6:12] != self.wire.server or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
                continue
            packet = frame[14:]
            six = packet[0] >> 4 == 6
            protocol, body = (packet[6], packet[40:]) if six else (packet[9], packet[20:])
            if protocol == 6 and body[13] & 4:
                found[struct.unpack_from("!H", body, 2)[0] - 1024] = "reset"
            elif (protocol == 58 and body[0] == 1) or (protocol == 1 and body[0] == 3):
                inner = body[8:]  # the packet that was refused, which still carries its number
                found[struct.unpack_from("!I", inner)[0] & 0xFFFFF if six else struct.unpack_from("!H", inner, 4)[0]] = "reject"
