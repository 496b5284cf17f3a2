"""Other firewalls and blockers on this host, read and never touched.

A packet must pass every table: an accept of ours is no accept of theirs. So what they drop is of interest, and only as
far as it can be read: rules of nft and of iptables-nft as nft lists them; iptables' own text for NAT targets, which nft
cannot print; legacy iptables by name.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietgate.host.reading import read_text
from quietgate.values import FAMILY, TABLE

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
# Programs that ban or filter too: the name of their process, and what people call them.
BLOCKERS = {
    "fail2ban-server": "fail2ban", "sshguard": "sshguard", "crowdsec": "CrowdSec", "denyhosts.py": "DenyHosts",
    "denyhosts": "DenyHosts", "firewalld": "firewalld", "lfd": "CSF", "ossec-execd": "OSSEC", "wazuh-execd": "Wazuh",
}  # fmt: skip
_OWNERS = (
    (re.compile(r"firewalld"), "firewalld"),
    (re.compile(r"ufw6?-|ufw"), "ufw"),
    (re.compile(r"f2b-"), "fail2ban"),
    (re.compile(r"crowdsec", re.IGNORECASE), "CrowdSec"),
    (re.compile(r"sshguard"), "sshguard"),
    (re.compile(r"DOCKER"), "Docker"),
    (re.compile(r"LIBVIRT"), "libvirt"),
    (re.compile(r"KUBE-|cali-|CILIUM"), "Kubernetes"),
)
HOOKS = {"ingress", "prerouting", "input", "forward"}
INBOUND = {"prerouting", "input"}
# Targets of iptables after which a packet goes on, or has passed; any other may be the end of it.
_HARMLESS = {"ACCEPT", "RETURN", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "CHECKSUM", "CLASSIFY", "DSCP", "TTL", "HL", "SET",
             "AUDIT", "TRACE"}  # fmt: skip
_LOOPBACK = re.compile(r"-d (?:127\.|::1/)")  # docker run -p 127.0.0.1:80:80
_DNAT = re.compile(r"-p (tcp|udp)\b.*--dport (\d+)\b.*-j DNAT --to-destination \[?([0-9a-fA-F.:]+?)\]?:(\d+)\s*$")

_ELSEWHERE = re.compile(r"-j (?:DNAT|REDIRECT|NETMAP)\b")
_DPORT = re.compile(r"-p (?:tcp|udp)\b.*--dport (\d+)(?![\d:])")
# What makes a rule of iptables hold for some packets only; `! -i docker0` leaves out the containers' own.
_CONDITION = re.compile(r" (?:! )?-s |(?<!!) -i | (?:! )?-d |-m (?!tcp\b|udp\b|comment\b|addrtype\b)")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of somebody else's: nft's name of it, whose it seems to be, and what it does to inbound packets.

    `closes`: it drops or refuses what no rule of it accepts. `opens`: the TCP ports that one of its rules accepts. `stops`: the hooks at
    which some rule of it may drop a packet; `shuts`: those of them at which it drops what no rule of it accepts.
    """

    name: str
    owner: str
    closes: bool
    opens: frozenset[int]
    hooks: tuple[str, ...]
    stops: frozenset[str] = frozenset()
    shuts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Published:
    """A port that is sent on to a container or guest, past every input hook. `sure` False: only some packets are, by conditions that
    are not looked at (a source, an interface, an address of ours).
    """

    protocol: str
    port: int
    address: str
    inside: int
    sure: bool = True

    def __str__(self) -> str:
        return f"[{self.address}]:{self.inside}" if ":" in self.address else f"{self.address}:{self.inside}"


@dataclass(frozen=True, slots=True)
class Around:
    """What else on this host may decide about a packet. `unread`: rules of NAT that send packets to somewhere that could not be read, with
    the TCP or UDP port that each is about, 0 for any. `legacy`: programs whose rules nft does not show.
    """

    tables: tuple[Table, ...]
    published: tuple[Published, ...]
    unread: tuple[tuple[int, str], ...]
    legacy: tuple[str, ...]

    def sent_on(self, version: int, protocol: str, port: int) -> Published | None:
        """Where NAT sends packets for this port of ours; None if they stay here, as far as it could be read."""
        return next((p for p in self.published if (p.protocol, p.port, 6 if ":" in p.address else 4) == (protocol, port, version)), None)

    def unread_for(self, port: int) -> str:
        """A rule of NAT that may be about this port, and could not be read; "" for none."""
        return next((rule for about, rule in self.unread if about in (0, port)), "")

    def stopping(self, version: int, hooks: frozenset[str]) -> list[str]:
        """Whose rules may drop a packet at these hooks, in words."""
        families = {"ip" if version == 4 else "ip6", "inet", "netdev"}
        found = []
        for table in self.tables:
            if table.name.split(" ")[0] in families and table.stops & hooks:
                what = "which drops what it does not accept" if table.shuts & hooks else "which may drop it"
                found.append(f"table {table.name}{f' of {table.owner}' if table.owner else ''}, {what}")
        return found + [f"{program}, whose rules nft does not show" for program in self.legacy]


