"""A program that listens under any name: python listen.py NAME USER SOCKET...; a SOCKET is tcp:ADDRESS:PORT, udp:… or raw::PROTOCOL

It says its name on every TCP connection, and answers every UDP packet with it. Run by the tests, in a namespace.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import select
import socket
import sys

PR_SET_NAME = 15


def opened(text: str) -> socket.socket:
    protocol, rest = text.split(":", 1)
    address, port = rest.rsplit(":", 1)
    six = ":" in address
    if protocol == "raw":
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, int(port))
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address.strip("[]"), int(port)))
    if protocol == "tcp":
        s.listen(64)
    return s


def main(name: str, user: str, *sockets: str) -> None:
    held = [opened(text) for text in sockets]
    if user != "root":
        os.setuid(pwd.getpwnam(user).pw_uid)
        ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: else /proc/PID belongs to root, as after a real daemon's setuid
    # /proc/PID/comm, as ss -p and netstat -p show it (prctl(2))
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
    while True:
        for s in select.select(held, [], [])[0]:
            if s.type == socket.SOCK_STREAM:
                connection = s.accept()[0]
                connection.sendall(name.encode())
                connection.close()
            elif s.type == socket.SOCK_DGRAM:
                s.sendto(name.encode(), s.recvfrom(1500)[1])
            else:
                s.recv(1500)


if __name__ == "__main__":
    main(*sys.argv[1:])
