#!/usr/bin/env python3
"""The bans of this host, live: a front end over the public forms (docs/json.md). Run it as root.

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


def standing() -> dict[Any, dict[str, Any]]:
    """The bans in force, by prefix and scope."""
    listed = subprocess.run([*QUIETGATE, "bans", "--json"], capture_output=True, text=True, check=True).stdout
    return {(b["prefix"], b["scope"]): b for b in map(json.loads, listed.splitlines())}


def told(since: int | None) -> Iterator[dict[str, Any]]:
    """What happened after that number (None: only what comes), until the guard stops."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(SOCKET)
        s.sendall(json.dumps({"ask": "events"} if since is None else {"ask": "events", "since": since}).encode() + b"\n")
        yield from map(json.loads, s.makefile())


def main() -> None:
    """Follow."""
    bans, last = None, None
    while True:
        try:
            for e in told(last):
                if bans is None:  # the first thing said: from here on nothing is missed
                    last, bans = e["seq"], standing()
                    print(f"{len(bans)} bans", flush=True)
                if e.get("event") not in ("ban", "unban") or e.get("seq", 0) <= last:
                    continue  # a ban without a number comes again with one
                last, key = e["seq"], (e["source"], e["scope"])
                now = time.time()  # a ban that ends by itself says so beforehand
                bans = {k: b for k, b in bans.items() if k != key and (b["until"] is None or b["until"] > now)}
                bans |= {key: e} if e["event"] == "ban" else {}
                print(f"{len(bans)} bans: {e['event']} {e['source']} by {e['by']} {e['reason']}", flush=True)
        except OSError as error:
            print(f"the guard does not answer ({error})", file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
