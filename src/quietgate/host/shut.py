"""Doors that a process shuts behind itself, for good, before it reads what strangers send (seccomp(2), BPF over the call's numbers).

No unit can say "this port and no other": but a process that has its one connection needs no second, and who asks resolvers needs no
TCP. Whoever takes such a process over then finds no way to the services of this host's loopback, or anywhere else. Knows x86-64, 64-bit
ARM and RISC-V; elsewhere nothing is shut.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import socket
import struct
from collections.abc import Sequence

# Numbers of the calls (asm/unistd_64.h; asm-generic/unistd.h), and the architecture as seccomp names it (linux/audit.h).
_GENERIC = {"socket": 198, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "accept4": 242, "io_uring_setup": 425}
_CALLS = {
    "x86_64": (0xC000003E, {"socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, _GENERIC),
    "riscv64": (0xC00000F3, _GENERIC),
}
_X32 = 0x40000000  # calls of x86's third set have this bit
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; the low halves of the arguments
_LOAD, _EQUAL, _LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


def no_more_connections() -> None:
    """From now on this thread and its children have the connections that they have. Raises OSError."""
    _install(tuple(_GENERIC), ())


def only_datagrams() -> None:
    """From now on IP means UDP: no TCP, no raw sockets. Raises OSError."""
    _install(("listen", "io_uring_setup"), (socket.SOCK_DGRAM,))


def no_new_ip() -> None:
    """From now on there are no more IP sockets than there are; what listens goes on listening. Raises OSError."""
    _install(("io_uring_setup",), ())


def become_nobody() -> None:
    """From now on this process is nobody in particular; what was it already is left. Raises OSError."""
    if os.geteuid() != 0:
        return
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)


def _install(refused: Sequence[str], kinds: Sequence[int]) -> None:
    """`refused`: calls. `kinds`: of IP sockets these may be made still."""
    known = _CALLS.get(platform.machine())
    if known is None or struct.calcsize("P") != 8:
        return
    program = b"".join(_program(*known, refused, kinds))
    kept = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    for words in (
        (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none),
        (PR_SET_SECCOMP, ctypes.c_ulong(MODE_FILTER), ctypes.create_string_buffer(filter_, len(filter_))),
    ):
        if libc.prctl(*words, none, none):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _program(arch: int, numbers: dict[str, int], refused: Sequence[str], kinds: Sequence[int]) -> list[bytes]:
    """Instructions, each eight bytes: code, jump if true, jump if not, operand."""

    def one(code: int, operand: int, true: int = 0, false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, true, false, operand)

    refuse, allow = one(_RETURN, _REFUSE), one(_RETURN, _ALLOW)
    made = [one(_LOAD, _ARCH), one(_EQUAL, arch, 1, 0), refuse, one(_LOAD, _NUMBER), one(_LEAST, _X32, 0, 1), refuse]
    for name in refused:
        made += [one(_EQUAL, numbers[name], 0, 1), refuse]
    # A socket of IP's, and of no kind that may be: the kind without SOCK_CLOEXEC and SOCK_NONBLOCK.
    which = [one(_LOAD, _SECOND), one(_AND, 0xF)]
    for kind in kinds:
        which += [one(_EQUAL, kind, 0, 1), allow]
    which.append(refuse)
    family = [one(_LOAD, _FIRST), one(_EQUAL, socket.AF_INET, 2, 0), one(_EQUAL, socket.AF_INET6, 1, 0), allow, *which]
    made += [one(_EQUAL, numbers["socket"], 1, 0), allow, *family]
    return made
