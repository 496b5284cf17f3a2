"""What is in the kernel now: which generation decides, whether one is on trial, and whether somebody changed it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from quietgate.firewall import names
from quietgate.firewall.listing import same
from quietgate.firewall.render import Stale
from quietgate.generations.records import Generations, Record
from quietgate.host.netlink import SetWriter
from quietgate.host.nft import Living, Nft

_ENTRY = re.compile(r'goto g(\d+)_in comment "' + names.COMMENT + r'input\.(confirmed|trial)"')
_NUMBERED = re.compile(r"g(\d+)_")
FAMILY = {4: b"\x02", 6: b"\x0a"}  # the values of nf_proto: NFPROTO_IPV4, NFPROTO_IPV6 (linux/netfilter.h)


@dataclass(frozen=True, slots=True)
class Inside:
    """The state of our table. `confirmed` and `candidate` are numbers of generations, None where there is none.

    `left`: seconds that the candidate's trial still runs, for each IP version for which it is armed.
    """

    living: Living | None
    confirmed: int | None
    candidate: int | None
    left: dict[int, float]

    @property
    def on_trial(self) -> bool:
        """True while the candidate decides, for at least one IP version."""
        return self.candidate is not None and bool(self.left)

    @property
    def deciding(self) -> int | None:
        """The generation that decides now."""
        return self.candidate if self.on_trial else self.confirmed

    def highest(self) -> int:
        """The highest number that any chain or set uses; 0 if none does."""
        living = self.living
        used = (n for n in (*living.chains, *living.sets)) if living else ()
        return max((int(m[1]) for n in used if (m := _NUMBERED.match(n))), default=0)


def look(nft: Nft, sets: SetWriter | None = None) -> Inside:
    """Ask the kernel; changes nothing."""
    structure = nft.structure()
    if structure is None:
        return Inside(None, None, None, {})
    entries = {kind: int(number) for number, kind in _ENTRY.findall(structure)}
    left = {}
    if "trial" in entries:
        with contextlib.nullcontext(sets) if sets is not None else SetWriter() as asked:
            for version, key in FAMILY.items():
                found = asked.get(names.TRIAL, key)
                if found is not None:
                    left[version] = found.left or 0.0
    return Inside(nft.living_of(structure), entries.get("confirmed"), entries.get("trial"), left)


def in_force(generations: Generations, inside: Inside) -> Record | None:
    """The record of the generation that decides; None if there is none, or it is not ours on disk."""
    return None if inside.deciding is None else generations.number(inside.deciding)


def listing(nft: Nft, number: int) -> str:
    """Our table as nft prints it, with the elements of the policy sets of one generation."""
    return (nft.structure() or "") + nft.texts(names.of_generation(number, ""))


def drifted(nft: Nft, record: Record) -> bool | None:
    """True if the kernel's table is not what was loaded; None if it cannot be told (never listed, or another nft)."""
    if not record.listing or record.nft != str(nft.version()):
        return None
    return not same(listing(nft, record.number), record.listing)


def stale(living: Living | None, wanted: Stale) -> Stale:
    """What the table holds beyond what is wanted."""
    if living is None:
        return Stale()
    return Stale(
        chains=tuple(sorted(living.chains - set(wanted.chains))),
        sets=tuple(sorted(living.sets - set(wanted.sets))),
        counters=tuple(sorted(living.counters - set(wanted.counters))),
        limits=tuple(sorted(living.limits - set(wanted.limits))),
    )
