"""Host names through the unit that may ask resolvers: what it answers, and what we make of one that answers nonsense."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quietgate.host.resolve import answer, resolve
from quietgate.net import parse_address

LOCAL = parse_address("127.0.0.1")


def served(path: Path, serve: Callable[[socket.socket], object]) -> threading.Thread:
    """One connection at that socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def once() -> None:
        with listener, listener.accept()[0] as s:
            serve(s)

    thread = threading.Thread(target=once)
    thread.start()
    return thread


def unit(s: socket.socket) -> None:
    with s.makefile("rb") as names, s.makefile("wb") as out:
        answer(names, out)


def test_the_unit_answers_for_us(tmp_path: Path) -> None:
    thread = served(tmp_path / "resolver", unit)
    assert LOCAL in resolve(["localhost"], tmp_path / "resolver")["localhost"]
    thread.join()


def test_a_name_that_fails_has_no_addresses() -> None:
    out = io.BytesIO()
    answer(io.BytesIO(b"localhost\nno-such-name.invalid\n"), out)
    lines = out.getvalue().decode().splitlines()
    assert lines[1] == "no-such-name.invalid"
    assert "127.0.0.1" in lines[0].split()


def test_without_the_unit_we_ask_by_ourselves(tmp_path: Path) -> None:
    assert LOCAL in resolve(["localhost"], tmp_path / "resolver")["localhost"]


@pytest.mark.parametrize(
    ("said", "heard"),
    [(b"", ""), (b"a.example 192.0.2.1", ""), (b"a.example 192.0.2.1\nb.ex", "192.0.2.1"), (b"\n\xff\xfe\0\n other 192.0.2.1\n", ""),
     (b"a.example 192.0.2.300 x 192.0.2.1\n", "192.0.2.1"), (b"a.example\n", "")],
)  # fmt: skip
def test_nonsense_is_no_address(tmp_path: Path, said: bytes, heard: str) -> None:
    def serve(s: socket.socket) -> None:
        while s.recv(100):
            pass
        s.sendall(said)

    thread = served(tmp_path / "resolver", serve)
    found = resolve(["a.example", "b.example"], tmp_path / "resolver")
    assert found == {"a.example": (parse_address(heard),) if heard else (), "b.example": ()}
    thread.join()
