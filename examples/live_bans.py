#!/usr/bin/env python3
"""The bans of this host, live: a front end over the public forms (docs/json.md). Run it as root, or as a member of control.group.

It prints a line for each change, goes on when the guard is restarted, and misses nothing meanwhile: every deed has a number (`seq`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

SOCKET = os.environ.get("QUIETGATE_SOCKET", "/run/quietgate/guard/control")
QUIETGATE = os.environ.get("QUIETGATE", "quietgate").split()


def standing() -> dict[str, Any]:
    """The bans in force: prefix and scope -> form."""
    listed = subprocess.run([*QUIETGATE, "bans", "--json"], capture_output=True, text=True, check=True).stdout
    return {(b["prefix"], b["scope"]): b for b in map(json.loads, listed.splitlines())}


def deeds(since: int) -> Iterator[dict[str, Any]]:
    """What happened after that number, and what happens, until the guard stops."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(SOCKET)
        s.sendall(json.dumps({"ask": "events", "since": since}).encode() + b"\n")
        yield from map(json.loads, s.makefile())


def main() -> None:
    """Follow."""
    bans, last = standing(), 0
    print(f"{len(bans)} bans", flush=True)
    while True:
        try:
            for e in deeds(last):
                if e.get("event") not in ("ban", "unban") or e.get("seq", 0) <= last:
                    continue  # a ban without a number comes again with one
                last, key = e["seq"], (e["source"], e["scope"])
                if e["event"] == "ban":
                    bans[key] = e
                else:
                    bans.pop(key, None)
                print(f"{len(bans)} bans: {e['event']} {e['source']} by {e['by']} {e['reason']}", flush=True)
        except OSError as error:
            print(f"the guard does not answer ({error})", file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
