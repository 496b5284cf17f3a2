"""What only root may see, for those of our units that are not root enough: whose sockets and sessions these are, and what sshd is here.

Who has CAP_SYS_PTRACE looks by himself. The guard, the boot and the refresh have not: they ask `quietgate-helper.socket`, where a process
of root's answers these questions and no other (`daemon/helper.py`): one JSON object a line, once each way.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quietgate.errors import Hidden, KernelError
from quietgate.host import handshake, sessions, sockets, sshd_config, sshd_units
from quietgate.host.sshd_config import Config, Daemon, SshPorts
from quietgate.host.sshd_units import Writers
from quietgate.host.systemd import start_words
from quietgate.net import Prefix, parse_address
from quietgate.values import Flow, Session

HELPER = Path("/run/quietgate/helper")
WITHIN, LONG = 3.0, 30.0  # seconds for an answer; sshd may be asked for its configuration
LONGEST = 8 << 20  # bytes of an answer
AGAIN = 5.0  # seconds in which one that did not answer is not asked: the guard must not stand still
CAP_SYS_PTRACE = 19


@functools.cache
def _traces() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_PTRACE & 1)
    return True


def may_see() -> bool:
    """True if this process looks by itself: it has CAP_SYS_PTRACE, or is a root that has nobody to ask (in a container)."""
    return _traces() or (os.geteuid() == 0 and not os.access(HELPER, os.W_OK))


def live(ports: frozenset[int]) -> list[Session]:
    """As `sessions.live`. Raises KernelError."""
    if may_see():
        return sessions.live(ports)
    return [_session(x) for x in _rows(_ask({"ask": "sessions", "ports": sorted(ports)}))]


def authenticated(flows: Iterable[Flow]) -> frozenset[int]:
    """As `sessions.authenticated`. Raises KernelError."""
    flows = list(flows)
    if may_see():
        return sessions.authenticated(flows)
    rows = _rows(_ask({"ask": "authenticated", "ports": sorted({f.local_port for f in flows})}))
    return frozenset(x for x in rows if isinstance(x, int)) & {f.cookie for f in flows}


async def login(ports: frozenset[int], pid: int, uid: int, address: Prefix, port: int) -> Session | None:
    """As `handshake.login_of_line`; None also where nobody answers: the next look at all sessions may find it."""
    if may_see():
        return await handshake.login_of_line(ports, pid, uid, address, port)
    question = {"ask": "login", "ports": sorted(ports), "pid": pid, "uid": uid, "address": str(address), "port": port}
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_unix_connection(HELPER, limit=1 << 16)
            try:
                writer.write(json.dumps(question).encode() + b"\n")
                raw = json.loads(await reader.readline())["found"]
            finally:
                writer.close()
        return None if raw is None else _session(raw)
    except (OSError, ValueError, KeyError, TypeError, KernelError):
        return None


def writers(named: tuple[str, ...] = ()) -> Writers | None:
    """As `sshd_units.find`; where nobody answers, the usual ones and those that are named."""
    if may_see():
        return sshd_units.find(named)
    try:
        (raw,) = _rows(_ask({"ask": "writers", "units": list(named)}))
        return None if raw is None else Writers(frozenset(map(str, raw["units"])), frozenset(map(str, raw["programs"])))
    except (KernelError, ValueError, KeyError, TypeError):
        return sshd_units.find(named)  # no daemon is seen


def find_ports(named: tuple[int, ...] | None) -> SshPorts:
    """As `sshd_config.find_ports`; where nobody answers, what anybody sees of it."""
    if not may_see():
        try:
            return _ports(_ask({"ask": "sshd", "ports": None if named is None else list(named)}, LONG))
        except KernelError:
            pass
    return sshd_config.find_ports(named)


class Startups:
    """Of each sshd that runs: connections that have not logged in, first and last number of MaxStartups."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def now(self) -> list[tuple[int, int, int]]:
        """As it is now; an sshd that was started again is another process. Raises KernelError."""
        if not may_see():
            try:
                return [_three(row) for row in _rows(_ask({"ask": "startups"}))]
            except (ValueError, TypeError):
                raise _nothing("nonsense") from None
        found = [sshd_config.startups_of(pid) for pid in self._pids]
        if not found or None in found:
            self._pids = [d.pid for d in sshd_config.running(sockets.listeners())]
            found = [sshd_config.startups_of(pid) for pid in self._pids]
        return [s for s in found if s is not None]


