#!/usr/bin/env python3
"""Tell another service of each ban of the guard's, as AbuseIPDB takes reports (https://docs.abuseipdb.com/#report-endpoint).

    QUIETGATE_REPORT_KEY=... report_bans.py [URL]

It listens to `quietgate events -f --json`, so a slow or dead service holds up no ban; no shell is involved; one address is reported
once in 15 minutes, which is AbuseIPDB's own rule, and at most 60 in an hour. Run it as a user of the group in `control.group`:
see quietgate-report-bans.service beside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL = "https://api.abuseipdb.com/api/v2/report"
AGAIN, MOST_AN_HOUR = 900.0, 60
BRUTE_FORCE, SSH = "18", "22"  # AbuseIPDB's categories


def main() -> None:
    """Listen, and report, until the stream ends."""
    url = sys.argv[1] if len(sys.argv) > 1 else URL
    key = os.environ.get("QUIETGATE_REPORT_KEY", "")
    program = os.environ.get("QUIETGATE", "quietgate").split()
    told: dict[str, float] = {}
    with subprocess.Popen([*program, "events", "-f", "--json"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            event = json.loads(line)
            if event.get("event") != "ban" or event.get("by") != "guard":
                continue
            now = time.monotonic()
            told = {s: at for s, at in told.items() if now - at < 3600}
            source = str(event["source"])
            if (source in told and now - told[source] < AGAIN) or len(told) >= MOST_AN_HOUR:
                continue
            told[source] = now
            report(url, key, source.partition("/")[0], str(event["reason"]))
    raise SystemExit(f"the stream of events ended ({child.returncode})")


def report(url: str, key: str, address: str, reason: str) -> None:
    """One report. The reason holds counts and times only, no user names: some are mistyped passwords."""
    fields = {"ip": address, "categories": f"{BRUTE_FORCE},{SSH}", "comment": f"SSH: {reason}"}
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), {"Key": key, "Accept": "application/json"})  # noqa: S310  whoever runs it names it
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            answer.read(4096)
    except (urllib.error.URLError, TimeoutError) as error:
        print(f"{address} was not reported: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