def around() -> Around:
    """Look at all of it at once. Empty where nothing can be listed: that needs root."""
    listed = ruleset()
    sent, unread = _sent(listed)
    return Around(tuple(_tables(listed)), tuple(sent), tuple(unread), tuple(legacy()))


def tables() -> list[Table]:
    """Every table that is not ours. Empty where nft cannot list them."""
    return _tables(ruleset())


def _tables(listed: list[dict[str, Any]]) -> list[Table]:
    rules: dict[tuple[str, str], list[dict[str, Any]]] = {}
    chains: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in listed:
        for kind, into in (("rule", rules), ("chain", chains)):
            if kind in item:
                key = (item[kind]["family"], item[kind]["table"])
                into.setdefault(key, []).append(item[kind])
    found = []
    for (family, name), mine in chains.items():
        if (family, name) == (FAMILY, TABLE):
            continue
        text = " ".join([name, *(c["name"] for c in mine)])
        owner = owner_of(text)
        here = rules.get((family, name), [])
        bases = [c for c in mine if c.get("hook") in HOOKS and c.get("type") == "filter"]
        shuts = frozenset(c["hook"] for c in bases if c.get("policy") == "drop" or _ends_closed(c["name"], here))
        stops = shuts | {c["hook"] for c in bases if _may_drop(c["name"], here)}
        hooks = tuple(sorted({c["hook"] for c in bases} & INBOUND))
        found.append(Table(f"{family} {name}", owner, bool(shuts & INBOUND), frozenset(_opened(here)), hooks, stops, shuts))
    return found


def owner_of(text: str) -> str:
    """Whose table or chain it seems to be, by its names; empty if nobody knows."""
    return next((who for pattern, who in _OWNERS if pattern.search(text)), "")


def any_tables() -> bool:
    """True if somebody else filters here, as far as nft and the kernel's list of iptables tables tell."""
    theirs = (t for item in ruleset() if (t := item.get("table")) and (t["family"], t["name"]) != (FAMILY, TABLE))
    return any(True for _ in theirs) or bool(legacy())


def published() -> list[Published]:
    """Ports that NAT sends on, as iptables and nft tell; without those that only this host itself can reach."""
    return _sent(ruleset())[0]


def _sent(listed: list[dict[str, Any]]) -> tuple[list[Published], list[tuple[int, str]]]:
    """The same, and the rules of NAT that could not be read."""
    found, unread = set(), []
    for program in ("iptables-save", "ip6tables-save"):
        for line in output_of(program, "-t", "nat").splitlines():
            if _LOOPBACK.search(line):
                continue
            if match := _DNAT.search(line):
                found.add(Published(match[1], int(match[2]), match[3], int(match[4]), _CONDITION.search(line) is None))
            elif _ELSEWHERE.search(line):
                port = _DPORT.search(line)
                unread.append((int(port[1]) if port else 0, line.strip()))
    for item in listed:
        if "rule" not in item or (item["rule"]["family"], item["rule"]["table"]) == (FAMILY, TABLE):
            continue
        parts = item["rule"]["expr"]
        if one := _dnat(parts):
            found.add(one)
        elif any({"dnat", "redirect", "tproxy"} & p.keys() for p in parts) and not _to_loopback(parts):
            unread.append((0, f"a rule of table {item['rule']['family']} {item['rule']['table']}"))
    return sorted(found, key=lambda p: (p.protocol, p.port, p.address)), unread


def at_work(root: Path = Path("/")) -> list[str]:
    """Other firewalls and blockers that run, or that are switched on, by name."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                comm = read_text(process / "comm", 64).strip()
            except OSError:
                continue
            found |= {BLOCKERS[name] for name in BLOCKERS if comm == name[:15]}  # comm(5) holds 15 characters
    try:
        if re.search(r"^ENABLED=yes", read_text(root / "etc/ufw/ufw.conf"), re.MULTILINE | re.IGNORECASE):
            found.add("ufw")
    except OSError:
        pass
    return sorted(found)


def legacy() -> list[str]:
    """Tables of iptables-legacy that hold rules: a second set of rules that `nft list ruleset` does not show."""
    found = []
    for program, file in (("iptables-legacy-save", "ip_tables_names"), ("ip6tables-legacy-save", "ip6_tables_names")):
        try:
            loaded = read_text(Path("/proc/net") / file).split()
        except OSError:
            continue
        if loaded and "-A " in output_of(program):
            found.append(program.removesuffix("-save"))
    return found


def load_into(run: Callable[..., tuple[int, str]]) -> list[str]:
    """Load every table that is not ours into another namespace, in which `run` runs a program (with `text` on its standard
    input). Names what could not be loaded.

    nft cannot read again what iptables-nft wrote with its own matches: those go through iptables-save.
    """
    missing = []
    listed = {(t["family"], t["name"]) for item in ruleset() if (t := item.get("table"))}
    plain = sorted(key for key in listed if key != (FAMILY, TABLE))
    for family, name in plain:
        text = output_of("nft", "list", "table", family, name)
        code, _ = run("nft", "-f", "-", text=text) if text and "xt " not in text else (1, "")
        if code and family in ("ip", "ip6") and name in ("filter", "nat", "mangle", "raw", "security"):
            save, restore = ("iptables-save", "iptables-restore") if family == "ip" else ("ip6tables-save", "ip6tables-restore")
            saved = output_of(save, "-t", name)
            code, _ = run(restore, text=saved) if saved else (1, "")
        if code:
            missing.append(f"table {family} {name}")
    return [*missing, *legacy()]


def flushes(root: Path = Path("/")) -> bool:
    """True if nftables.service is switched on with a file that takes every table out first, as Debian's own does."""
    try:
        text = read_text(root / "etc/nftables.conf")
    except OSError:
        return False
    enabled = any((root / "etc/systemd/system").glob("*.wants/nftables.service"))
    return enabled and re.search(r"^\s*flush\s+ruleset", text, re.MULTILINE) is not None


