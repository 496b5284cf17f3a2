"""Doors that a process shuts behind itself: real calls, in a process of their own, since there is no way back."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEFORE = """
import socket
from quietgate.host import shut
server = socket.create_server(("127.0.0.1", 0))
held = socket.create_connection(server.getsockname())
other, _ = server.accept()
def may(do):
    try:
        do()
    except PermissionError:
        return False
    except OSError:
        pass
    return True
"""
AFTER = """
def tcp(): socket.create_connection(server.getsockname(), 1)
def tcp6(): socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def unix(): socket.socket(socket.AF_UNIX)
def again(): held.connect(server.getsockname())
def listen(): other.listen()
def accept(): server.setblocking(False); server.accept()
def raw(): socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
def multipath(): socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
def uring():
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 8, ctypes.create_string_buffer(256)) < 0:
        raise OSError(ctypes.get_errno(), "")
def child():
    import subprocess, sys
    if subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], stderr=subprocess.DEVNULL).returncode:
        raise PermissionError
print(*(name for name in ("tcp", "tcp6", "udp", "unix", "again", "listen", "accept", "raw", "multipath", "uring", "child") if may(globals()[name])))
held.sendall(b"x")
assert other.recv(1) == b"x", "what was there goes on"
"""


@pytest.mark.parametrize(
    ("door", "left"),
    [
        ("no_more_connections", ""),
        ("only_datagrams", "udp unix again accept"),
        ("no_new_ip", "unix again listen accept"),
    ],
)
def test_what_is_shut_is_shut_and_the_rest_goes_on(door: str, left: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"{BEFORE}shut.{door}()\n{AFTER}"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == left.split()


def test_without_a_door_all_of_it_can_be_done() -> None:
    done = subprocess.run([sys.executable, "-c", f"{BEFORE}{AFTER}"], capture_output=True, text=True, check=False)
    assert {"tcp", "tcp6", "udp", "unix", "again", "accept", "child"} <= set(done.stdout.split())
