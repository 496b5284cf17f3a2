"""Every public form, as the real commands print it on a small server. Used by test_forms; printed by `python -m tests.kernel.forms`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import Pair, make_pair, wait_for

POLICY = '[ssh]\nlimit = "30 per 1m"\nknown = "1d"\n[[firewall.rule]]\nname = "web"\nports = [80]\n'
LINE = "Nov 24 17:00:05 gate sshd[7]: Failed password for root from 203.0.113.9 port 40000 ssh2\n"
A = "198.19.68.1"


def printed(pair: Pair) -> Iterator[dict[str, Any]]:
    """Every object that a command prints with --json."""
    with guarded(pair, "PermitRootLogin yes", policy=POLICY) as g:
        stream = _listen(g)
        for _ in range(2):
            g.guess(A, "root", 3)
        wait_for(lambda: g.banned(A), "an attacker is banned", 10)
        assert g.sshd.login("198.19.69.1")
        runs: tuple[tuple[str, ...], ...] = (
            ("check",), ("show",), ("show", "--origin"), ("diff",), ("status",), ("doctor",), ("bans",), ("bans", "--all"), ("why", A),
            ("ban", "203.0.113.4"), ("unban", "203.0.113.4"), ("allow", "--for", "1h", "203.0.113.5"), ("allow",), ("report",), ("report", "--observed"),
            ("init", "--print"), ("run", "--ready"), ("up", "--now"), ("refresh",), ("events", "--since", "1h"), ("alerts", "--all"), ("down",),
            ("ban", "nonsense"), ("revert",), ("boot",),
        )  # fmt: skip
        for words in runs:
            for line in pair.run(*words, "--json").stdout.splitlines():
                yield json.loads(line)
        for line in pair.run("parse", "-", "--json", stdin=LINE).stdout.splitlines():
            yield json.loads(line)
        status = g.status()
        assert status is not None
        yield status
        yield from stream


def _listen(g: Guarded) -> list[dict[str, Any]]:
    """What the stream says until the end, by and by."""
    import socket
    import threading

    found: list[dict[str, Any]] = []
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(g.pair.root / "run/quietgate/guard/control"))
    s.sendall(b'{"ask": "events"}\n')

    def read() -> None:
        for line in s.makefile():
            found.append(json.loads(line))

    threading.Thread(target=read, daemon=True).start()
    return found


if __name__ == "__main__":
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        for one in printed(pair):
            print(json.dumps(one))
