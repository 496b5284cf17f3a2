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

from quietgate.firewall import names

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
_LOOPBACK = re.compile(r"-d (?:127\.|::1/)")  # docker run -p 127.0.0.1:80:80
_DNAT = re.compile(r"-p (tcp|udp)\b.*--dport (\d+)\b.*-j DNAT --to-destination \[?([0-9a-fA-F.:]+?)\]?:(\d+)\s*$")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of somebody else's: nft's name of it, whose it seems to be, and what it does to inbound packets.

    `closes`: it drops or refuses what no rule of it accepts. `opens`: the TCP ports that one of its rules accepts.
    """

    name: str
    owner: str
    closes: bool
    opens: frozenset[int]
    hooks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """A port that is sent on to a container or guest, past every input hook."""

    protocol: str
    port: int
    address: str
    inside: int


def tables() -> list[Table]:
    """Every table that is not ours. Empty where nft cannot list them."""
    listed = ruleset()
    rules: dict[tuple[str, str], list[dict[str, Any]]] = {}
    chains: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in listed:
        for kind, into in (("rule", rules), ("chain", chains)):
            if kind in item:
                key = (item[kind]["family"], item[kind]["table"])
                into.setdefault(key, []).append(item[kind])
    found = []
    for (family, name), mine in chains.items():
        if (family, name) == (names.FAMILY, names.TABLE):
            continue
        text = " ".join([name, *(c["name"] for c in mine)])
        owner = owner_of(text)
        bases = [c for c in mine if c.get("hook") in ("input", "prerouting") and c.get("type") == "filter"]
        here = rules.get((family, name), [])
        closes = any(c.get("policy") == "drop" or _ends_closed(c["name"], here) for c in bases)
        found.append(Table(f"{family} {name}", owner, closes, frozenset(_opened(here)), tuple(sorted({c["hook"] for c in bases}))))
    return found


def owner_of(text: str) -> str:
    """Whose table or chain it seems to be, by its names; empty if nobody knows."""
    return next((who for pattern, who in _OWNERS if pattern.search(text)), "")


def any_tables() -> bool:
    """True if somebody else filters here, as far as nft and the kernel's list of iptables tables tell."""
    theirs = (t for item in ruleset() if (t := item.get("table")) and (t["family"], t["name"]) != (names.FAMILY, names.TABLE))
    return any(True for _ in theirs) or bool(legacy())


def published() -> list[Published]:
    """Ports that NAT sends on, as iptables and nft tell; without those that only this host itself can reach."""
    found = set()
    for program in ("iptables-save", "ip6tables-save"):
        for line in output_of(program, "-t", "nat").splitlines():
            if (match := _DNAT.search(line)) and not _LOOPBACK.search(line):
                found.add(Published(match[1], int(match[2]), match[3], int(match[4])))
    for item in ruleset():
        if "rule" in item and (one := _dnat(item["rule"]["expr"])):
            found.add(one)
    return sorted(found, key=lambda p: (p.protocol, p.port, p.address))


def at_work(root: Path = Path("/")) -> list[str]:
    """Other firewalls and blockers that run, or that are switched on, by name."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                comm = (process / "comm").read_text().strip()
            except OSError:
                continue
            found |= {BLOCKERS[name] for name in BLOCKERS if comm == name[:15]}  # comm(5) holds 15 characters
    try:
        if re.search(r"^ENABLED=yes", (root / "etc/ufw/ufw.conf").read_text(), re.MULTILINE | re.IGNORECASE):
            found.add("ufw")
    except OSError:
        pass
    return sorted(found)


def legacy() -> list[str]:
    """Tables of iptables-legacy that hold rules: a second set of rules that `nft list ruleset` does not show."""
    found = []
    for program, file in (("iptables-legacy-save", "ip_tables_names"), ("ip6tables-legacy-save", "ip6_tables_names")):
        try:
            loaded = (Path("/proc/net") / file).read_text().split()
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
    plain = sorted(key for key in listed if key != (names.FAMILY, names.TABLE))
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
        text = (root / "etc/nftables.conf").read_text(errors="replace")
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
    port, protocol, to = None, "", None
    for part in parts:
        match = part.get("match", {})
        payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
        if payload.get("field") == "dport" and isinstance(match.get("right"), int):
            port, protocol = match["right"], payload.get("protocol", "")
        if payload.get("field") == "daddr" and match.get("op") == "==" and str(match.get("right")).startswith(("127.", "::1")):
            return None
        to = part.get("dnat", to)
    if port is None or not isinstance(to, dict) or protocol not in ("tcp", "udp"):
        return None
    inside, address = to.get("port", port), to.get("addr")
    return Published(protocol, port, address, inside) if isinstance(address, str) and isinstance(inside, int) else None
