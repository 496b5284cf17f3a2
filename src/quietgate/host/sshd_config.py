"""What sshd is here: the daemons that run, the ports they listen on, and what their configuration says.

Three witnesses, joined, since none is enough: sockets that an sshd or systemd holds now; the configuration of each
running daemon, and of the one that a boot would start; ssh.socket. Before the first boot has made host keys, or
without /run/sshd, `sshd -T` refuses to answer: then the files are read here (sshd_config(5), a small part of it).
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from quietgate.host import sockets
from quietgate.host.reading import read_text
from quietgate.values import Listener

DEFAULT_PORT = 22
OTHERS = ("dropbear", "tinysshd")  # by the names of their processes
DEFAULT_CONFIG = "/etc/ssh/sshd_config"
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"
# sshd writes its state into its title (sshd.c): "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"
_TITLE = re.compile(r"(?:sshd: )?(\S*sshd)(.*?)(?: \[listener\](?: (\d+) of (\d+)-(\d+) startups)?)?\Z", re.DOTALL)
_LISTEN = re.compile(r"Listen=(?:\[?[0-9a-fA-F.:*]*\]?:)?(\d{1,5}) \(Stream\)")
_ADDRESS = re.compile(r"(?:\[[^\]]*\]|[^\s:\[\]]+):(\d{1,5})\Z")
MOST_FILES = 200  # of Include: a mistake there must not keep the firewall from loading


@dataclass(frozen=True, slots=True)
class Daemon:
    """One running sshd: its process, where it listens, its startups (now, first and last number of MaxStartups)."""

    pid: int
    ports: tuple[int, ...]
    startups: tuple[int, int, int] | None
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What one configuration says. `values` has sshd's keywords in lower case, each with its first value."""

    ports: tuple[int, ...]
    values: dict[str, str] = field(default_factory=dict)

    def startups(self) -> tuple[int, int]:
        """First and last number of MaxStartups (sshd_config(5): 10:30:100; one number alone is both)."""
        numbers = [int(n) for n in self.values.get("maxstartups", "").split(":") if n.isdigit()]
        return (numbers[0], numbers[-1]) if numbers else (10, 100)

    def grace(self) -> int:
        """LoginGraceTime in seconds; 0 is no limit."""
        return _seconds(self.values.get("logingracetime", "120"))


