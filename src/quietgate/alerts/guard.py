"""What alerts need of the guard that runs them. `daemon/context` has it; a test may have less."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from quietgate.generations.installation import Parts
from quietgate.guard.engine import Engine
from quietgate.policy.model import Policy
from quietgate.state.database import Store
from quietgate.state.disk import Disk


class Guard(Protocol):
    """The guard, as far as alerts know it."""

    @property
    def parts(self) -> Parts:
        """Where everything lies."""

    @property
    def store(self) -> Store:
        """The database; another one after it was mended."""

    @property
    def disk(self) -> Disk:
        """Who writes it."""

    @property
    def engine(self) -> Engine:
        """Who decides what deserves a person."""

    @property
    def policy(self) -> Policy:
        """The policy in force."""

    def publish(self, what: str, **fields: Any) -> None:
        """Tell whoever listens at the control socket."""

    def trouble(self, what: str, said: str) -> None:
        """Something does not work; an empty `said` ends it."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it beside the rest until the guard stops."""

    def log(self, said: str) -> None:
        """A line for the service's log."""

    def mend(self) -> None:
        """Mend a damaged database. Raises QuietgateError."""
