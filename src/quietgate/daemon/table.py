"""The guard of the guard: where somebody else changed our table, it is put back, and a conflict is not fought for ever."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable

from quietgate.daemon.context import Shared
from quietgate.errors import Busy, QuietgateError
from quietgate.generations.kernel import Inside
from quietgate.host.ruleset_changes import Changes
from quietgate.rollout.repair import put_back, refill

EVERY = 0.6  # seconds between two looks at the ruleset's generation: with the file's about two wake-ups a second (`bench.idle`)
MOST_LOOKS, LESS = 30, 5.0  # after so many in a minute it is looked at less often
SETTLED = 0.1  # seconds for whoever is at our table to finish: one of ours then has everything on disk
FIGHT, MOST_MENDED = 600.0, 3  # so often in so many seconds is our table put back


class Watch:
    """Watches our table. `run` runs until it is cancelled."""

    def __init__(self, shared: Shared, saw: Callable[[Inside], None], mended: Callable[[str], None]) -> None:
        """`saw` is told of each look, `mended` of what was put back."""
        self._shared, self._saw, self._tell = shared, saw, mended
        self._mended: list[float] = []

    async def run(self) -> None:
        """Where something was committed that we did not commit, see whether our table is still what it should be."""
        changes = Changes(self._shared.sets, self._shared.disk.made)
        looks: list[float] = []
        again = True  # what happened before we looked
        while True:
            # A host where some program changes its rules all the time (kube-proxy) must not make us run nft all the time.
            await asyncio.sleep(EVERY if len(looks) < MOST_LOOKS else LESS)
            now = time.monotonic()
            looks = [at for at in looks if now - at < 60]
            try:
                if changes.new() or again:
                    await asyncio.sleep(SETTLED)
                    looks.append(now)
                    again = not await self._mend()
                elif self._shared.missed:
                    await asyncio.get_running_loop().run_in_executor(None, refill, self._shared.parts)
                    self._shared.missed = False
            except Busy:
                continue
            except QuietgateError as error:
                again = True  # the next look that finds all well ends the trouble
                self._shared.trouble("table", error.message)

    async def _mend(self) -> bool:
        """Put back what somebody else took. False if one of ours is at work, or it could not be done: look again."""
        now = time.monotonic()
        self._mended = [at for at in self._mended if now - at < FIGHT]
        given_up = len(self._mended) >= MOST_MENDED
        mend = functools.partial(put_back, self._shared.parts, only_look=given_up)
        try:
            done, inside = await asyncio.get_running_loop().run_in_executor(None, mend)
        except Busy:
            return False
        except QuietgateError as error:
            self._shared.trouble("table", f"our table was changed by somebody else, and could not be mended: {error.message}")
            return False
        self._saw(inside)
        if not done:
            self._shared.trouble("table", "")
        elif given_up:
            self._shared.trouble("table", "another tool keeps changing our table: it is left as it is (see `quietgate doctor`)")
        else:
            self._mended.append(now)
            self._shared.log(f"warning: somebody else changed our table; {done}")
            self._shared.publish("table", done=done)
            self._tell(done)
        return True
