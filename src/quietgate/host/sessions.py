"""Who is logged in over SSH at this moment, as the kernel shows it. A mere socket is no session, and neither is a log line.

A login is a process of root's sshd that holds a connection to one of its ports, and of which the kernel says that somebody has
logged in:
- loginuid: PAM sets it at the login (pam_loginuid(8)), the kernel hands it down to every child and lets nobody change it
  back. Where the daemon itself has one (somebody started sshd by hand), a connection's counts only if its audit session
  differs from the daemon's: PAM makes a new one at a login. Where the daemon has gone meanwhile, one of the next two is needed, too.
- its child: a process that runs as the user, whose parent is root's, and that holds the same connection.
- its title, of a login as root (`UsePAM no`): sshd writes it once somebody has logged in.
- logind, where neither the kernel nor sshd shows it: root's word of the process that leads the session.

utmp, wtmp and lastlog are no witnesses: set-gid programs (utempter, screen) write there what any user tells them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from quietgate.host import sockets
from quietgate.host.accounts import user_name, user_number
from quietgate.host.reading import read_regular, read_text
from quietgate.values import Flow, Session

UNSET = 0xFFFFFFFF  # loginuid of what nobody logged in for
DAEMONS = ("sshd", "sshd-session")
BEFORE_LOGIN = ("sshd", "nobody")  # users as which sshd runs before anybody has logged in, besides root
LOGIND = Path("/run/systemd/sessions")
OURS = ("guard", "kernel", "boot", "quietgate")  # how a record names parts of quietgate
MOST_SESSIONS = 4096  # files of logind's that are looked at
MOST_TITLE = 4096  # bytes of a title
# sshd writes it once somebody has logged in: "sshd: alice@pts/0", "sshd: alice@notty" (session.c). Before that the title ends
# with a bracket: "sshd: alice [priv]", "sshd: unknown [net]".
_TITLE = re.compile(r"sshd(?:-session)?: (\S+)@(?:pts/\d+|notty|internal-sftp)(?:,\S+)*\Z")


def live(ports: frozenset[int]) -> list[Session]:
    """Return every login that is open now on these local ports. Needs root to see them all."""
    flows = {f.inode: f for f in sockets.flows(ports) if f.inode}
    if not flows:
        return []
    held = sockets.holders(frozenset(flows))
    listening = sockets.holders(frozenset(x.inode for x in sockets.listeners()), "sshd")
    led = dict(_led())
    led.update({status_of(pid, "PPid:"): uid for pid, uid in list(led.items())})  # the process that sshd started for the user
    found: dict[int, Session] = {}
    for pid, inodes in held.items():
        if comm(pid) not in DAEMONS or status_of(pid, "Uid:") != 0:
            continue
        seen = login_of(pid, listening) or after_login(pid, inodes, held)
        if seen is None and pid in led:
            seen = led[pid], "logind"
        if seen is not None:
            uid, witness = seen
            for inode in inodes:
                found.setdefault(inode, Session(uid, flows[inode], witness))
    return list(found.values())


def login_of(pid: int | str, listening: Mapping[int, object]) -> tuple[int, str] | None:
    """Return who has logged in in this process of sshd's, by loginuid; None where that does not say it for sure.

    `listening`: the daemons that run now. A process whose daemon is gone may have inherited its loginuid.
    """
    uid, session = audit(pid)
    if uid == UNSET or status_of(pid, "PPid:") not in listening or session in {audit(d)[1] for d in listening}:
        return None
    return uid, "loginuid"


def after_login(pid: int, inodes: frozenset[int], held: Mapping[int, frozenset[int]]) -> tuple[int, str] | None:
    """Return who has logged in in this process of root's sshd: by its child that runs as the user, or by its title; None for nobody."""
    before = _before_login()
    for child, theirs in held.items():
        if theirs & inodes and status_of(child, "PPid:") == pid and (uid := status_of(child, "Uid:")) not in before:
            return uid, "process"
    title = _TITLE.match(_cmdline(pid))
    number = user_number(title[1]) if title else None
    return None if number is None else (number, "title")


def authenticated(flows: Iterable[Flow]) -> frozenset[int]:
    """Return the cookies of those connections over which somebody has logged in: by a witness of `live`, by a process of that
    user's, or by the title that root's sshd then has.
    """
    by_inode = {f.inode: f for f in flows if f.inode}
    if not by_inode:
        return frozenset()
    found = {s.flow.cookie for s in live(frozenset(f.local_port for f in by_inode.values()))}
    before = _before_login()
    for pid, inodes in sockets.holders(frozenset(by_inode)).items():
        uid = status_of(pid, "Uid:", UNSET)
        # The command line of a process that is not root's is not read: its memory may lie on a file system that never answers.
        if uid not in (*before, UNSET) or (uid == 0 and _TITLE.match(_cmdline(pid))):
            found |= {by_inode[i].cookie for i in inodes}
    return frozenset(found)


def _before_login() -> frozenset[int]:
    numbers = (user_number(name) for name in BEFORE_LOGIN)
    return frozenset({0, *(n for n in numbers if n is not None)})


def own_login() -> int | None:
    """The login user number of this process; None where nobody logged in (a unit, the console without PAM)."""
    uid, _ = audit("self")
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
        parent = status_of(pid, "PPid:")
        if parent <= 1:
            return None
        if parent in held and _text(parent, "comm") in DAEMONS:
            return flows[min(held[parent])]
        pid = str(parent)
    return None


def _led() -> Iterator[tuple[int, int]]:
    """Yield leading process and user number of each session over the network that logind knows."""
    with contextlib.suppress(OSError):
        for file in list(LOGIND.iterdir())[:MOST_SESSIONS]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                values = dict(line.split("=", 1) for line in read_text(file, 65536).splitlines() if "=" in line)
                if values.get("REMOTE") == "1" and values.get("STATE") in ("active", "online"):
                    yield int(values["LEADER"]), int(values["UID"])


def _text(pid: int | str, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def audit(pid: int | str) -> tuple[int, int]:
    """Return loginuid and audit session of a process, each UNSET where nobody logged in for it, or it has ended."""
    uid, session = (_text(pid, name) for name in ("loginuid", "sessionid"))
    return int(uid) if uid.isdigit() else UNSET, int(session) if session.isdigit() else UNSET


def comm(pid: int | str) -> str:
    """Return the name of a process, "" where it has ended."""
    return _text(pid, "comm")


def status_of(pid: int | str, name: str, otherwise: int = 0) -> int:
    """Return the first number of a line of /proc/PID/status."""
    for line in _text(pid, "status").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return otherwise


def _cmdline(pid: int) -> str:
    try:
        return read_regular(f"/proc/{pid}/cmdline", MOST_TITLE).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
