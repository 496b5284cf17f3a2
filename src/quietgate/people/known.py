"""Who is known here: whoever has logged in. Only a login that the kernel shows makes a source known (`host/sessions`).

What logs tell of logins (wtmp, lastlog, the journal) is remembered apart: a rehearsal tries these addresses, and that is all they are good
for, since others than sshd can write there.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable
from pathlib import Path

from quietgate.errors import KernelError
from quietgate.firewall import names
from quietgate.host.accounts import user_name
from quietgate.host.journal import accepted_since
from quietgate.host.logins import remembered
from quietgate.host.netlink import Item, SetWriter
from quietgate.host.paths import Paths
from quietgate.net import BITS, Prefix, PrefixSet, parse_prefix
from quietgate.policy.model import Ssh
from quietgate.sshlog.sshd import Kind, understand
from quietgate.state.database import Store
from quietgate.values import Login, Session

SEEN = "logins_seen"  # wall time up to which the journal was read
OVERLAP = 60  # seconds that are read again: journald may be a little behind
LOOPBACK = PrefixSet(parse_prefix(p) for p in ("127.0.0.0/8", "::1"))


def note(store: Store, sessions: Iterable[Session], now: float) -> None:
    """Keep that these sessions are open at wall second `now`. Idempotent."""
    found = [Login(user_name(s.uid), s.flow.peer, now, s.witness) for s in sessions if not LOOPBACK.overlaps(s.flow.peer)]
    if found:
        store.put_logins(found)


def gather(store: Store, paths: Paths, history: float, now: float) -> int:
    """Remember what logs tell of the last `history` seconds. Idempotent; returns how many logins were found.

    The journal is asked only for what came since the last time; wtmp and lastlog are small and read whole.
    """
    since = now - history
    seen = 0.0
    with contextlib.suppress(ValueError):
        seen = min(float(store.about(SEEN) or 0), now)
    found = [x for x in (*_journal(paths, max(since, seen - OVERLAP)), *remembered(paths.root, since)) if not LOOPBACK.overlaps(x.address)]
    # Under a clock that was wrong.
    found = [x for x in found if x.at <= now + OVERLAP]
    if found:
        store.remember_logins(found)
    store.put_about(SEEN, str(now))
    return len(found)


def _journal(paths: Paths, since: float) -> list[Login]:
    directory = None if paths.root == Path("/") else paths.root / "var/log/journal"
    if directory is not None and not directory.is_dir():
        return []
    found = []
    for entry in accepted_since(since, directory):
        said = understand(entry.message)
        if said is not None and said.kind is Kind.ACCEPTED and said.address is not None and said.user:
            found.append(Login(said.user, said.address, entry.at, "journal"))
    return found


def sources(store: Store, ssh: Ssh, now: float) -> dict[Prefix, float]:
    """Return each known source with the seconds for which it still is."""
    if ssh.known is None:
        return {}
    found: dict[Prefix, float] = {}
    for login in store.logins(now - ssh.known):
        if login.at > now + OVERLAP:  # kept under a clock that was wrong: it must not count for years
            continue
        source = ssh.counting.source_of(login.address)
        found[source] = max(found.get(source, 0.0), login.at + ssh.known - now)
    return found


def fill(sets: SetWriter, ssh: Ssh, known: dict[Prefix, float], *, gain: bool = False) -> None:
    """Give the kernel's sets of known sources exactly these. Idempotent."""
    if ssh.known is not None:
        put(sets, {v: names.known(v, ssh.counting) for v in (4, 6)}, known, gain=gain)


def put(sets: SetWriter, into: dict[int, str], wanted: dict[Prefix, float], *, gain: bool = False) -> None:
    """Give two hash sets, one for each IP version, exactly these sources with these seconds to go.

    `gain`: only add, take nothing out (during a trial).
    """
    for version, name in into.items():
        items: list[Item] = [(_key(p), max(1, int(left * 1000))) for p, left in wanted.items() if p.version == version]
        try:
            sets.add(name, items) if gain else sets.replace(name, items)
        except KernelError as error:
            if error.errno != errno.ENOENT:  # no such set: nobody is up, or another `counting` is
                raise


def _key(source: Prefix) -> bytes:
    return source.value.to_bytes(BITS[source.version] // 8, "big")
