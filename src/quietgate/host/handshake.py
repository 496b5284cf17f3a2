"""New connections to sshd, followed from their first moment to a login, however short that is.

A look at the sessions that are open now and then misses `ssh host true`. A connection, though, is there for some time before anybody
can have logged in over it: its process is found in that time, and the process then looked at every few milliseconds until the kernel
says who has logged in (loginuid), or it ends. A descriptor of /proc/PID names one process, also after its number is used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from typing import Self

from quietgate.errors import KernelError
from quietgate.host import sockets
from quietgate.host.sessions import DAEMONS, UNSET, audit, comm, live, status_of
from quietgate.net import Prefix
from quietgate.values import Flow, Session

CHECKS = (0.0, 0.05, 0.2, 1.0)  # seconds: a session opens a moment after the line that tells of it
FOLLOWED = 0.5  # seconds for which the process of a line is followed
MOST = 64  # connections that are followed at a time; anybody can open some, the newest wait until one ends
FIND = 0.05  # seconds between two looks for new connections: key exchange alone takes longer
NEAR = 0.002  # seconds between two looks at a process that may log in at any moment


class Process:
    """One process, by a descriptor of /proc/PID: it stays the same process when its number is used again. Close it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._place = -1
        with contextlib.suppress(OSError):
            self._place = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._session = audit(pid)[1]  # when it was seen first

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self._place >= 0:
            os.close(self._place)
            self._place = -1

    def lives(self) -> bool:
        """Return whether it has not ended."""
        try:
            os.stat("stat", dir_fd=self._place)
        except (OSError, ValueError):
            return False
        return True

    def holds(self, inode: int) -> bool:
        """Return whether it is root's sshd and holds this socket."""
        if self._place < 0 or status_of(self.pid, "Uid:", UNSET) != 0 or comm(self.pid) not in DAEMONS:
            return False
        with contextlib.suppress(OSError):
            held = (os.readlink(f"/proc/{self.pid}/fd/{d}") for d in os.listdir(f"/proc/{self.pid}/fd"))
            return any(target == f"socket:[{inode}]" for target in held) and self.lives()
        return False

    def has_logged_in(self) -> int | None:
        """Return the user who has logged in in it, whenever that was; None where the kernel does not tell for sure.

        What it may have inherited from its daemon is no login: its audit session has to be another than that of the sshd that made it.
        """
        uid, session = audit(self.pid)
        parent = status_of(self.pid, "PPid:")
        if uid == UNSET or comm(parent) not in DAEMONS or status_of(parent, "Uid:", UNSET) != 0 or audit(parent)[1] == session:
            return None
        return uid if self.lives() else None

    def login(self) -> int | None:
        """Return the user who has logged in in it since it was seen first; None while nobody has.

        PAM makes a new audit session at a login, whatever the process inherited from a daemon that somebody started by hand.
        """
        uid, session = audit(self.pid)
        # The number was this process when it was asked if this process still lives.
        return uid if session not in (UNSET, self._session) and uid != UNSET and self.lives() else None


class Handshakes:
    """Follows what connects to these local ports. Use as a context. Needs root.

    `open_before`: cookies of the connections that are not looked at.
    """

    def __init__(self, ports: frozenset[int], open_before: frozenset[int]) -> None:
        self._ports, self._before = ports, open_before
        self._followed: dict[int, tuple[Flow, Process]] = {}
        self._seen: queue.SimpleQueue[Session] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="handshakes")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def logins(self, seconds: float) -> list[Session]:
        """Return the logins that were seen since the last call; where there were none, wait so many seconds for one."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._seen.get(timeout=seconds))
            while True:
                found.append(self._seen.get_nowait())
        return found

    def _run(self) -> None:
        """In a thread: whoever waits for a login looks at other things meanwhile, and a login may be over by then."""
        look = 0.0
        try:
            while not self._stop.wait(NEAR if self._followed else FIND):
                if time.monotonic() >= look:
                    with contextlib.suppress(KernelError):  # asked again in a moment
                        self._find()
                    look = time.monotonic() + FIND
                for session in self._logged_in():
                    self._seen.put(session)
        finally:
            for _, process in self._followed.values():
                process.close()

    def _find(self) -> None:
        """Take up the connections that are new, and let go of those that are over."""
        flows = {f.inode: f for f in sockets.flows(self._ports) if f.inode and f.cookie not in self._before}
        for cookie in [c for c, (_, process) in self._followed.items() if not process.lives()]:
            self._followed.pop(cookie)[1].close()
        fresh = {i: f for i, f in flows.items() if f.cookie not in self._followed}
        if not fresh or len(self._followed) >= MOST:
            return
        # The process that sshd's listener made for the connection is root's; the one that speaks with the network is not.
        for pid, inodes in sockets.holders(frozenset(fresh), *DAEMONS).items():
            for flow in (fresh[i] for i in inodes):
                process = Process(pid)
                if len(self._followed) < MOST and flow.cookie not in self._followed and process.holds(flow.inode):
                    self._followed[flow.cookie] = flow, process
                else:
                    process.close()

    def _logged_in(self) -> Iterator[Session]:
        for flow, process in list(self._followed.values()):
            uid = process.login()
            if uid is not None:
                self._followed.pop(flow.cookie)[1].close()
                self._before |= {flow.cookie}
                yield Session(uid, flow, "loginuid")


async def login_of_line(ports: frozenset[int], pid: int, uid: int, address: Prefix, port: int) -> Session | None:
    """Return the session that a line of a login tells of: of that user number, from that address and port. A short one is caught by
    looking at the very process that wrote the line. Takes a second where there is none. Needs root.
    """
    begun = time.monotonic()
    with contextlib.closing(Process(pid)) as process:
        flow = next((f for f in _flows(ports) if (f.peer, f.peer_port) == (address, port)), None)
        if flow is not None and process.holds(flow.inode):
            if process.has_logged_in() == uid:  # journald hands a line on up to 250 ms after it was written
                return Session(uid, flow, "loginuid")
            # Nothing else meanwhile: to look at all sessions takes longer than some logins last.
            while time.monotonic() - begun < FOLLOWED and process.lives():
                if process.login() == uid:
                    return Session(uid, flow, "loginuid")
                await asyncio.sleep(NEAR)
    for pause in CHECKS:
        await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))
        found = next((s for s in live(ports) if (s.uid, s.flow.peer, s.flow.peer_port) == (uid, address, port)), None)
        if found is not None:
            return found
    return None


def _flows(ports: frozenset[int]) -> list[Flow]:
    try:
        return sockets.flows(ports)
    except KernelError:
        return []
