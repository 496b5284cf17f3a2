"""Two network namespaces of our own: a copy of this host's links, and the rest of the world at the other end of the cable.

They hang on file descriptors of this process alone, so they vanish with it, whatever ends it. Nothing here touches the
host's own namespace: threads go in for the making of a socket and come back.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from quietgate.errors import HostError
from quietgate.net import Prefix, parse_address

CLONE_NEWNET = 0x40000000
IP_FREEBIND, IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h
BANNER = b"SSH-rehearsal\r\n"
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
# What changes how a packet is judged, copied from the host (ip-sysctl.rst, nf_conntrack-sysctl.rst).
SYSCTLS = ("netfilter/nf_conntrack_tcp_loose", "netfilter/nf_conntrack_tcp_be_liberal", "ipv4/tcp_syncookies", "ipv4/tcp_fastopen")
_PACKET = re.compile(r"trace id (\S+) \S+ \S+ \S+ packet: .*? ip6? saddr (\S+) ip6? daddr \S+.*? tcp sport (\d+)")
_VERDICT = re.compile(r"trace id (\S+) (\S+ \S+) (\S+) (?:rule (.*) \(verdict (?:drop|reject)\)|(?:policy|verdict) (drop))")
_REJECT = re.compile(r"trace id (\S+) (\S+ \S+) (\S+) rule (.*reject.*) \(verdict")


@dataclass(frozen=True, slots=True)
class Way:
    """How packets of a peer reach this host: the interface, and the address of ours they go to."""

    interface: str
    local: Prefix


@dataclass(frozen=True, slots=True)
class Try:
    """A connection to try: from `peer` to `local`, port `port`, in by `interface`."""

    peer: Prefix
    port: int
    interface: str
    local: Prefix


@dataclass(frozen=True, slots=True)
class Guest:
    """A container or guest behind this host, to which NAT sends packets: its address and port, and the way to it."""

    address: Prefix
    port: int
    way: Way


def paths_to(peers: Sequence[Prefix]) -> dict[Prefix, Way]:
    """The host's own path back to each peer (its routing table decides); where it knows none, its first link is taken."""
    found: dict[Prefix, Way] = {}
    for peer, line in zip(peers, _ip_batch(f"route get {p}" for p in peers), strict=False):
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            route = json.loads(line)[0]
            if route["dev"] != "lo" and "prefsrc" in route:
                found[peer] = Way(route["dev"], parse_address(route["prefsrc"]))
    usual = _usual()
    for peer in peers:
        if peer not in found and peer.version in usual:
            found[peer] = usual[peer.version]
    return found


def _ip_batch(lines: Iterable[str]) -> list[str]:
    """The JSON answer to each `ip` command, "" where it failed."""
    answers = []
    text = [*lines]
    if not text:
        return []
    done = subprocess.run([_program("ip"), "-j", "-force", "-batch", "-"], input="\n".join(text) + "\n", capture_output=True, text=True,
                          timeout=30, check=False)  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith("["):
            answers.append(line)
    if len(answers) == len(text):
        return answers
    # One without a route prints nothing, and the answers cannot be told apart: ask one by one.
    return [_run([_program("ip"), "-j", *one.split()]) for one in text]


def _usual() -> dict[int, Way]:
    found: dict[int, Way] = {}
    with contextlib.suppress(ValueError):
        for link in json.loads(_run([_program("ip"), "-j", "addr"]) or "[]"):
            for info in link.get("addr_info", ()):
                version = {"inet": 4, "inet6": 6}.get(info.get("family"))
                if version and link.get("ifname") != "lo" and info.get("scope") == "global":
                    found.setdefault(version, Way(link["ifname"], parse_address(info["local"])))
    return found


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise HostError(f"the program {name} is not installed", "install it: apt-get install iproute2 util-linux")
    return found


def _run(words: list[str], text: str | None = None, fds: tuple[int, ...] = (), timeout: float = 30) -> str:
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=timeout, check=False, pass_fds=fds)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


