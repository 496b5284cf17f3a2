"""The lab: hosts in network namespaces, a real sshd, raw packets. Nothing of it touches the root namespace.

A `Pair` is two hosts joined by a veth cable: `server`, where quietgate runs, and `client`, where packets come from.
Sockets are made inside a namespace and used from outside, so one test process can be on both ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SERVER4, CLIENT4 = "198.18.0.1", "198.18.0.2"
SERVER6, CLIENT6 = "2001:db8:18::1", "2001:db8:18::2"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
QUIETGATE = Path(sys.executable).with_name("quietgate")
_numbers = itertools.count()


def sh(*words: str, check: bool = True, stdin: str | None = None, timeout: float = 60) -> str:
    """Run a program, return what it printed; with `check`, fail loudly when it fails."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def wait_for(condition: Callable[[], object], what: str, within: float = 10.0) -> None:
    """Await a condition; fail with `what` when it does not come true in time."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {within} s in vain for: {what}")
        time.sleep(0.01)


@dataclass
class Host:
    """One network namespace."""

    name: str

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Make sockets and start programs there. The calling thread alone moves, and comes back."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if LIBC.setns(there, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            LIBC.setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def sh(self, *words: str, check: bool = True, stdin: str | None = None, timeout: float = 60) -> str:
        """Run a program there."""
        return sh("ip", "netns", "exec", self.name, *words, check=check, stdin=stdin, timeout=timeout)

    def nft(self, text: str) -> str:
        """Load nft text there."""
        return self.sh("nft", "-f", "-", stdin=text)

    def sysctl(self, key: str, value: object) -> None:
        """Set a sysctl there."""
        self.sh("sysctl", "-qw", f"{key}={value}")

    def connect(self, source: str | tuple[str, int], target: str, port: int, timeout: float = 1.0) -> socket.socket | None:
        """A TCP connection from an address there; None when it does not come to be in `timeout` seconds."""
        address, sport = (source, 0) if isinstance(source, str) else source
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with self.inside():
            s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.settimeout(timeout)
        try:
            # A local address may be any: IP_FREEBIND / IPV6_FREEBIND, so that hundreds of sources need no set-up.
            s.setsockopt(*((socket.IPPROTO_IPV6, 78, 1) if family == socket.AF_INET6 else (socket.IPPROTO_IP, 15, 1)))
            s.bind((address, sport))
            s.connect((target, port))
        except OSError:
            s.close()
            return None
        return s

    def banner(self, source: str | tuple[str, int], target: str, port: int = 22, timeout: float = 1.0) -> bool:
        """True if a server that speaks first was reached: connect, read something, close."""
        s = self.connect(source, target, port, timeout)
        if s is None:
            return False
        with s:
            s.settimeout(2.0)  # connected: a busy sshd may take its time
            try:
                said = s.recv(64)
            except OSError:
                return False
            return bool(said) and not said.startswith(b"Exceeded MaxStartups")  # sshd's own refusal


@dataclass
class Pair:
    """Two hosts on one cable: the server's end is eth0, the client's is eth0 as well."""

    server: Host
    client: Host
    root: Path
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    litter: list[Path] = field(default_factory=list)

    def policy(self, text: str) -> None:
        """Write the server's policy."""
        file = self.root / "etc/quietgate/quietgate.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def quietgate(self, *words: str, expect: int = 0, stdin: str | None = None) -> str:
        """The real command on the server; returns what it printed on both streams."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == expect, f"quietgate {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def run(self, *words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The real command on the server, whatever comes of it."""
        full = ["ip", "netns", "exec", self.server.name, str(QUIETGATE), "--root", str(self.root), *words]
        merged = {**os.environ, **(env or {})}
        return subprocess.run(full, input=stdin or "", capture_output=True, text=True, timeout=300, check=False, env=merged)

    def up(self, policy: str = "") -> None:
        """Write the policy and put it in force."""
        self.policy(policy)
        self.quietgate("up", "--now")

    def counters(self) -> dict[str, int]:
        """Packets in our named counters."""
        raw = json.loads(self.server.sh("nft", "-j", "list", "counters", "table", "inet", "quietgate"))
        return {c["counter"]["name"]: c["counter"]["packets"] for c in raw["nftables"] if "counter" in c}

    def start(self, host: Host, *words: str) -> subprocess.Popen[bytes]:
        """A program that runs until the test ends."""
        child = subprocess.Popen(["ip", "netns", "exec", host.name, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 stdin=subprocess.DEVNULL)  # fmt: skip
        self.children.append(child)
        return child

    def start_reading(self, host: Host, *words: str) -> Iterator[str]:
        """The lines of a real command that goes on until the test ends; it has begun when this returns."""
        full = ["ip", "netns", "exec", host.name, str(QUIETGATE), "--root", str(self.root), *words]
        child = subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.children.append(child)
        assert child.stdout is not None
        wait_for(lambda: host.sh("ss", "-Hxp", "state", "connected").count(f"pid={child.pid},"), "it is connected", 10)
        out = child.stdout
        return (line.decode() for line in out)

    def sshd(self, *options: str, port: int = 22) -> Sshd:
        """A real sshd on the server, with keys of its own."""
        return Sshd(self, port, options)


class Sshd:
    """A real sshd. `forks` counts the connections it accepted, each of which is a process."""

    def __init__(self, pair: Pair, port: int, options: tuple[str, ...]) -> None:
        self.prepare(pair, port, options)
        self.start()

    def prepare(self, pair: Pair, port: int, options: tuple[str, ...]) -> None:
        """Keys and configuration, without a start."""
        self.pair = pair
        self.port = port
        place = pair.root / f"sshd{next(_numbers)}"
        place.mkdir(parents=True)
        self.log = place / "log"
        self.config = place / "config"
        key = place / "host"
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        self.user_key = place / "user"
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.user_key))
        # sshd reads it as the user who logs in, who may not look into pytest's folders
        readable = Path(tempfile.mkdtemp(prefix="qg-keys-", dir="/run"))
        pair.litter.append(readable)
        readable.chmod(0o755)
        authorized = readable / "authorized"
        shutil.copy(self.user_key.with_suffix(".pub"), authorized)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.config = place / "config"
        # sshd takes the first value of a keyword: a test's options come before the usual ones. Nobody's own shell profile is run:
        # one that waits for something would make logins fail.
        lines = [*options, f"SetEnv HOME={readable}", f"Port {port}", f"HostKey {key}", f"PidFile {place}/pid", f"AuthorizedKeysFile {authorized}", "StrictModes no",
                 "UsePAM no", "PermitRootLogin prohibit-password", "LogLevel VERBOSE", "UseDNS no",
                 *([] if any(o.startswith("MaxStartups") for o in options) else ["MaxStartups 500:30:1000"])]  # fmt: skip
        self.config.write_text("\n".join(lines) + "\n")
        self.log.touch()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.log.write_text("")
        self.process = self.pair.start(self.pair.server, "/usr/sbin/sshd", "-D", "-f", str(self.config), "-E", str(self.log))
        wait_for(lambda: "listening" in self.log.read_text(), "sshd listens")

    def stop(self) -> None:
        """End the daemon; sessions that are open live on."""
        self.process.terminate()
        self.process.wait(10)

    def move(self, port: int) -> None:
        """What an administrator does: another port in its configuration, and a restart."""
        self.stop()
        self.config.write_text(self.config.read_text().replace(f"Port {self.port}\n", f"Port {port}\n"))
        self.port = port
        self.start()

    def forks(self) -> int:
        """Connections accepted so far."""
        return self.log.read_text(errors="replace").count("\nConnection from ")

    def login(self, source: str, target: str = SERVER4, *, timeout: int = 3, command: str = "echo in") -> bool:
        """A real login by key from an address of the client."""
        return "in" in self.ssh(source, target, timeout=timeout, command=command)

    def ssh(self, source: str, target: str = SERVER4, *, timeout: int = 3, command: str = "echo in") -> str:
        """What a command printed over a real ssh."""
        return self.pair.client.sh(*self.arguments(source, target, timeout), command, check=False)

    def arguments(self, source: str, target: str, timeout: int = 3) -> list[str]:
        """The words of the ssh client."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", f"ConnectTimeout={timeout}",
                   f"BindAddress={source}", "ControlPath=none"]  # fmt: skip
        return ["ssh", "-q", "-F", "/dev/null", "-i", str(self.user_key), "-p", str(self.port), *(w for o in options for w in ("-o", o)),
                f"root@{target}"]  # fmt: skip


@contextlib.contextmanager
def make_pair(root: Path) -> Iterator[Pair]:
    """Two fresh hosts; gone afterwards with all they ran."""
    number = f"{os.getpid()}-{next(_numbers)}"
    server, client = Host(f"qgs{number}"), Host(f"qgc{number}")
    pair = Pair(server, client, root)
    try:
        for host in (server, client):
            sh("ip", "netns", "add", host.name)
            host.sysctl("net.ipv6.conf.all.accept_dad", 0)
            host.sysctl("net.ipv6.conf.default.accept_dad", 0)
            host.sh("ip", "link", "set", "lo", "up")
        sh("ip", "-n", server.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client.name)
        for host, four, six in ((server, SERVER4, SERVER6), (client, CLIENT4, CLIENT6)):
            host.sh("ip", "link", "set", "eth0", "up")
            host.sh("ip", "addr", "add", f"{four}/16", "dev", "eth0")
            host.sh("ip", "addr", "add", f"{six}/48", "dev", "eth0", "nodad")
        # The client is every other address too: packets to all of 198.18/15 and 2001:db8::/32 end there.
        client.sh("ip", "route", "add", "local", "198.18.16.0/20", "dev", "lo")
        client.sh("ip", "route", "add", "local", "198.19.0.0/16", "dev", "lo")
        client.sh("ip", "-6", "route", "add", "local", "2001:db8:100::/40", "dev", "lo")
        client.sh("ip", "-6", "route", "add", "local", "64:ff9b::/96", "dev", "lo")
        client.sysctl("net.ipv6.ip_nonlocal_bind", 1)  # ssh's BindAddress may be any of them
        server.sh("ip", "route", "add", "198.18.16.0/20", "via", CLIENT4)
        server.sh("ip", "route", "add", "198.19.0.0/16", "via", CLIENT4)
        server.sh("ip", "-6", "route", "add", "2001:db8:100::/40", "via", CLIENT6)
        server.sh("ip", "-6", "route", "add", "64:ff9b::/96", "via", CLIENT6)
        wait_for(lambda: "tentative" not in server.sh("ip", "-6", "addr") + client.sh("ip", "-6", "addr"), "addresses are ready")
        yield pair
    finally:
        for child in pair.children:
            child.terminate()
        for host in (server, client):
            for pid in sh("ip", "netns", "pids", host.name, check=False).split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), 9)
            sh("ip", "netns", "del", host.name, check=False)
        for child in pair.children:
            child.wait(10)
        for path in pair.litter:
            shutil.rmtree(path, ignore_errors=True)


# -- clocks

_CLOCK = """
import time
def _shifted(real=time.time):
    try:
        with open({clock!r}) as file:
            return real() + float(file.read())
    except (OSError, ValueError):
        return real()
