"""Who is told of bans, and how often."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from quietgate.control import notify
from quietgate.control.notify import AGAIN, REMEMBERED, WAITING, Receiver


def ban(source: str, event: str = "ban") -> dict[str, object]:
    return {"event": event, "source": source}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def run(_program: str, event: dict[str, object]) -> str:
        found.append(str(event["source"]))
        return ""

    monkeypatch.setattr(notify, "_run", run)
    return found


def test_no_more_often_than_the_policy_says_and_what_is_left_out_is_said(told: list[str]) -> None:
    clock, said = Clock(), list[str]()
    one = Receiver("/x", (3, 60.0), said.append, clock)
    for n in range(10):
        one.tell(ban(f"192.0.2.{n}"))
    assert (told, one.left_out, len(said)) == (["192.0.2.0", "192.0.2.1", "192.0.2.2"], 7, 1)
    clock.now += 60
    assert one.tell(ban("192.0.2.77"))
    assert "7 before this were left out" in said[-1]
    assert one.left_out == 0


def test_the_same_is_not_told_again_soon(told: list[str]) -> None:
    clock = Clock()
    one = Receiver("/x", None, print, clock)
    assert one.tell(ban("192.0.2.1"))
    assert not one.tell(ban("192.0.2.1"))
    assert one.tell(ban("192.0.2.1", "unban"))
    clock.now += AGAIN
    assert one.tell(ban("192.0.2.1"))
    for n in range(2 * REMEMBERED):
        one.tell(ban(f"10.0.{n >> 8}.{n & 255}"))
    assert len(one._told) == REMEMBERED, "memory is bounded"


def test_who_is_slow_holds_nobody_up() -> None:
    one = Receiver("/x", None, lambda _: None)
    for n in range(WAITING + 50):
        one.put(ban(f"10.0.{n >> 8}.{n & 255}"))
    assert one.left_out == 50


@pytest.mark.parametrize(
    ("text", "what"),
    [("exit 3", "it ended with 3"), ("echo 'a\033[2Jb' >&2; exit 1", "it ended with 1: a\\x1b[2Jb"), (None, "No such file")],
)
def test_what_goes_wrong_is_said(tmp_path: Path, text: str | None, what: str) -> None:
    program = tmp_path / "program"
    if text is not None:
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    said: list[str] = []
    assert not Receiver(str(program), None, said.append).tell(ban("192.0.2.1"))
    assert what in said[0]


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "WITHIN", 0.5)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 600 & sleep 600\n")
    program.chmod(0o755)
    said: list[str] = []
    assert not Receiver(str(program), None, said.append).tell(ban("192.0.2.1"))
    assert "it took more than" in said[0]


def test_what_a_program_leaves_running_and_how_much_it_says_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "WITHIN", 20.0)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n(sleep 30) &\nhead -c 20000000 /dev/zero >&2\nexit 3\n")
    program.chmod(0o755)
    said: list[str] = []
    begin = time.monotonic()
    assert not Receiver(str(program), None, said.append).tell(ban("192.0.2.1"))
    assert "it ended with 3" in said[0]
    assert len(said[0]) < 4000
    assert time.monotonic() - begin < 15


def test_a_program_in_a_place_that_others_may_change_is_not_started(tmp_path: Path) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    program = place / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/never\n")
    program.chmod(0o755)
    said: list[str] = []
    assert not Receiver(str(program), None, said.append).tell(ban("192.0.2.1"))
    assert f"others than root may change what lies in {place}" in said[0]
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 500 no\r\n\r\n", b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\n\r\n", b""]
)
def test_a_receiver_that_answers_nonsense_gets_the_next_one_too(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                one, _ = server.accept()
                with one:
                    heard.append(one.recv(65536))
                    one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        said: list[str] = []
        receiver = Receiver(f"http://127.0.0.1:{server.getsockname()[1]}/", None, said.append)
        for n in range(2):
            assert not receiver.tell(ban(f"192.0.2.{n}"))
        thread.join(10)
    assert (len(heard), len(said)) == (2, 2)
