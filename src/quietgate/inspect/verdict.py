"""The first line of `status`: the worst of what is true now, in one word, and the command that helps.

    down       nothing is in force: nothing is limited or banned
    drift      somebody changed our table in the kernel
    trial      a candidate decides, and goes away by itself
    hung       the guard is there and does not answer: nobody new is banned
    unguarded  the guard does not run: nobody new is banned
    blind      the guard runs, and cannot read what sshd writes: nobody new is banned
    stale      what is in force is not what the disk says
    up         none of these

Pure. The words are public: `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WHY = "quietgate why ADDRESS"  # the command to type where nothing has to be done


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdict is made of. Numbers are of generations, None where there is none; `left` the seconds of a trial.

    `lapsed`: a candidate whose trial is over and which is not cleared away; `boots`: what a boot would load; `drifted`: somebody changed
    the table; `held`: taken down by hand; `damaged`: the file of the one that decides cannot be used; `differs`: the policy on disk is another. `guard`: a state of `guard_state`. `blind`: why it reads nothing, "" if it does.
    `restart`: the words that start or restart the guard here.
    """

    deciding: int | None
    confirmed: int | None = None
    lapsed: int | None = None
    boots: int | None = None
    left: float | None = None
    drifted: bool = False
    held: bool = False
    damaged: bool = False
    differs: bool = False
    guard: str = "answers"
    blind: str = ""
    start: str = ""
    restart: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, why, what else is not well, and the command to type."""

    word: str
    why: str
    also: tuple[str, ...]
    next: str


def judge(facts: Facts) -> Verdict:
    """Return the worst that is true."""
    (word, why, following), *rest = [*_wrong(facts), ("up", f"generation {facts.deciding} is in force", WHY)]
    return Verdict(word, why, tuple(also for other, also, _ in rest if other != "up"), following)


def _wrong(f: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield word, reason and command of each thing that is not well, the worst first."""
    if f.deciding is None:
        yield "down", "taken down by hand; nothing is limited or banned" if f.held else "nothing is limited or banned", "quietgate up"
        return
    if f.drifted:
        yield "drift", "the table in the kernel is not what was loaded", "quietgate up"
    if f.left is not None:
        then = f"generation {f.confirmed} is back" if f.confirmed is not None else "nothing is in force again"
        yield ("trial", f"generation {f.deciding} is on trial, {f.left:.0f} s to go; then {then}",
               "log in anew from another terminal, or: quietgate confirm")  # fmt: skip
    where = f"generation {f.deciding} is in force"
    if f.guard == "silent":
        yield "hung", f"{where}, but the guard is there and does not answer: nobody new is banned", f.restart
    elif f.guard == "off":
        yield "unguarded", f"{where}, but the guard does not run: nobody new is banned", f.start
    elif f.blind:
        yield "blind", f"{where}, but the guard cannot see who attacks: {f.blind}", "quietgate doctor"
    if f.left is None:
        yield from _stale(f, where)


def _stale(f: Facts, where: str) -> Iterator[tuple[str, str, str]]:
    if f.lapsed is not None:  # no drift: it is ours, and the next refresh clears it away
        yield "stale", f"{where}; nobody confirmed generation {f.lapsed}, and its trial is over", "quietgate diff, then quietgate up"
    elif f.damaged:
        boots = f"generation {f.boots}" if f.boots is not None else "the policy on disk"
        yield "stale", f"{where}, but its file is damaged: a boot would load {boots}", "quietgate up"
    elif f.boots != f.deciding:
        yield "stale", f"{where}, but a boot would load {f.boots if f.boots is not None else 'none'}", "quietgate up"
    elif f.differs:
        yield "stale", "the policy on disk is not the one in force", "quietgate diff, then quietgate up"
