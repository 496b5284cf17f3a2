"""What root does for the guard: the helper's real socket, asked right, wrong, too much and too long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quietgate.daemon import helper
from quietgate.errors import Exit, Hidden
from quietgate.generations.installation import Parts
from quietgate.generations.records import Record
from quietgate.host import deliver, sight
from quietgate.host.paths import Paths
from quietgate.policy.load import load
from quietgate.policy.routes import key
from quietgate.values import File

POLICY = """
[[alerts.route]]
to = "webhook"
url = "http://127.0.0.1:1/hook"
secret = "file:/hook.key"
"""
RECORD = Record(1, "0" * 64, "chain g1_in", (22,), ("p",), 0.0, contents=(("p", POLICY),))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A helper that listens, and what it serves below that root."""
    (tmp_path / "hook.key").write_text("a-secret-of-twenty-characters")
    (tmp_path / "hook.key").chmod(0o600)
    parts = Parts.at(Paths(tmp_path))
    parts.generations.confirm(RECORD)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "helper"))
    listener.listen()
    monkeypatch.setattr(sight, "HELPER", tmp_path / "helper")
    monkeypatch.setattr(sight, "_traces", lambda: False)
    monkeypatch.setattr(sight, "_silent", 0.0)
    # As systemd starts it (sd_listen_fds(3)).
    start = (f"import os; os.dup2({listener.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
             f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'quietgate', '--root', {str(tmp_path)!r}, 'helper'])")  # fmt: skip
    child = subprocess.Popen([sys.executable, "-S", "-c", start], pass_fds=(listener.fileno(),))
    assert json.loads(asked(tmp_path, b'{"ask": "startups"}\n'))["found"] is not None, "it runs"
    yield tmp_path
    child.kill()
    child.wait()
    listener.close()


def asked(place: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(place / "helper"))
        s.sendall(line)
        return s.makefile("rb").readline()


def test_it_tells_what_the_guard_would_see_as_root(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = (sight.find_ports(None), sight.live(frozenset({22})), sight.Startups().now(), sight.writers(("mine.service",)))
    monkeypatch.setattr(sight, "_traces", lambda: True)
    assert told == (sight.find_ports(None), sight.live(frozenset({22})), sight.Startups().now(), sight.writers(("mine.service",)))


@pytest.mark.parametrize(
    "line",
    [b"\n", b"nonsense\n", b"[]\n", b'{"ask": "shell"}\n', b'{"ask": "sessions"}\n', b'{"ask": "sessions", "ports": [70000]}\n',
     b'{"ask": "sessions", "ports": "22"}\n', b'{"ask": "sshd", "ports": {"a": 1}}\n', b'{"ask": "deliver"}\n', b'{"ask": "login", "ports": [22], "pid": "x"}\n', b'{"ask": "writers", "units": 3}\n',
     b'{"ask": ["sessions"]}\n',
     b'{"ask": "sessions", "ports": [22], "x": "' + b"x" * helper.QUESTION + b'"}\n', b"[" * 100000 + b"\n"],
)  # fmt: skip
def test_what_is_no_question_gets_an_error_and_the_next_an_answer(place: Path, line: bytes) -> None:
    assert "error" in json.loads(asked(place, line))
    assert json.loads(asked(place, b'{"ask": "startups"}\n')) == {"found": sight.Startups().now()}


def test_one_that_is_too_long_or_too_slow_is_hung_up_on(place: Path) -> None:
    said = b""
    with contextlib.suppress(OSError):  # it may be reset
        said = asked(place, b"x" * (helper.LONGEST + 10))
    assert said == b""
    assert asked(place, b'{"ask": ') == b""


def test_it_does_nothing_for_other_users(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be another user")
    (place / "helper").chmod(0o666)
    for directory in (place, *place.parents):
        if directory.stat().st_uid == os.geteuid() and directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{place}/helper'); s.sendall(b'{{}}\\n'); print(s.recv(100))"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "b''\n" or "reset" in done.stderr.lower() or "BrokenPipe" in done.stderr, done


def test_a_message_goes_by_a_route_of_the_policy_with_its_secret(place: Path) -> None:
    route = load([File("p", POLICY.encode())]).policy.routes[0]
    jobs = []

    async def sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        jobs.append(json.loads(await reader.readline()))
        writer.write(b'{"failed": ""}\n')
        writer.close()

    async def send(name: str) -> str:
        unit = place / "run/quietgate/deliverer"
        unit.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(sender, unit)
        try:
            return await deliver.through_root(name, {"id": "1"}, place / "helper")
        finally:
            server.close()
            unit.unlink(missing_ok=True)

    assert asyncio.run(send(key(route))) == ""
    assert jobs == [{"to": "webhook", "url": route.url, "secret": "a-secret-of-twenty-characters", "message": {"id": "1"}}]
    assert asyncio.run(send(key(replace(route, url="http://192.0.2.1/")))) == "the policy in force has no such route"
    (place / "hook.key").chmod(0o644)
    assert "others than root" in asyncio.run(send(key(route)))
    assert len(jobs) == 1


def test_without_a_sender_it_says_so(place: Path) -> None:
    route = load([File("p", POLICY.encode())]).policy.routes[0]
    assert asyncio.run(deliver.through_root(key(route), {}, place / "helper")) == "nobody listens who would send it"


def test_who_cannot_see_and_gets_no_answer_says_so_and_does_not_stand_still(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quietgate.errors import KernelError

    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(place / "silent"))
    silent.listen()
    monkeypatch.setattr(sight, "HELPER", place / "silent")
    monkeypatch.setattr(sight, "WITHIN", 0.2)
    for _ in range(50):  # fifty times would be ten seconds
        with pytest.raises(KernelError, match="only root may see"):
            sight.live(frozenset({22}))
    assert sight.find_ports((2222,)).ports == (2222,), "what anybody sees"


def test_the_command_wants_a_socket() -> None:
    done = subprocess.run([sys.executable, "-m", "quietgate", "helper"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "quietgate-helper.socket" in done.stderr


def test_who_may_not_ask_it_is_told_that_this_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shut:
        def __enter__(self) -> Shut:
            return self

        def __exit__(self, *_: object) -> None: ...

        def settimeout(self, _: float) -> None: ...

        def connect(self, path: str) -> None:
            raise PermissionError(13, "Permission denied", path)  # root meets none; tests/boot/test_readme.py has a user who does

    monkeypatch.setattr(sight, "_traces", lambda: False)
    monkeypatch.setattr(sight, "_silent", 0.0)
    monkeypatch.setattr(sight, "may_see", lambda: False)
    monkeypatch.setattr("quietgate.host.sight.socket.socket", lambda *_: Shut())
    with pytest.raises(Hidden) as error:
        sight.live(frozenset({22}))
    assert (error.value.exit, error.value.hint) == (Exit.NOT_PERMITTED, "run this as root, with sudo")
