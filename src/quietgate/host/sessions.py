"""Who is logged in over SSH at this moment, by witnesses that only root can write. A mere socket is no session.

- loginuid: PAM sets it at the login (pam_loginuid(8)), the kernel hands it down to every child and lets nobody change it
  back. Where the daemon itself has one (somebody started sshd by hand), a connection's counts only if its audit session
  differs from the daemon's: PAM makes a new one at a login.
- logind and utmp, where the kernel has no audit: both name the process that leads the session.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from quietgate.host import sockets
from quietgate.host.logins import leaders
from quietgate.values import Flow, Session

UNSET = 0xFFFFFFFF  # loginuid of what nobody logged in for
DAEMONS = ("sshd", "sshd-session")
LOGIND = Path("/run/systemd/sessions")
UTMP = Path("/run/utmp")
OURS = ("guard", "kernel", "boot", "quietgate")  # how a record names parts of quietgate


def live(ports: frozenset[int]) -> list[Session]:
    """Every login that is open now on these local ports. Needs root to see them all."""
    flows = {f.inode: f for f in sockets.flows(ports) if f.inode}
    if not flows:
        return []
    held = sockets.holders(frozenset(flows))
    daemons = {_number(pid, "sessionid") for pid in sockets.holders(frozenset(x.inode for x in sockets.listeners()), "sshd")}
    led = dict(_led())
    led.update({_field(pid, "PPid:"): who for pid, who in list(led.items())})  # the process that sshd started for the user
    found: dict[int, Session] = {}
    for pid, inodes in held.items():
        if _text(pid, "comm") not in DAEMONS:
            continue
        uid = _number(pid, "loginuid")
        if uid != UNSET and _number(pid, "sessionid") not in daemons:
            witness = "loginuid"
        elif pid in led:
            uid, witness = led[pid]
        else:
            continue
        for inode in inodes:
            found.setdefault(inode, Session(uid, flows[inode], witness))
    return list(found.values())


# sshd writes it once somebody has logged in: "sshd: alice@pts/0", "sshd: alice@notty" (session.c). Before that the title ends
# with a bracket: "sshd: alice [priv]", "sshd: unknown [net]".
_TITLE = re.compile(r"sshd(?:-session)?: \S+@(?:pts/\d+|notty|internal-sftp)(?:,\S+)*\Z")


def authenticated(flows: Iterable[Flow]) -> frozenset[int]:
    """Cookies of those connections over which somebody has logged in: by a witness of `live`, by a process of that user's, or
    by the title that root's sshd then has.
    """
    by_inode = {f.inode: f for f in flows if f.inode}
    if not by_inode:
        return frozenset()
    found = {s.flow.cookie for s in live(frozenset(f.local_port for f in by_inode.values()))}
    for pid, inodes in sockets.holders(frozenset(by_inode)).items():
        try:
            uid = Path(f"/proc/{pid}").stat().st_uid
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            continue
        if (uid == 0 and _TITLE.match(title)) or uid not in _before_login():
            found |= {by_inode[i].cookie for i in inodes}
    return frozenset(found)


def _before_login() -> frozenset[int]:
    """Users as which sshd runs before anybody has logged in."""
    found = {0}
    for name in ("sshd", "nobody"):
        with contextlib.suppress(KeyError):
            found.add(pwd.getpwnam(name).pw_uid)
    return frozenset(found)


def administrators(named: Iterable[str]) -> frozenset[int]:
    """User numbers of these users, and of the members of these groups (with a % before their name)."""
    found = set()
    for name in named:
        with contextlib.suppress(KeyError):
            if not name.startswith("%"):
                found.add(pwd.getpwnam(name).pw_uid)
                continue
            group = grp.getgrnam(name[1:])
            found |= {u.pw_uid for u in pwd.getpwall() if u.pw_gid == group.gr_gid}
            for member in group.gr_mem:
                with contextlib.suppress(KeyError):
                    found.add(pwd.getpwnam(member).pw_uid)
    return frozenset(found)


def user_number(name: str) -> int | None:
    """The number of a user; None if there is none of that name."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def user_name(uid: int) -> str:
    """The name of a user number, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def own_login() -> int | None:
    """The login user number of this process; None where nobody logged in (a unit, the console without PAM)."""
    uid = _number("self", "loginuid")
    return None if uid == UNSET else uid


def who() -> str:
    """The person who runs this process, for a record: the login user, whom the kernel names; without one (a unit, cron, a console
    without PAM) the word of sudo, which root can forge, or the user of the process. Both are marked as what they are.
    """
    uid = own_login()
    if uid is not None:
        name = user_name(uid)
        return f"user {name}" if name in OURS else name
    said = os.environ.get("SUDO_USER", "")[:64]
    return f"{said} (SUDO_USER)" if said else f"{user_name(os.getuid())} (no login)"


def own_connection(ports: frozenset[int]) -> Flow | None:
    """The SSH connection that this process runs in: that of the nearest ancestor that holds one."""
    flows = {f.inode: f for f in sockets.flows(ports) if f.inode}
    held = sockets.holders(frozenset(flows)) if flows else {}
    pid = "self"
    for _ in range(64):
        parent = _field(pid, "PPid:")
        if parent <= 1:
            return None
        if parent in held and _text(parent, "comm") in DAEMONS:
            return flows[min(held[parent])]
        pid = str(parent)
    return None


def _led() -> Iterator[tuple[int, tuple[int, str]]]:
    """Leading process -> user number and witness, from logind and utmp."""
    for pid, user in leaders(UTMP):
        with contextlib.suppress(KeyError):
            yield pid, (pwd.getpwnam(user).pw_uid, "utmp")
    with contextlib.suppress(OSError):
        for file in LOGIND.iterdir():
            with contextlib.suppress(OSError, ValueError, KeyError):
                values = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
                if values.get("REMOTE") == "1" and values.get("STATE") in ("active", "online"):
                    yield int(values["LEADER"]), (int(values["UID"]), "logind")


def _text(pid: int | str, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text().strip()
    except OSError:
        return ""


def _number(pid: int | str, name: str) -> int:
    text = _text(pid, name)
    return int(text) if text.isdigit() else UNSET


def _field(pid: int | str, name: str) -> int:
    for line in _text(pid, "status").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
