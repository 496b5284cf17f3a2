"""The guard's socket under attack: whatever is sent there, the guard goes on guarding, and answers root."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.control.server import LONGEST, MOST_CLIENTS
from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import Pair, wait_for

POLICY = '[ssh]\nlimit = "off"\n[guard]\npatience = 1\n'


@pytest.fixture
def guard(pair: Pair) -> Iterator[Guarded]:
    with guarded(pair, "PermitRootLogin yes", policy=POLICY) as g:
        yield g


def path(g: Guarded) -> Path:
    return g.pair.root / "run/quietgate/guard/control"


@contextlib.contextmanager
def client(g: Guarded) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(path(g)))
        yield s


def reply(s: socket.socket) -> dict[str, object]:
    found: dict[str, object] = json.loads(s.makefile().readline())
    return found


def files(g: Guarded) -> int:
    assert g.guard is not None
    return len(os.listdir(f"/proc/{process(g)}/fd"))


def process(g: Guarded) -> int:
    """The guard itself: `ip netns exec` becomes it."""
    assert g.guard is not None
    return g.guard.pid


def memory(g: Guarded) -> int:
    """Resident kilobytes."""
    text = Path(f"/proc/{process(g)}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


def ban(g: Guarded, source: str) -> None:
    """The guard still does what it is for."""
    line = f"2026-11-24T18:00:00+00:00 host sshd[{{}}]: Failed password for root from {source} port 5 ssh2\n"
    with g.log.open("a") as log:
        log.write("".join(line.format(7000 + n) for n in range(5)))
    wait_for(lambda: g.banned(source), f"{source} is banned", 5)


HOSTILE = (
    b"\n", b"x\n", b"{}\n", b"[]\n", b"null\n", b"7\n", b'{"ask": 7}\n', b'{"ask": null}\n', b'{"ask": []}\n', b'{"ask": "nothing"}\n', b"\xff\xfe\x00\n",
    b"[" * (LONGEST - 1) + b"\n", b'{"ask": "status", "ask": {}}\n', b"1" * (LONGEST - 1) + b"\n", b'{"ask": "' + b"\\ud800" * 100 + b'"}\n',
)  # fmt: skip


def test_what_is_no_request_gets_an_answer_and_nothing_else(guard: Guarded) -> None:
    for text in HOSTILE:
        with client(guard) as s:
            s.sendall(text)
            assert "error" in reply(s), text
    with client(guard) as s:
        with contextlib.suppress(OSError):
            s.sendall(b"x" * 50_000_000)
        with contextlib.suppress(OSError, ValueError):
            assert "error" in reply(s)
    assert guard.status() is not None
    ban(guard, "198.19.66.1")


def test_floods_and_half_lines_cost_neither_files_nor_memory(guard: Guarded) -> None:
    before, room = files(guard), memory(guard)
    for _ in range(2000):
        with contextlib.suppress(OSError), client(guard) as s:
            s.sendall(b'{"ask": "sta')
    half = [c for c in (stack_client(guard) for _ in range(100)) if c is not None]
    for s in half:
        with contextlib.suppress(OSError):
            s.sendall(b'{"ask"')
    ban(guard, "198.19.66.1")
    for s in half:
        s.close()
    wait_for(lambda: files(guard) <= before + 2, "every connection is closed", 10)
    assert memory(guard) < room + 20_000
    assert guard.status() is not None


def stack_client(g: Guarded) -> socket.socket | None:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(1)
    try:
        s.connect(str(path(g)))
    except OSError:
        s.close()
        return None
    return s


def test_who_listens_and_does_not_read_is_dropped(guard: Guarded) -> None:
    room = memory(guard)
    with client(guard) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.sendall(b'{"ask": "events"}\n')
        assert reply(s)["listening"]
        line = "2026-11-24T18:00:00+00:00 host sshd[{}]: Failed password for root from 198.19.{}.{} port 5 ssh2\n"
        with guard.log.open("a") as log:
            log.write("".join(line.format(n, 10 + n % 80, n % 250) for n in range(10_000)))
        wait_for(lambda: (guard.status() or {}).get("sources", [{"events": 0}])[0]["events"] >= 10_000, "all was read", 60)
        assert memory(guard) < room + 60_000
        ban(guard, "198.19.66.1")
        s.settimeout(10)
        heard = b""
        while chunk := s.recv(1 << 20):
            heard += chunk
        assert json.loads(heard.splitlines()[-1])["id"] == "lost", "it is told that it missed something"
    assert guard.status() is not None


def test_clients_are_bounded_and_root_gets_in_when_the_others_took_every_place(guard: Guarded) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(client(guard)) for _ in range(MOST_CLIENTS + 20)]
        for s in held:
            with contextlib.suppress(OSError):
                s.sendall(b'{"ask": "events"}\n')
        said = [reply(s) for s in held]
        assert sum("listening" in one for one in said) < len(held)
        assert any(r.get("id") == "busy" for r in said)
    wait_for(lambda: guard.status() is not None, "and when they are gone it answers")


def test_another_user_may_not_even_connect(guard: Guarded) -> None:
    """Nobody (who is in no group of ours) is refused by the socket's mode; with the mode opened, by who he is."""
    assert as_nobody(path(guard)) == b"EACCES"
    where = path(guard)
    for directory in [where, *list(where.parents)]:
        if str(directory).startswith(str(guard.pair.root.parent)):
            directory.chmod(directory.stat().st_mode | 0o007)
    for directory in list(guard.pair.root.parents)[:-1]:
        if str(directory).startswith("/tmp/pytest"):
            directory.chmod(directory.stat().st_mode | 0o005)
    answer = as_nobody(where)
    assert answer == b"EACCES" or json.loads(answer)["id"] == "permission"


def as_nobody(where: Path) -> bytes:
    """What a user is told who comes; "EACCES" if he may not connect."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                try:
                    s.connect(str(where))
                    os.write(writing, s.recv(1000))
                except PermissionError:
                    os.write(writing, b"EACCES")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as stream:
        return stream.read()


def test_the_socket_says_who_asks(guard: Guarded) -> None:
    assert path(guard).stat().st_mode & 0o777 in (0o600, 0o660)
    with client(guard) as s:
        assert struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == process(guard)
