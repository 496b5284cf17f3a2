"""As which units of systemd, and by which programs, sshd runs here: whose lines in the journal are sshd's.

Found from the daemons that listen now, whatever their units are called, sockets and instances included. Only units of the system's own
manager count: a user's manager, a login and a container are in scopes and slices of their own.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from quietgate.host import sockets
from quietgate.host.reading import read_text

USUAL_UNITS = ("ssh.service", "sshd.service")
# sshd-session since OpenSSH 9.8, sshd-auth since 10.0. Debian, Fedora, Arch, Alpine, and a build of one's own: all of root's.
USUAL_PROGRAMS = tuple(
    f"{place}/{name}"
    for places, names in (
        (("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"), ("sshd",)),
        (("/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec", "/usr/local/libexec"), ("sshd-session", "sshd-auth")),
    )
    for place in places
    for name in names
)
FOREIGN = ("user.slice", "machine.slice")
INIT = "init.scope"


@dataclass(frozen=True, slots=True)
class Writers:
    """Units and programs (absolute paths) whose lines are sshd's. A unit stands for its instances too: ssh.service for ssh@….service."""

    units: frozenset[str]
    programs: frozenset[str]

    def wrote(self, unit: object, program: object) -> bool:
        """Return whether a line with these fields of journald's (_SYSTEMD_UNIT, _EXE) is sshd's."""
        if not isinstance(unit, str) or not isinstance(program, str):
            return False
        name, instance, _ = unit.partition("@")
        return (f"{name}.service" if instance else unit) in self.units and program in self.programs


def find(named: tuple[str, ...] = ()) -> Writers | None:
    """Return the writers of this host, with the units that the policy names; None where sshd runs, and outside any unit. Needs root."""
    listening = frozenset(x.inode for x in sockets.listeners() if x.inode)
    daemons = list(sockets.holders(listening, "sshd"))
    units = {unit for pid in daemons if (unit := unit_of(pid))}
    if daemons and not units:
        return None
    programs = {path for pid in daemons if unit_of(pid) and (path := _program(pid))}
    return Writers(frozenset({*units, *(_template(n) for n in (*USUAL_UNITS, *named))}), frozenset({*programs, *USUAL_PROGRAMS}))


def unit_of(pid: int) -> str:
    """Return the service of the system's manager that a process belongs to; "" for none, for another manager's, and in a container."""
    try:
        namespaces = next(line for line in read_text(f"/proc/{pid}/status").splitlines() if line.startswith("NSpid:"))
        place = _place(pid)
        root = _place(1).removesuffix(INIT)  # this system may itself be in a container
    except (OSError, StopIteration):
        return ""
    if len(namespaces.split()) != 2 or not place.startswith(root):
        return ""
    parts = PurePosixPath("/" + place.removeprefix(root)).parts[1:]
    if (
        not parts
        or parts[0] in FOREIGN
        or not parts[-1].endswith(".service")
        or any(p.endswith((".scope", ".service")) for p in parts[:-1])
    ):
        return ""
    return _template(parts[-1])


def _template(unit: str) -> str:
    name, instance, _ = unit.partition("@")
    return f"{name}.service" if instance else unit


def _place(pid: int) -> str:
    """Return the cgroup of a process: of the one hierarchy, or of systemd's own (cgroups(7)). Raises OSError where there is none."""
    for line in read_text(f"/proc/{pid}/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or controllers == "name=systemd":
            return path
    raise OSError("no cgroup")


def _program(pid: int) -> str:
    """Return the path of what a process runs; "" if it may not be asked."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    return ""
