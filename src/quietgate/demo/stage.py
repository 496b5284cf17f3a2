"""The show: two servers under the same attack, one without quietgate and one with it, in network namespaces of their own.

Everything is real: sshd, the firewall in the kernel, the guard, clients that guess, an administrator who logs in. Nothing
outside is touched: namespaces hang on this process, files lie in one folder below /run, and `close` ends every process that
runs in the namespaces, whatever started it. Should this process be killed, its children follow (setpriv --pdeathsig).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quietgate.errors import HostError
from quietgate.host.scratch import Namespace

BOTS, GUESSERS = 120, 4
ADMIN = "198.19.250.1"
PACE, HOLD = 12.0, 12.0  # seconds between a bot's connections (5 a minute: within the limit), and that it keeps one open
LATER = 5.0  # seconds after the guessers that the bots come
STARTUPS = "10:30:60"
EVENTS = 8
IP_FREEBIND = 15
# sshd and PAM note who logs in and who failed to, and tell logind: in the demo's own /run, and in logs that are not this host's.
APART = """set -e
folder=$1 root=$2 log=$3
shift 3
mount --bind "$root" "$folder/run/${root##*/}"
mount --rbind "$folder/run" /run
place=$(readlink -m /dev/log)
case $place in /run/*) mkdir -p "${place%/*}"; : > "$place" ;; esac
mount --bind "$log" /dev/log
for logs in /var/log /var/lib/wtmpdb /var/lib/lastlog; do
    [ ! -d "$logs" ] || mount --bind "$folder/empty" "$logs"
done
exec "$@"
"""
POLICY = "version = 1\n\n[ssh]\n# All defaults: 5 new connections a minute for each stranger, a place in sshd kept free for those who are known.\n"


@dataclass
class Server:
    """One of the two: where it is, and what is counted of it."""

    name: str
    address: str
    space: Namespace
    place: Path
    guarded: bool
    processes: int = 0
    most: int = 0
    logins: int = 0
    failed: int = 0
    slowest: float = 0.0
    reached: int = 0  # connections of attackers that sshd answered


@dataclass
class Seen:
    """What the view shows at one moment."""

    seconds: float
    servers: tuple[Server, ...]
    bans: int
    limited: int
    reserved: int
    events: list[str] = field(default_factory=list)


class Stage:
    """Both servers and the world around them. Use as a context; `seen` looks, `attack` begins."""

    def __init__(self) -> None:
        for program in ("ssh", "sshd", "ssh-keygen", "nft", "ip", "mount", "unshare", "setpriv", "nsenter"):
            _program(program)
        self.root = Path(tempfile.mkdtemp(prefix="quietgate-demo-", dir="/run"))
        self.events: deque[str] = deque(maxlen=EVENTS)
        self.begun = time.monotonic()
        self._stop = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._spaces: list[Namespace] = []
        self.servers: list[Server] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- the stage

    def _build(self) -> None:
        self.world = self._space()
        for number, (name, guarded) in enumerate((("without", False), ("with", True))):
            space = self._space()
            place = self.root / name
            (place / "var/log").mkdir(parents=True)
            server = Server(name, f"198.18.{number}.1", space, place, guarded)
            self.servers.append(server)
            self._cable(server, number)
            self._syslog(server)
            self._sshd(server)
        (self.root / "with/etc/quietgate").mkdir(parents=True)
        (self.root / "with/etc/quietgate/quietgate.toml").write_text(POLICY)
        guarded_ = self.servers[1]
        self._quietgate("up", "--now")
        self._start(guarded_.space, sys.executable, "-I", "-m", "quietgate", "--root", str(guarded_.place), "run")
        self._await((guarded_.place / "run/quietgate/guard/control").exists, "the guard")
        self._thread(self._listen)
        self._script = self.root / "wrong"
        self._script.write_text("#!/bin/sh\necho wrong\n")
        self._script.chmod(0o755)
        for server in self.servers:  # he was here before: known, as administrators are
            self._await(lambda server=server: self._login(server), "the administrator's first login")

    def _space(self) -> Namespace:
        try:
            space = Namespace()
        except PermissionError:
            raise HostError(
                "network namespaces may not be made here", "run this as root, on a host or in a container that allows them"
            ) from None
        self._spaces.append(space)
        _run(space.words("ip", "link", "set", "lo", "up"), space)
        return space

    def _cable(self, server: Server, number: int) -> None:
        here, there = server.space, self.world
        _run(
            here.words(
                "ip", "link", "add", "eth0", "type", "veth", "peer", "name", f"w{number}", "netns", f"/proc/{os.getpid()}/fd/{there.fd}"
            ),
            here,
        )
        for space, link, address in ((here, "eth0", server.address), (there, f"w{number}", f"198.18.{number}.254")):
            _run(space.words("ip", "addr", "add", f"{address}/24", "dev", link), space)
            _run(space.words("ip", "link", "set", link, "up"), space)
        _run(here.words("ip", "route", "add", "default", "via", f"198.18.{number}.254"), here)
        if number == 0:
            _run(there.words("ip", "route", "add", "local", "198.19.0.0/16", "dev", "lo"), there)

    def _syslog(self, server: Server) -> None:
        """What a syslog daemon does: lines with a stamp into a file."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(server.place / "log"))
        listener.settimeout(0.5)
        file = (server.place / "var/log/auth.log").open("ab", buffering=0)

        def relay() -> None:
            with listener, file:
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        text = listener.recv(8192).split(b">", 1)[-1]  # "<38>Nov 24 20:24:00 sshd[1]: ..."
                        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()).encode()
                        file.write(stamp + b" demo " + text[16:].rstrip(b"\0\n") + b"\n")

        self._thread(relay)

    def _sshd(self, server: Server) -> None:
        key, user = server.place / "host", self.root / "admin"
        for file in (key, user):
            if not file.exists():
                _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)])
        pam = "yes" if Path("/etc/pam.d/sshd").exists() else "no"
        config = server.place / "sshd_config"
        # The demo's logins do not run root's own shell profile, which may do anything, and slowly.
        config.write_text(
            f"SetEnv HOME={server.place}\nPort 22\nHostKey {key}\nPidFile none\nAuthorizedKeysFile {user}.pub\nStrictModes no\nUsePAM {pam}\nPermitRootLogin yes\n"
            f"PasswordAuthentication yes\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\nUseDNS no\nMaxStartups {STARTUPS}\nLoginGraceTime 20\n"
        )
        folder = self.root / f"{server.name}-mounted"
        for name in ("run/sshd", f"run/{self.root.name}", "empty"):
            (folder / name).mkdir(parents=True)
        words = ["sh", "-c", APART, "sh", str(folder), str(self.root), str(server.place / "log"), _program("sshd"), "-D", "-f", str(config)]
        self._start(server.space, "unshare", "-m", "--propagation", "private", *words)
        self._await(lambda: self._answers(server), f"sshd ({server.name})")

    def _answers(self, server: Server) -> bool:
        with self.world.inside():
            s = socket.socket()
        with s, contextlib.suppress(OSError):
            s.settimeout(0.5)
            s.connect((server.address, 22))
            return bool(s.recv(16))
        return False

    def _quietgate(self, *words: str) -> None:
        server = self.servers[1]
        done = subprocess.run(server.space.words(sys.executable, "-I", "-m", "quietgate", "--root", str(server.place), *words), capture_output=True,
                              text=True, timeout=60, check=False, pass_fds=(server.space.fd,))  # fmt: skip
        if done.returncode:
            raise HostError(f"quietgate {' '.join(words)} failed in the demo: {done.stderr.strip()[:500]}", "see what it says")

    # -- the attack

    def attack(self) -> None:
        """Bots, guessers and the administrator begin."""
        self.begun = time.monotonic()
        for server in self.servers:
            self._thread(self._bots, server)
            self._thread(self._administrator, server)
            for number in range(GUESSERS):
                self._thread(self._guess, server, f"198.19.66.{number + 1}")

    def _bots(self, server: Server) -> None:
        """Each within the limit, all of them together a crowd: they sit in sshd's places until it throws them out."""
        if self._stop.wait(LATER):
            return
        sources = [f"198.19.{n // 250}.{n % 250 + 1}" for n in range(BOTS)]
        made: dict[str, list[float]] = {s: [] for s in sources}
        with self.world.inside(), selectors.DefaultSelector() as watch:
            while not self._stop.is_set():
                now = time.monotonic()
                for source, times in made.items():
                    if not times or now - times[-1] > PACE:
                        times.append(now)
                        s = socket.socket()
                        s.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
                        s.bind((source, 0))
                        s.setblocking(False)
                        s.connect_ex((server.address, 22))
                        watch.register(s, selectors.EVENT_READ, now)
                for key, _ in watch.select(0.1):
                    s = key.fileobj  # type: ignore[assignment]
                    data = b""
                    with contextlib.suppress(OSError):
                        data = s.recv(128)
                    server.reached += data.startswith(b"SSH-")
                    if not data or not data.startswith(b"SSH-"):
                        watch.unregister(s)
                        s.close()
                for key in list(watch.get_map().values()):
                    if now - key.data > HOLD:
                        watch.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]

    def _guess(self, server: Server, source: str) -> None:
        """A real client that tries one password after the other."""
        env = {**os.environ, "SSH_ASKPASS": str(self._script), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        words = self.world.words(
            *_ssh(source), "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=3", f"root@{server.address}", "true"
        )
        while not self._stop.is_set():
            begun = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(words, env=env, capture_output=True, timeout=15, check=False, pass_fds=(self.world.fd,))
            self._stop.wait(max(0.0, 1.0 - (time.monotonic() - begun)))

    def _administrator(self, server: Server) -> None:
        while not self._stop.wait(2.0):
            begun = time.monotonic()
            if self._login(server):
                server.logins += 1
                server.slowest = max(server.slowest, time.monotonic() - begun)
            elif not self._stop.is_set():
                server.failed += 1

    def _login(self, server: Server) -> bool:
        words = self.world.words(*_ssh(ADMIN), "-o", "BatchMode=yes", "-i", str(self.root / "admin"), f"root@{server.address}", "echo in")
        try:
            done = subprocess.run(words, capture_output=True, timeout=10, check=False, stdin=subprocess.DEVNULL, pass_fds=(self.world.fd,))
        except subprocess.TimeoutExpired:
            return False
        return done.stdout.strip() == b"in"

    # -- what is seen

    def seen(self) -> Seen:
        """Look at both servers now."""
        for server in self.servers:
            server.processes = sum(1 for pid in _inside(server.space) if _is_sshd(pid)) - 1
            server.most = max(server.most, server.processes)
        counters = self._counters()
        return Seen(time.monotonic() - self.begun, tuple(self.servers), self.bans(), counters.get("ssh_limited", 0) + counters.get("ssh_refused", 0),
                    counters.get("ssh_reserved", 0), list(self.events))  # fmt: skip

    def bans(self) -> int:
        """Bans that the guard has made."""
        from quietgate.control.client import ask
        from quietgate.errors import QuietgateError

        try:
            return int(ask(self.servers[1].place / "run/quietgate/guard/control", {"ask": "status"}, 2.0)["bans"])
        except (QuietgateError, KeyError, ValueError, TypeError):
            return 0

    def _counters(self) -> dict[str, int]:
        space = self.servers[1].space
        code, text = space.run("nft", "-j", "list", "counters", "table", "inet", "quietgate")
        if code:
            return {}
        return {c["counter"]["name"]: c["counter"]["packets"] for c in json.loads(text)["nftables"] if "counter" in c}

    def _listen(self) -> None:
        """The guard's own stream: what is shut out, and why."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1.0)
            s.connect(str(self.servers[1].place / "run/quietgate/guard/control"))
            s.sendall(b'{"ask": "events"}\n')
            rest = b""
            while not self._stop.is_set():
                try:
                    data = s.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._note(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        at = f"{time.monotonic() - self.begun:4.0f} s"
        if event.get("event") == "ban":
            self.events.append(f"{at}  banned {event['source']}: {event['reason']}")
        elif event.get("event") == "login":
            if self.events and " logged in from " in self.events[-1]:
                self.events.pop()  # the latest of them tells as much
            self.events.append(f"{at}  {event['user']} logged in from {event['address']}")
        elif event.get("event") == "attempt" and event["outcome"] == "failed":
            self.events.append(f"{at}  {event['address']} guessed a password of {event['user']}")

    # -- the end

    def close(self) -> None:
        """End it: every process in the namespaces, the threads, the folder. Idempotent."""
        self._stop.set()
        for child in self._children:
            with contextlib.suppress(OSError):
                child.kill()
        for _ in range(50):  # what forks while we look is found the next time
            found = [pid for space in self._spaces for pid in _inside(space)]
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                break
            time.sleep(0.05)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
        for thread in self._threads:
            thread.join(5)
        for space in self._spaces:
            space.close()
        self._spaces.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def _start(self, space: Namespace, *words: str) -> None:
        self._children.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *space.words(*words)], stdin=subprocess.DEVNULL,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(space.fd,)))  # fmt: skip

    def _thread(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _await(self, condition: Any, what: str, within: float = 20.0) -> None:
        until = time.monotonic() + within
        while not condition():
            if time.monotonic() > until:
                raise HostError(f"{what} did not come up within {within:.0f} s", "see whether sshd starts on this host: sshd -t")
            time.sleep(0.05)


def _ssh(source: str) -> list[str]:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=4", f"BindAddress={source}", "ControlPath=none"]
    return ["ssh", "-q", "-F", "/dev/null", *(w for o in options for w in ("-o", o))]


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise HostError(f"the demo needs {name}", "install it: apt-get install openssh-server openssh-client nftables iproute2 util-linux")
    return found


def _run(words: list[str], space: Namespace | None = None) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, pass_fds=(space.fd,) if space else ())
    if done.returncode:
        raise HostError(f"{' '.join(words[-6:])}: {done.stderr.strip()[:200]}", "run this as root, where network namespaces may be made")


def _inside(space: Namespace) -> list[int]:
    """Processes in a namespace."""
    inode = os.fstat(space.fd).st_ino
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (process / "ns/net").stat().st_ino == inode:
                    found.append(int(process.name))
    return found


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False