@dataclass(frozen=True, slots=True)
class SshPorts:
    """The ports, why these, and what the firewall must know of sshd.

    `bound`: a listener is bound to a single address. `begin`, `grace`: the strictest of all daemons (see `Door`).
    `listening`: where an sshd listens now, whatever the policy names. `daemons` run now; `configs` are theirs, or where none
    runs the one that a boot would start.
    """

    ports: tuple[int, ...]
    why: str
    bound: bool
    begin: int = 10
    grace: int = 120
    listening: tuple[int, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    configs: tuple[Config, ...] = ()


def find_ports(named: tuple[int, ...] | None) -> SshPorts:
    """The policy's ports, or with None those that sshd listens on or is configured for; 22 where neither is known.

    Never fewer than sshd really uses: what listens and what is configured are joined.
    """
    listening = sockets.listeners()
    daemons = tuple(running(listening))
    in_use = tuple(effective(a) for a in dict.fromkeys(_kept(d.arguments) for d in daemons))
    configs = in_use if any(not _kept(d.arguments) for d in daemons) else (*in_use, effective())  # and what a boot would start
    activated = _systemd_sockets()
    others = other_servers(listening)
    now = {p for d in daemons for p in d.ports} | {p for p in activated if p in {x.port for x in listening}}
    if named is None:
        configured = {p for c in configs for p in c.ports}
        # A socket unit listens in sshd's stead: what the configuration says of ports is then not used.
        if others and not now and not activated and shutil.which("sshd", path=_PATH) is None:
            configured = set()  # another server is here in sshd's stead
        ports = now | set(activated) | set(others) | (configured if not activated else set())
        reasons = [f"sshd listens on {_ports(now)}"] if now else []
        reasons += [f"{name} listens on {_ports({p for p, n in others.items() if n == name})}" for name in sorted(set(others.values()))]
        reasons += [f"ssh.socket says {_ports(set(activated))}"] if activated else []
        reasons += [f"its configuration says {_ports(configured)}"] if configured and not activated else []
        why = "; ".join(reasons) or f"nothing known of sshd here, so its default {DEFAULT_PORT}"
        found = tuple(sorted(ports or {DEFAULT_PORT}))
    else:
        found, why = named, "named in the policy"
    bound = any(x.port in found and not x.wildcard for x in listening)
    begins = [d.startups[1] for d in daemons if d.startups] or [c.startups()[0] for c in configs] or [10]
    return SshPorts(found, why, bound, max(1, min(begins)), _longest([c.grace() for c in in_use or configs]), tuple(sorted({*now, *others})), daemons,
                    in_use or configs)  # fmt: skip


def running(listening: list[Listener]) -> Iterator[Daemon]:
    """Every sshd of root's that holds a listening socket of this network namespace: anyone may name a program sshd."""
    ports = {x.inode: x.port for x in listening}
    for pid, inodes in sockets.holders(frozenset(ports), "sshd").items():
        found = _title(pid)
        if found is None:
            continue  # it ended meanwhile
        yield Daemon(pid, tuple(sorted({ports[i] for i in inodes})), _startups(found), tuple(found[2].split()))


def other_servers(listening: list[Listener]) -> dict[int, str]:
    """Port -> name of each SSH server that is not OpenSSH's and holds a listening socket as root."""
    ports = {x.inode: x.port for x in listening}
    found: dict[int, str] = {}
    for pid, inodes in sockets.holders(frozenset(ports), *OTHERS).items():
        with contextlib.suppress(OSError):  # it ended meanwhile
            name = read_text(f"/proc/{pid}/comm", 64).strip()
            found |= {ports[i]: name for i in inodes}
    return found


def startups_of(pid: int) -> tuple[int, int, int] | None:
    """Of an sshd: connections that have not logged in, first and last number of MaxStartups; None if it does not say, or has ended."""
    found = _title(pid)
    return _startups(found) if found is not None else None


def _title(pid: int) -> re.Match[str] | None:
    try:
        return _TITLE.match(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip())
    except OSError:
        return None


def _startups(title: re.Match[str]) -> tuple[int, int, int] | None:
    return (int(title[3]), int(title[4]), int(title[5])) if title[4] else None


def _kept(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Of a daemon's arguments those that change its configuration: -f, -o, -p."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in ("-f", "-o", "-p"):
            kept += [word, next(words, "")]
        elif word[:2] in ("-f", "-o", "-p") and len(word) > 2:
            kept.append(word)
    return tuple(kept)


def effective(arguments: tuple[str, ...] = ()) -> Config:
    """What sshd says of its configuration, or what the files say where it refuses to answer."""
    program = shutil.which("sshd", path=_PATH)
    if program is not None:
        # With a Match block, older versions want to know whom to match.
        for more in ((), ("-C", "user=nobody,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22")):
            try:
                done = subprocess.run([program, "-T", *arguments, *more], capture_output=True, text=True, timeout=10, check=False)
            except (OSError, subprocess.TimeoutExpired):
                break
            if done.returncode == 0:
                return _config(line.strip().split(None, 1) for line in done.stdout.splitlines())
    file = next((w for f, w in itertools.pairwise(arguments) if f == "-f"), DEFAULT_CONFIG)
    file = next((w[2:] for w in arguments if w.startswith("-f") and len(w) > 2), file)
    return _config(itertools.chain(_options(arguments), read_config(Path(file))))


def _options(arguments: tuple[str, ...]) -> Iterator[list[str]]:
    """Keyword and value of each -o and -p: they come before the file's, and the first value counts."""
    words = iter(arguments)
    for word in words:
        flag, value = word[:2], word[2:] or next(words, "")
        if flag == "-p":
            yield ["port", value]
        elif flag == "-o":
            yield value.replace("=", " ", 1).split(None, 1)


def read_config(path: Path, depth: int = 0) -> Iterator[list[str]]:
    """Keyword and value of each line that holds for everybody (of no Match block but `Match all`), with Include put in (at most 16 deep)."""
    try:
        text = read_text(path)
    except OSError:
        return
    some_only = False
    for line in text.splitlines():
        words = line.split("#", 1)[0].replace("=", " ", 1).split(None, 1)
        if not words:
            continue
        keyword = words[0].lower()
        if keyword == "match":
            some_only = len(words) != 2 or words[1].strip().lower() != "all"
        if some_only or keyword == "match":
            continue
        if keyword == "include" and len(words) == 2 and depth < 16:
            for quoted in words[1].split():
                pattern = quoted.strip('"')
                full = pattern if pattern.startswith("/") else f"{path.parent}/{pattern}"
                for name in sorted(glob(full))[:MOST_FILES]:
                    yield from read_config(Path(name), depth + 1)
        elif len(words) == 2:
            yield [keyword, words[1].strip().strip('"')]


def _config(lines: Iterator[list[str]]) -> Config:
    values: dict[str, str] = {}
    ports, addressed, bare = set(), set(), False
    for words in lines:
        if len(words) != 2:
            continue
        keyword, value = words[0].lower(), words[1].strip()
        if keyword == "port" and value.isdigit() and 0 < int(value) < 65536:
            ports.add(int(value))
        elif keyword == "listenaddress":
            value = re.sub(r"\s+rdomain\s+\S+\Z", "", value)  # a routing domain stands behind the address
            found = _ADDRESS.match(value)
            if found and 0 < int(found[1]) < 65536 and (value.startswith("[") or value.count(":") == 1):
                addressed.add(int(found[1]))
            else:
                bare = True  # without a port of its own it listens on every `Port`
        values.setdefault(keyword, value)
    ports = ports or {DEFAULT_PORT}
    return Config(tuple(sorted((ports if bare or not addressed else set()) | addressed)), values)


def _systemd_sockets() -> tuple[int, ...]:
    """Ports of ssh.socket where systemd listens in sshd's stead; empty where it does not."""
    program = shutil.which("systemctl", path=_PATH)
    if program is None or not Path("/run/systemd/system").is_dir():
        return ()
    found: set[int] = set()
    for unit in ("ssh.socket", "sshd.socket", "dropbear.socket", "tinyssh.socket"):
        try:
            done = subprocess.run([program, "show", unit, "--property=Listen,ActiveState,UnitFileState"],
                                  capture_output=True, text=True, timeout=5, check=False)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ()
        if "ActiveState=active" in done.stdout or "UnitFileState=enabled" in done.stdout:
            found |= {int(p) for p in _LISTEN.findall(done.stdout) if 0 < int(p) < 65536}
    return tuple(sorted(found))


def _seconds(text: str) -> int:
    """A time of sshd_config(5): 120, 2m, 1h30m."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d{1,9})([smhdw]?)", text.lower()))


def _longest(graces: list[int]) -> int:
    return 0 if 0 in graces else max(graces, default=120)


def _ports(ports: set[int]) -> str:
    return ", ".join(str(p) for p in sorted(ports))
