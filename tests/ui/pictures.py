"""The digest in a real browser (headless Chromium): what it shows, what it asks the network for. `python -m tests.ui.pictures docs` makes the
pictures of the docs anew; look at them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from quietgate.hindsight.digest import Change, Digest, Source
from quietgate.inspect.doctor import Finding
from quietgate.inspect.status import Guard
from quietgate.net import Prefix, parse_address, parse_prefix
from quietgate.ui import digest as show
from quietgate.values import Ban, Login, Noted, Scope

BEGIN = 1_790_060_400.0
WIDE, PHONE = (1100, 1650), (390, 2150)
SCHEMES = {"light": 1, "dark": 0}  # Blink's PreferredColorScheme
# What the page is asked, in a copy without its policy against scripts; the answer is its title.
ASK = """<script>const s=getComputedStyle(document.body);document.title=JSON.stringify({back:s.backgroundColor,ink:s.color,
wide:document.documentElement.scrollWidth,window:innerWidth,rows:document.querySelectorAll('tr').length})</script>"""


def shown() -> Digest:
    """A day of a server, as one is."""

    def source(address: str, count: int, existing: tuple[str, ...], others: int, *, banned: bool = True) -> Source:
        prefix = parse_prefix(address) if "/" in address else parse_address(address)
        return Source(prefix, count, BEGIN, BEGIN + 3600, existing, others, Ban(prefix, Scope.SSH, BEGIN, BEGIN + 9e4) if banned else None)

    def here(address: str) -> Prefix:
        return parse_address(address)

    entry = Noted(3, "break_in", "203.0.113.77", "page", "bob logged in from 203.0.113.77, which had guessed passwords here",
                  ("11 failed attempts",), "nothing", "quietgate ban --evict 203.0.113.77", False, BEGIN + 50_000, BEGIN + 50_000, 1, 1, 1,
                  BEGIN + 50_001, "", False, False)  # fmt: skip
    flush = Noted(2, "blind", "table", "page", "another program changed quietgate's table in the kernel", (), "generation 4 was put back",
                  "quietgate doctor", False, BEGIN + 20_000, BEGIN + 20_400, 2, 2, 1, BEGIN + 20_000, "", False, True)  # fmt: skip
    bars = (210, 190, 240, 260, 180, 160, 150, 170, 800, 1250, 900, 310, 220, 200, 180, 190, 240, 230, 210, 250, 260, 240, 220, 200)
    return Digest(
        host="web1.example.net", since=BEGIN, until=BEGIN + 86400, attempts=sum(bars), sources=412, made={"burst": 231, "names": 88, "root": 61, "slow": 12, "widen": 3},
        bans=1204, bars=bars,
        busiest=(source("198.51.100.23", 611, ("root",), 143), source("198.18.5.0/24", 430, ("root", "deploy"), 88), source("2001:db8:66:5::/64", 204, (), 61),
                 source("192.0.2.201", 97, ("root", "git"), 3), source("203.0.113.77", 11, ("bob",), 0, banned=False)),
        names=(("root", 3107), ("deploy", 41), ("git", 22), ("bob", 11)), unknown=4219,
        logins=(Login("alice", here("192.0.2.10"), BEGIN + 40_000, "journal"), Login("bob", here("203.0.113.77"), BEGIN + 50_000, "journal"),
                Login("deploy", here("2001:db8:5::7"), BEGIN + 60_000, "journal")),
        changes=(Change(4, BEGIN + 10_000, (22, 2222)),), alerts=(entry, flush),
        look=(Finding("alert", "page", f"{entry.what} (number 3)", entry.next),),
        guard=Guard(812, BEGIN - 11 * 86400, "enforce", 4012, "", ()),
    )  # fmt: skip


def chromium(page: str, *words: str, scheme: str, size: tuple[int, int]) -> tuple[str, list[str]]:
    """Open a page; what was printed, and every address that the browser asked for because of it."""
    with tempfile.TemporaryDirectory(prefix="quietgate-chromium-") as place:
        file, log = Path(place, "page.html"), Path(place, "net.json")
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", f"--user-data-dir={place}/profile",
                               f"--window-size={size[0]},{size[1]}", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", f"--log-net-log={log}",
                               *words, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
        asked = re.findall(r'"url":"([^"]+)"', log.read_text(errors="replace"))
        return done.stdout, [a for a in asked if file.name in a or "page" in a or "example" in a]


def asked(page: str, scheme: str, size: tuple[int, int]) -> dict[str, object]:
    """What a script in the page sees."""
    open_to_scripts = re.sub(r"<meta http-equiv=Content-Security-Policy[^>]*>", "", page).replace("</main>", f"</main>{ASK}")
    dom, _ = chromium(open_to_scripts, "--dump-dom", scheme=scheme, size=size)
    title = re.search("<title>(.*?)</title>", dom)
    assert title is not None, dom[:500]
    found: dict[str, object] = json.loads(title[1].replace("&quot;", '"'))
    return found


def picture(page: str, to: Path, scheme: str, size: tuple[int, int]) -> None:
    chromium(page, f"--screenshot={to}", scheme=scheme, size=size)


def main(to: str) -> None:
    page = show.page(shown())
    for name, scheme, size in (("light", "light", WIDE), ("dark", "dark", WIDE), ("phone", "light", PHONE), ("phone-dark", "dark", PHONE)):
        picture(page, Path(to).resolve() / f"digest-{name}.png", scheme, size)


if __name__ == "__main__":
    main(*sys.argv[1:])
