"""What a command works with: paths, nft, the store, the generations; and the refusal of another machine's state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from quietgate.errors import NotPermitted
from quietgate.generations.records import Generations
from quietgate.host.files import machine_id
from quietgate.host.nft import Nft
from quietgate.host.paths import Paths
from quietgate.state.database import Store

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

    @contextlib.contextmanager
    def look(self) -> Iterator[Store]:
        """The store, to read: an empty one where there is none yet, or where it is another machine's. Raises QuietgateError."""
        try:
            there = self.paths.store.exists()
        except PermissionError:
            raise NotPermitted(f"{self.paths.store} may not be used by this user", "run this as root, with sudo") from None
        with Store(self.paths.store, read_only=True) if there else Store.empty() as store:
            mine = machine_id(self.paths.machine_id)
            known = store.about(MACHINE)
            if not mine or known in (None, mine):
                yield store
                return
        with Store.empty() as store:
            yield store

    def store(self) -> Store:
        """The store, to write; to be closed by the caller. State of another machine (a cloned image) is dropped first."""
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
