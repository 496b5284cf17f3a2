"""What a command works with: paths, nft, the store, the generations; and the refusal of another machine's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from quietgate.app.generations import Generations
from quietgate.host.files import machine_id
from quietgate.host.nft import Nft
from quietgate.host.paths import Paths
from quietgate.host.store import Store

MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a command works with. `warnings`: what went wrong beside a deed that was done; the command says it."""

    paths: Paths
    nft: Nft
    generations: Generations
    warnings: list[str] = field(default_factory=list, compare=False)

    @classmethod
    def at(cls, paths: Paths) -> Parts:
        """The parts below one root."""
        return cls(paths, Nft(), Generations(paths.generations))

    def store(self) -> Store:
        """The store, to be closed by the caller. State of another machine (a cloned image) is dropped first."""
        store = Store(self.paths.store)
        mine = machine_id(self.paths.machine_id)
        if mine:
            known = store.about(MACHINE)
            self.generations.belong_to(mine, known)
            if known is not None and known != mine:
                store.forget_all()
            if known != mine:
                store.put_about(MACHINE, mine)
        return store
