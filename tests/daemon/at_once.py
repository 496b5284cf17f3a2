"""A disk that is never slow: what is given is done at once, where it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quietgate.errors import QuietgateError
from quietgate.state.database import Store
from quietgate.state.disk import Desk


class AtOnce:
    def __init__(self, store: Store) -> None:
        self.desk = Desk(store, None)  # type: ignore[arg-type]

    def do(self, work: Callable[[Desk], Any], then: Callable[[Any, QuietgateError | None], object] | None = None) -> None:
        result, error = None, None
        try:
            result = work(self.desk)
        except QuietgateError as wrong:
            error = wrong
        if then is not None:
            then(result, error)