time.time = _shifted
"""


def wrong_clock(root: Path, ahead: float, more: str = "") -> dict[str, str]:
    """The environment of a quietgate whose wall clock is ahead by what stands in `<root>/clock`, in seconds, and which runs `more`
    before its own. (faketime(1) breaks the clocks that nobody can set, or else `time.sleep`.)
    """
    place = root / "python"
    place.mkdir(exist_ok=True)
    (root / "clock").write_text(f"{ahead}\n")
    (place / "sitecustomize.py").write_text(_CLOCK.format(clock=str(root / "clock")) + more)
    return {"PYTHONPATH": str(place)}


# -- raw packets


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16}


def ip_packet(src: str, dst: str, protocol: int, payload: bytes, ident: int = 0) -> bytes:
    """An IPv4 or IPv6 packet around a payload. `ident` is the IPv4 id or the IPv6 flow label."""
    if ":" in src:
        head = struct.pack("!IHBB", 6 << 28 | (ident & 0xFFFFF), len(payload), protocol, 64)
        return head + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident & 0xFFFF, 0, 64, protocol, 0)
    head += socket.inet_aton(src) + socket.inet_aton(dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def pseudo_header(src: str, dst: str, protocol: int, length: int) -> bytes:
    """What a transport's checksum covers besides its own bytes (RFC 9293 3.1, RFC 8200 8.1)."""
    if ":" in src:
        return socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + struct.pack("!II", length, protocol)
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!BBH", 0, protocol, length)