def ruleset() -> list[dict[str, Any]]:
    """Everything that nft lists, ours too, without elements of sets; empty where it cannot."""
    try:
        listed = json.loads(output_of("nft", "-j", "-t", "list", "ruleset") or "{}")
    except ValueError:
        return []
    return [item for item in listed.get("nftables", []) if isinstance(item, dict)]


def output_of(program: str, *arguments: str) -> str:
    """What a program prints; empty where it is not there, or fails."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _ends_closed(chain: str, rules: list[dict[str, Any]]) -> bool:
    """True if the chain, or one it always goes on to, ends with a drop or refusal of everything."""
    seen: set[str] = set()
    wanted = [chain]
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for rule in rules:
            if rule["chain"] != name:
                continue
            parts = [p for p in rule["expr"] if not ({"counter", "comment", "log"} & p.keys())]
            if len(parts) == 1:
                if {"drop", "reject"} & parts[0].keys() or _target(parts[0]) in ("DROP", "REJECT"):
                    return True
                follow = parts[0].get("jump") or parts[0].get("goto")
                if follow:
                    wanted.append(follow["target"])
    return False


def _may_drop(chain: str, rules: list[dict[str, Any]]) -> bool:
    """True if some rule of the chain, or of one that it goes on to, may be the end of a packet."""
    seen: set[str] = set()
    wanted = [chain]
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for part in (p for rule in rules if rule["chain"] == name for p in rule["expr"]):
            target = _target(part)
            if {"drop", "reject", "queue", "vmap", "synproxy"} & part.keys() or (target and target not in _HARMLESS):
                return True
            follow = part.get("jump") or part.get("goto")
            if follow:
                wanted.append(follow["target"])
    return False


def _target(part: dict[str, Any]) -> str:
    xt = part.get("xt")
    return str(xt.get("name", "")) if isinstance(xt, dict) and xt.get("type") == "target" else ""


def _opened(rules: list[dict[str, Any]]) -> Iterator[int]:
    """TCP ports that some rule names and accepts."""
    for rule in rules:
        if any("accept" in p or "jump" in p or "goto" in p for p in rule["expr"]):
            for part in rule["expr"]:
                match = part.get("match", {})
                payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
                if payload.get("field") == "dport" and match.get("op") in ("==", "in"):
                    yield from _ports(match.get("right"))


def _ports(right: Any) -> Iterator[int]:
    if isinstance(right, int):
        yield right
    elif isinstance(right, dict) and "set" in right:
        for one in right["set"]:
            yield from _ports(one)
    elif isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        if isinstance(low, int) and isinstance(high, int):
            yield from range(low, high + 1)


def _dnat(parts: list[dict[str, Any]]) -> Published | None:
    port, protocol, to, sure = None, "", None, True
    for part in parts:
        match = part.get("match", {})
        payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
        if payload.get("field") == "dport" and isinstance(match.get("right"), int):
            port, protocol = match["right"], payload.get("protocol", "")
        elif match and "fib" not in str(match.get("left")) and not (match.get("op") == "!=" and "iifname" in str(match.get("left"))):
            sure = False
        to = part.get("dnat", to)
    if port is None or not isinstance(to, dict) or protocol not in ("tcp", "udp") or _to_loopback(parts):
        return None
    inside, address = to.get("port", port), to.get("addr")
    return Published(protocol, port, address, inside, sure) if isinstance(address, str) and isinstance(inside, int) else None


def _to_loopback(parts: list[dict[str, Any]]) -> bool:
    """True if the rule is for packets to this host's loopback only."""
    for match in (p["match"] for p in parts if "match" in p):
        if "daddr" in str(match.get("left")) and match.get("op") == "==" and str(match.get("right")).startswith(("127.", "::1")):
            return True
    return False
