"""Messages on their way: one route's wait for nobody else's, and a dead mail server costs the guard nothing.

The queue is in the store. What does not arrive is tried again, later and later and a little by chance, for three days; then it is
given up, and said. A process without privileges talks to the network (`host/deliver`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from quietgate.alerts.guard import Guard
from quietgate.errors import QuietgateError
from quietgate.host import deliver
from quietgate.host.secret import secret
from quietgate.host.sight import HELPER
from quietgate.policy.model import Route
from quietgate.policy.routes import for_digest, key
from quietgate.state.alerts import Book
from quietgate.state.disk import Desk
from quietgate.values import Parcel

FIRST, LONGEST = 2.0, 600.0  # seconds between two tries: at first, and at most
EARLY, OFTEN = 600.0, 30.0  # seconds in which a message is fresh, and tried at least so often: most outages are short
GIVEN_UP = 3 * 86400.0  # seconds after which a message is no news any more
AT_ONCE = 4
MOST = 10_000  # messages that wait; of more, the oldest are given up


class Delivery:
    """The routes' queues. `arrived` is told of each message that came to its end."""

    def __init__(self, guard: Guard, arrived: Callable[[Parcel], None]) -> None:
        self._guard = guard
        self._arrived = arrived
        self._queues: dict[str, list[Parcel]] = {}
        self._busy: set[str] = set()
        self._failing: dict[str, str] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._gone: list[Parcel] = []  # at their end, and not out of the store yet
        self._dice = random.Random()  # noqa: S311  for jitter

    def take(self, parcels: Iterable[Parcel]) -> None:
        """More to carry."""
        for parcel in parcels:
            queue = self._queues.setdefault(parcel.route, [])
            queue.append(parcel)
            if len(queue) > MOST:
                self._end(queue[0], f"more than {MOST:,} wait")
        self._start()

    def change(self) -> None:
        """Another policy: what waits for a route that is gone is given up."""
        there = {key(r) for r in self._routes()}
        for parcel in [p for route, queue in self._queues.items() if route not in there for p in queue]:
            self._end(parcel, "the policy has this route no more")
        self._start()

    def tick(self) -> None:
        """Go on, where nothing goes on by itself."""
        self._forget()
        self._start()

    def waiting(self) -> int:
        """Messages that have not arrived yet."""
        return sum(len(q) for q in self._queues.values())

    def failing(self) -> dict[str, str]:
        """What is wrong with which route: by its way and number in the policy."""
        named = {key(r): f"{r.to} ({r.origin})" for r in self._routes()}
        return {named[k]: said for k, said in self._failing.items() if k in named}

    def _routes(self) -> list[Route]:
        return [*self._guard.policy.routes, *filter(None, [for_digest(self._guard.policy)])]

    def holds(self, parcel: Parcel) -> bool:
        """True if it waits already."""
        return any(p.id == parcel.id for p in self._queues.get(parcel.route, ()))

    def _start(self) -> None:
        for route in self._routes():
            name = key(route)
            if self._queues.get(name) and name not in self._busy:
                self._busy.add(name)
                self._guard.spawn(self._carry(name, route))

    async def _carry(self, name: str, route: Route) -> None:
        """The messages of one route, one after the other."""
        try:
            while self._queues.get(name):
                parcel = self._queues[name][0]
                await asyncio.sleep(max(0.0, min(LONGEST, parcel.due - time.time())))
                if not self._queues.get(name) or self._queues[name][0] is not parcel:
                    continue
                failed = await self._try(route, parcel)
                if not self._queues.get(name) or self._queues[name][0] is not parcel:
                    continue
                if not failed:
                    self._failing.pop(name, None)
                    self._end(parcel, "")
                elif time.time() - parcel.made > GIVEN_UP:
                    self._end(parcel, failed)
                else:
                    self._failing[name] = failed
                    most = OFTEN if time.time() - parcel.made < EARLY else LONGEST
                    wait = min(most, FIRST * 2.0 ** min(parcel.tries, 20)) * self._dice.uniform(0.75, 1.25)
                    later = replace(parcel, tries=parcel.tries + 1, due=time.time() + wait, error=failed)
                    self._queues[name][0] = later
                    self._guard.disk.do(lambda desk, later=later: Book(desk.store).write([], [later], []))  # type: ignore[misc]
        finally:
            self._busy.discard(name)

    async def _try(self, route: Route, parcel: Parcel) -> str:
        """Carry one; what went wrong, or "" if it arrived. A guard that is not root may not read the secret: root's helper hands
        over in its stead.
        """
        if os.geteuid() != 0:
            async with self._at_once:
                return await deliver.through_root(key(route), json.loads(parcel.message), HELPER)
        try:
            opened = secret(route.secret, self._guard.parts.paths.root)
        except QuietgateError as error:
            return error.message
        job = deliver.Job(route.to, route.url, opened, json.loads(parcel.message))
        async with self._at_once:
            return await deliver.hand_over(job, self._guard.parts.paths.deliverer)

    def _end(self, parcel: Parcel, why: str) -> None:
        self._queues[parcel.route] = [p for p in self._queues[parcel.route] if p.id != parcel.id]
        if not self._queues[parcel.route]:
            self._failing.pop(parcel.route, None)
        if why:
            self._guard.log(f"a message was given up: {why}")
        self._arrived(parcel)
        self._gone.append(parcel)
        self._forget()

    def _forget(self) -> None:
        """Out of the store: while that refuses, it is tried again, or a restart would send them a second time."""
        gone, self._gone = self._gone, []

        def work(desk: Desk) -> None:
            for parcel in gone:
                Book(desk.store).took(parcel)

        def then(_: None, error: QuietgateError | None) -> None:
            if error is not None:
                self._gone = [*gone, *self._gone]

        if gone:
            self._guard.disk.do(work, then)
