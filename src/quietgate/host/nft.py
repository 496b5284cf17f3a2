"""The `nft` program: rulesets go through it, since one `nft -f -` is one transaction and the tool administrators know.

Set elements do not: see `netlink.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from quietgate.errors import NftError, NotPermitted
from quietgate.values import FAMILY, TABLE

OLDEST = (1, 0, 2)
TIMEOUT = 120  # seconds; a 5,000-rule policy takes about one
_VERSION = re.compile(r"v(\d+)\.(\d+)(?:\.(\d+))?")
_NAMED = re.compile(r"^\t(chain|set|counter|limit) (\S+) \{$", re.MULTILINE)
_INSTALL = "install it: apt-get install nftables"


@dataclass(frozen=True, slots=True)
class Living:
    """What our table in the kernel holds, by name. None of it was asked for its elements."""

    chains: frozenset[str]
    sets: frozenset[str]
    counters: frozenset[str]
    limits: frozenset[str]


class Nft:
    """nft in this network namespace.

    `load` is one transaction: all of it or nothing. `living`, `counters` and `structure` only read. All raise
    NftError, or NotPermitted without CAP_NET_ADMIN.
    """

    def __init__(self) -> None:
        self._checked = False

    def version(self) -> tuple[int, ...]:
        """Nft's version; raises NftError when it is missing or too old."""
        found = _VERSION.search(self._run(["--version"]))
        version = tuple(int(n or 0) for n in found.groups()) if found else (0,)
        if version < OLDEST:
            have = ".".join(map(str, version))
            raise NftError(f"nft {have} is too old", f"quietgate needs nft {'.'.join(map(str, OLDEST))} or newer")
        self._checked = True
        return version

    def load(self, text: str) -> None:
        """Load a transaction. Not idempotent in general: the text decides."""
        self._sure()
        self._run(["-f", "-"], text)

    def check(self, text: str) -> None:
        """Ask the kernel whether it would take this transaction; changes nothing."""
        self._sure()
        self._run(["-c", "-f", "-"], text)

    def living(self) -> Living | None:
        """Names in our table; None if there is no table."""
        text = self.structure()
        return None if text is None else self.living_of(text)

    @staticmethod
    def living_of(text: str) -> Living:
        """The names in a text of `structure`."""
        found: dict[str, set[str]] = {"chain": set(), "set": set(), "counter": set(), "limit": set()}
        for kind, name in _NAMED.findall(text):
            found[kind].add(name)
        return Living(*(frozenset(found[k]) for k in ("chain", "set", "counter", "limit")))

    def structure(self) -> str | None:
        """Our table as nft prints it, without set elements and counter values; None if there is no table.

        It is cut out of the whole ruleset: nft fetches every element for `list table`, also with -t, for `list ruleset` it
        does not (1.0.6, 100,000 bans: 0.6 s and 5 ms; the time grows with their square).
        """
        self._sure()
        text = self._run(["-s", "-t", "-n", "list", "ruleset", FAMILY])
        found = re.search(rf"^table {FAMILY} {TABLE} \{{$.*?^\}}\n", text, re.MULTILINE | re.DOTALL)
        return None if found is None else found[0]

    def texts(self, prefix: str) -> str:
        """The elements of the sets whose names begin so, as nft prints them."""
        living = self.living()
        mine = sorted(s for s in (living.sets if living else ()) if s.startswith(prefix))
        return "".join(self._run(["-n", "list", "set", FAMILY, TABLE, name]) for name in mine)

    def counters(self) -> dict[str, int]:
        """Packets in each named counter of our table; empty if there is no table."""
        raw = self._run(["-j", "-t", "list", "ruleset", FAMILY])  # as in `structure`
        found = (item.get("counter") for item in json.loads(raw)["nftables"])
        return {c["name"]: c["packets"] for c in found if c and c.get("table") == TABLE}

    def elements(self, name: str) -> list[str]:
        """Addresses in one of our small sets, as text; empty if there is no such set. Never ask it of a large one."""
        return [value for value, _ in self.held(name) if isinstance(value, str)]

    def held(self, name: str) -> list[tuple[Any, float | None]]:
        """Every element of one of our sets with the seconds that it stays (None: for ever), as nft's JSON has it: an address, a
        "prefix", or a "range". Empty if there is no such set. Of 100,000 elements it takes about a second, of a million a minute.
        """
        try:
            raw = json.loads(self._run(["-j", "list", "set", FAMILY, TABLE, name]))["nftables"]
        except NftError as error:
            if "No such file or directory" in error.message:
                return []
            raise
        listed = (one for item in raw for one in item.get("set", {}).get("elem", ()))
        return [
            (one["elem"]["val"], one["elem"].get("expires")) if isinstance(one, dict) and "elem" in one else (one, None) for one in listed
        ]

    def down(self) -> bool:
        """Delete our table and nothing else; False if there was none. Idempotent."""
        there = self.structure() is not None
        self.load(f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n")
        return there

    def _sure(self) -> None:
        if not self._checked:
            self.version()

    def _run(self, arguments: list[str], text: str | None = None) -> str:
        program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin")
        program = shutil.which("nft") or program
        if program is None:
            raise NftError("the program nft is not installed", _INSTALL)
        try:
            done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise NftError(f"nft gave no answer in {TIMEOUT} s", "see what holds it: ps aux | grep nft") from None
        except OSError as error:
            raise NftError(f"nft does not start: {error.strerror}", _INSTALL) from None
        if done.returncode:
            said = done.stderr.strip() or f"exit code {done.returncode}"
            if "Operation not permitted" in said or "must be root" in said:
                raise NotPermitted("nft may not change or read the firewall", "run this as root, with sudo")
            raise NftError(f"nft refused: {said[:2000]}", "nothing was changed; if the policy passed `check`, report this")
        return done.stdout