class Namespace:
    """A fresh network namespace that lives as long as this object."""

    def __init__(self) -> None:
        self.fd = -1
        self._libc = ctypes.CDLL(None, use_errno=True)
        failed: list[int] = []

        def make() -> None:
            if self._libc.unshare(CLONE_NEWNET):
                failed.append(ctypes.get_errno())
            else:
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        thread = threading.Thread(target=make)  # unshare moves one thread; it ends here, the namespace stays
        thread.start()
        thread.join()
        if failed:
            raise PermissionError(failed[0], os.strerror(failed[0]))

    def close(self) -> None:
        """Let it go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, in there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._libc.setns(self.fd, CLONE_NEWNET):
                raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            yield
        finally:
            self._libc.setns(home, CLONE_NEWNET)
            os.close(home)

    def words(self, *words: str) -> list[str]:
        """A command line that runs in there; `fd` must be passed on."""
        return [_program("nsenter"), f"--net=/proc/self/fd/{self.fd}", *words]

    def run(self, *words: str, text: str | None = None) -> tuple[int, str]:
        """Run a program in there: exit code, and what it said on either stream."""
        try:
            done = subprocess.run(
                self.words(*words), input=text, capture_output=True, text=True, timeout=60, check=False, pass_fds=(self.fd,)
            )
        except subprocess.TimeoutExpired:
            return 124, "no answer"
        return done.returncode, done.stdout + done.stderr


class Scratch:
    """The copy (`here`) and the world (`there`), cabled for these tries, and one guest behind the copy, if it is asked for. Raises
    PermissionError where that is not allowed.
    """

    def __init__(self, tries: Sequence[Try], guest: Guest | None = None) -> None:
        self.here = Namespace()
        self.behind: Namespace | None = None
        try:
            self.there = Namespace()
        except BaseException:
            self.here.close()
            raise
        self._listeners: list[socket.socket] = []
        self._accepted: list[socket.socket] = []
        try:
            self._cable(tries)
            if guest is not None:
                self._add_guest(guest)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Everything goes."""
        for s in (*self._listeners, *self._accepted):
            s.close()
        self.here.close()
        self.there.close()
        if self.behind is not None:
            self.behind.close()

    def _cable(self, tries: Sequence[Try]) -> None:
        wanted = {name: (Path("/proc/sys/net") / name).read_text() for name in SYSCTLS if (Path("/proc/sys/net") / name).exists()}
        for space in (self.here, self.there):
            with space.inside():
                for name, value in (*wanted.items(), ("ipv6/conf/default/accept_dad", "0"), ("ipv6/conf/all/accept_dad", "0"),
                                    ("ipv6/conf/default/accept_ra", "0"), ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0")):  # fmt: skip
                    with contextlib.suppress(OSError):
                        (Path("/proc/sys/net") / name).write_text(value)
        here, there = ["link set lo up"], ["link set lo up"]
        interfaces = sorted({t.interface for t in tries})
        # The far ends are made here and pushed over: by this process's descriptor, which `ip` can open.
        for number, name in enumerate(interfaces):
            here.append(f"link add {name} type veth peer name p{number} netns /proc/{os.getpid()}/fd/{self.there.fd}")
            here.append(f"link set {name} up")
            there.append(f"link set p{number} up")
        ours = sorted({(t.interface, t.local) for t in tries})
        peers = sorted({(t.interface, t.peer) for t in tries})
        here += [f"addr add {local}/{local.length} dev {name}{_nodad(local)}" for name, local in ours]
        there += [f"addr add {peer}/{peer.length} dev p{interfaces.index(name)}{_nodad(peer)}" for name, peer in peers]
        here += [f"route add {peer} dev {name}{_src(peer, ours, name)}" for name, peer in peers]
        there += [f"route add {local} dev p{interfaces.index(name)}" for name, local in ours]
        for space, lines in ((self.here, here), (self.there, there)):
            code, said = space.run(_program("ip"), "-force", "-batch", "-", text="\n".join(lines) + "\n")
            if code and "File exists" not in said:
                raise HostError(
                    f"the scratch namespace could not be set up: {said.strip()[:300]}", "rehearse = false in [lockout] goes without"
                )

    def _add_guest(self, guest: Guest) -> None:
        """A third namespace behind the copy, as the container is behind the host; who knocks there is answered."""
        self.behind = Namespace()
        to, way = guest.address, guest.way
        family = "ipv6" if to.version == 6 else "ipv4"
        with self.here.inside(), contextlib.suppress(OSError):
            (Path("/proc/sys/net") / family / "conf/all/forwarding").write_text("1")
        with self.behind.inside(), contextlib.suppress(OSError):
            (Path("/proc/sys/net") / "ipv6/conf/default/accept_dad").write_text("0")
        here = [f"link add {way.interface} type veth peer name g0 netns /proc/{os.getpid()}/fd/{self.behind.fd}", f"link set {way.interface} up",
                f"addr add {way.local}/{way.local.length} dev {way.interface}{_nodad(way.local)}",
                f"route add {to} dev {way.interface} src {way.local}"]  # fmt: skip
        behind = ["link set lo up", "link set g0 up", f"addr add {to}/{to.length} dev g0{_nodad(to)}", f"route add {way.local} dev g0",
                  f"route add default via {way.local} dev g0"]  # fmt: skip
        for space, lines in ((self.here, here), (self.behind, behind)):
            code, said = space.run(_program("ip"), "-force", "-batch", "-", text="\n".join(lines) + "\n")
            if code and "File exists" not in said:
                raise HostError(
                    f"the scratch namespace could not be set up: {said.strip()[:300]}", "`why` without --prove asks the rules alone"
                )
        self._serve(self.behind, guest.port, str(to))

    def _serve(self, space: Namespace, port: int, address: str) -> None:
        with space.inside():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            s = socket.socket(family, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
            s.bind((address, port))
            s.listen(512)
            s.setblocking(False)
            self._listeners.append(s)

    def listen(self, ports: Sequence[int], bound: Sequence[Prefix]) -> None:
        """Stand in for sshd: on every address, or only on these."""
        for port in ports:
            for address in [str(b) for b in bound] or ["::"]:
                self._serve(self.here, port, address)

    def connect(self, tries: Sequence[Try], within: float) -> dict[Try, socket.socket]:
        """Open them all at once; those that came to be and heard the stand-in speak, within so many seconds."""
        watch = selectors.DefaultSelector()
        for s in self._listeners:
            watch.register(s, selectors.EVENT_READ, None)
        opening: dict[socket.socket, Try] = {}
        with self.there.inside():
            for one in tries:
                s = socket.socket(socket.AF_INET6 if one.peer.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
                s.setblocking(False)
                s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_FREEBIND, 1) if one.peer.version == 6 else (socket.IPPROTO_IP, IP_FREEBIND, 1)))
                s.bind((str(one.peer), 0))
                with contextlib.suppress(OSError):
                    s.connect_ex((str(one.local), one.port))
                opening[s] = one
                watch.register(s, selectors.EVENT_READ, one)
        found: dict[Try, socket.socket] = {}
        until = time.monotonic() + within
        while opening and (left := until - time.monotonic()) > 0:
            for key, _ in watch.select(left):
                s = cast("socket.socket", key.fileobj)
                if key.data is None:
                    self._accept(s)
                    continue
                try:
                    if s.recv(64):
                        found[key.data] = s
                except BlockingIOError:  # nothing to read after all: go on waiting
                    continue
                except OSError:
                    pass
                watch.unregister(s)
                if found.get(key.data) is not s:
                    s.close()
                del opening[s]
        for s in opening:
            s.close()
        watch.close()
        return found

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                s, _ = listener.accept()
                s.setblocking(False)
                s.send(BANNER)
                self._accepted.append(s)

    def alive(self, connections: dict[Try, socket.socket], within: float) -> set[Try]:
        """Those of the open connections over which a byte still goes both ways."""
        for s in connections.values():
            with contextlib.suppress(OSError):
                s.send(b"?")
        found: set[Try] = set()
        until = time.monotonic() + within
        while len(found) < len(connections) and time.monotonic() < until:
            for s in self._accepted:
                with contextlib.suppress(OSError):
                    if s.recv(64):
                        s.send(b"!")
            for one, s in connections.items():
                with contextlib.suppress(OSError):
                    if s.recv(64):
                        found.add(one)
            time.sleep(0.005)
        return found

    def trace(self, tries: Sequence[Try], within: float) -> tuple[dict[Try, tuple[str, str]], set[Try]]:
        """Try again what failed, with the kernel's own trace: the table and the rule that ended each; and what came to be now."""
        nft = _program("nft")
        self.here.run(nft, "-f", "-", text="add table inet qg_trace\nadd chain inet qg_trace t { type filter hook prerouting priority -350; }\n"
                      "add rule inet qg_trace t meta l4proto tcp meta nftrace set 1\n")  # fmt: skip
        child = subprocess.Popen(self.here.words(nft, "monitor", "trace"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                 pass_fds=(self.here.fd,))  # fmt: skip
        lines: list[str] = []
        assert child.stdout is not None
        out = child.stdout
        reader = threading.Thread(target=lambda: lines.extend(out), daemon=True)
        reader.start()
        until = time.monotonic() + 3
        while not lines and time.monotonic() < until:  # the monitor listens when it has seen something
            for s in self.connect(tries[:1], 0.2).values():
                s.close()
        late = self.connect(tries, within)
        for s in late.values():
            s.close()
        child.terminate()
        child.wait(5)
        reader.join(5)
        return _ended(lines, tries), set(late)


def _ended(lines: Sequence[str], tries: Sequence[Try]) -> dict[Try, tuple[str, str]]:
    whose: dict[str, str] = {}
    verdicts: dict[str, tuple[str, str]] = {}
    for line in lines:
        if packet := _PACKET.search(line):
            whose[packet[1]] = packet[2]
        if end := _VERDICT.search(line):
            verdicts[end[1]] = (end[2], end[4] or f"policy {end[5]} of {end[3]}")
        elif reject := _REJECT.search(line):
            verdicts[reject[1]] = (reject[2], reject[4])
    found = {}
    for one in tries:
        for number, source in whose.items():
            if source == str(one.peer) and number in verdicts:
                found[one] = verdicts[number]
    return found


def _nodad(address: Prefix) -> str:
    return " nodad" if address.version == 6 else ""


def _src(peer: Prefix, ours: Sequence[tuple[str, Prefix]], interface: str) -> str:
    local = next((a for name, a in ours if name == interface and a.version == peer.version), None)
    return f" src {local}" if local is not None else ""