def tcp_packet(
    src: str, dst: str, sport: int, dport: int, flags: str, seq: int = 0, ack: int = 0, data: bytes = b"", ident: int = 0
) -> bytes:
    """A TCP packet; `flags` like "syn" or "syn ack"."""
    bits = sum(FLAGS[f] for f in flags.split())
    options = struct.pack("!BBH", 2, 4, 1460) if bits & 2 else b""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (5 + len(options) // 4) << 4, bits, 64240, 0, 0)
    segment = head + options + data
    value = checksum(pseudo_header(src, dst, 6, len(segment)) + segment)
    return ip_packet(src, dst, 6, segment[:16] + struct.pack("!H", value) + segment[18:], ident)


def udp_packet(src: str, dst: str, sport: int, dport: int, data: bytes = b"x", ident: int = 0) -> bytes:
    """A UDP packet."""
    segment = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    value = checksum(pseudo_header(src, dst, 17, len(segment)) + segment) or 0xFFFF
    return ip_packet(src, dst, 17, segment[:6] + struct.pack("!H", value) + segment[8:], ident)


def icmp_packet(src: str, dst: str, kind: int, code: int = 0, body: bytes = b"\0\1\0\1", ident: int = 0) -> bytes:
    """An ICMP or ICMPv6 packet; `body` follows the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + body
    six = ":" in src
    pseudo = pseudo_header(src, dst, 58, len(message)) if six else b""
    value = checksum(pseudo + message)
    return ip_packet(src, dst, 58 if six else 1, message[:2] + struct.pack("!H", value) + message[4:], ident)


class Wire:
    """A raw end of the cable at the client: send any packet to the server, hear what comes back."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        with pair.client.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            self.socket.bind(("eth0", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.mine = self._mac(pair.client)
        self.server = self._mac(pair.server)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @staticmethod
    def _mac(host: Host) -> bytes:
        return bytes.fromhex(json.loads(host.sh("ip", "-j", "link", "show", "eth0"))[0]["address"].replace(":", ""))

    def send(self, packet: bytes) -> None:
        """Send one IP packet to the server."""
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        self.socket.send(self.server + self.mine + struct.pack("!H", kind) + packet)

    def hear(self, wanted: Callable[[bytes], bool], within: float = 1.0) -> bytes | None:
        """The next IP packet from the server for which `wanted` is true; None when none comes."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame = self.socket.recv(65535)
            except TimeoutError:
                return None
            if frame[6:12] == self.server and frame[12:14] in (b"\x08\x00", b"\x86\xdd") and wanted(frame[14:]):
                return frame[14:]
        return None


@dataclass
class Segment:
    """The TCP part of a packet that was heard."""

    src: str
    dst: str
    sport: int
    dport: int
    seq: int
    ack: int
    flags: set[str]

    @classmethod
    def parse(cls, packet: bytes) -> Segment | None:
        """None if it is not TCP."""
        if packet[0] >> 4 == 6:
            if packet[6] != 6:
                return None
            src, dst = (socket.inet_ntop(socket.AF_INET6, packet[a : a + 16]) for a in (8, 24))
            tcp = packet[40:]
        else:
            if packet[9] != 6:
                return None
            src, dst = (socket.inet_ntoa(packet[a : a + 4]) for a in (12, 16))
            tcp = packet[(packet[0] & 15) * 4 :]
        sport, dport, seq, ack, _, bits = struct.unpack_from("!HHIIBB", tcp)
        return cls(src, dst, sport, dport, seq, ack, {f for f, b in FLAGS.items() if bits & b})