_startups = Startups()


# -- the helper's side


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one of these questions. Raises KernelError, and ValueError, KeyError or TypeError for what is none."""
    what = request["ask"]
    if what == "sessions":
        return {"found": [asdict(s) for s in sessions.live(_numbers(request["ports"]))]}
    if what == "authenticated":
        return {"found": sorted(sessions.authenticated(sockets.flows(_numbers(request["ports"]))))}
    if what == "startups":
        return {"found": _startups.now()}
    if what == "login":
        seen = asyncio.run(handshake.login_of_line(_numbers(request["ports"]), int(request["pid"]), int(request["uid"]),
                                                   parse_address(str(request["address"])), int(request["port"])))  # fmt: skip
        return {"found": None if seen is None else asdict(seen)}
    if what == "writers":
        named = tuple(str(u)[:256] for u in request["units"][:100])
        found = sshd_units.find(named)
        return {"found": [None if found is None else {"units": sorted(found.units), "programs": sorted(found.programs)}]}
    if what == "sshd":
        asked = request["ports"]
        return {"found": [asdict(sshd_config.find_ports(None if asked is None else tuple(sorted(_numbers(asked)))))]}
    raise ValueError(f"there is no such question as {what!r}")


def _numbers(raw: object) -> frozenset[int]:
    if not isinstance(raw, list) or len(raw) > 1000 or not all(isinstance(n, int) and 0 < n < 65536 for n in raw):
        raise ValueError("ports are a list of at most a thousand numbers")
    return frozenset(raw)


# -- asking


_silent = 0.0  # CLOCK_MONOTONIC until which it is not asked


def _ask(request: dict[str, Any], within: float = WITHIN) -> dict[str, Any]:
    global _silent  # noqa: PLW0603  one helper for the process
    if time.monotonic() < _silent:
        raise _nothing("it gave no answer a moment ago")
    until = time.monotonic() + within
    data = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as s:
            s.settimeout(within)
            s.connect(str(HELPER))
            s.sendall(json.dumps(request).encode() + b"\n")
            while not data.endswith(b"\n"):
                if len(data) > LONGEST or (left := until - time.monotonic()) <= 0:
                    raise TimeoutError
                s.settimeout(left)
                if not (more := s.recv(1 << 16)):
                    break
                data += more
        found = json.loads(data)
    except PermissionError:
        raise Hidden("who owns a socket, and who is logged in,") from None
    except (OSError, ValueError, RecursionError) as error:
        _silent = time.monotonic() + AGAIN
        raise _nothing(type(error).__name__) from None
    if not isinstance(found, dict) or "found" not in found:
        raise _nothing(str(found.get("error", "")) if isinstance(found, dict) else "nonsense")
    return found


def _nothing(why: str) -> KernelError:
    return KernelError(
        f"quietgate-helper does not tell what only root may see: {why}", 0, f"see its log: {start_words('quietgate-helper', 'log')}"
    )


def _rows(found: dict[str, Any]) -> list[Any]:
    rows = found["found"]
    if not isinstance(rows, list):
        raise _nothing("nonsense")
    return rows


def _session(raw: Any) -> Session:
    try:
        flow = raw["flow"]
        ends = (Prefix(**flow["peer"]), int(flow["peer_port"]), Prefix(**flow["local"]), int(flow["local_port"]))
        return Session(int(raw["uid"]), Flow(*ends, int(flow["inode"]), int(flow["cookie"])), str(raw["witness"]))
    except (ValueError, KeyError, TypeError):
        raise _nothing("nonsense") from None


def _ports(found: dict[str, Any]) -> SshPorts:
    try:
        (raw,) = _rows(found)
        daemons = tuple(
            Daemon(int(d["pid"]), _ints(d["ports"]), _three(d["startups"]) if d["startups"] else None, tuple(map(str, d["arguments"])))
            for d in raw["daemons"]
        )
        configs = tuple(Config(_ints(c["ports"]), {str(k): str(v) for k, v in c["values"].items()}) for c in raw["configs"])
        return SshPorts(_ints(raw["ports"]), str(raw["why"]), bool(raw["bound"]), int(raw["begin"]), int(raw["grace"]),
                        _ints(raw["listening"]), daemons, configs)  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _nothing("nonsense") from None


def _ints(raw: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in raw)


def _three(raw: Any) -> tuple[int, int, int]:
    a, b, c = _ints(raw)
    return a, b, c
