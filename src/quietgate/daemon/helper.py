"""What root does for the guard, which is not root: tells what only root may see (`host/sight.py`), and hands messages over with the secret
of their route, which the guard does not learn. Nothing else, and nothing of it changes this host.

One request a connection, one JSON object a line, from root or the guard's user alone. Everything that can grow is bounded: connections at
once, bytes of a request, seconds for it. A message goes out by a route of the policy in force (or on trial) and by no other.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from typing import Any

from quietgate.errors import QuietgateError
from quietgate.generations.installation import Parts
from quietgate.host import deliver, sight
from quietgate.host.layout import guard_user
from quietgate.host.secret import secret
from quietgate.policy.load import load
from quietgate.policy.model import Route
from quietgate.policy.routes import for_digest, key

AT_ONCE, MESSAGES, LOGINS = 64, 6, 40  # connections; of them, messages, and lines of logins that are looked into
LONGEST = deliver.LONGEST + 4096  # bytes of a request: a message, and what is around it
QUESTION = 16384  # bytes of any other
PATIENCE = 5.0  # seconds for a request, and for taking the answer


class Helper:
    """Serves a listening socket until its end."""

    def __init__(self, parts: Parts, listener: socket.socket) -> None:
        self._parts = parts
        self._listener = listener
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._messages = threading.BoundedSemaphore(MESSAGES)
        self._logins = threading.BoundedSemaphore(LOGINS)
        self._one = threading.Lock()  # looking costs a processor: one after the other

    def run(self) -> None:
        """Accept one after the other."""
        while True:
            link, _ = self._listener.accept()
            self._places.acquire()
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        try:
            with link:
                if not _may_ask(link):
                    return
                link.settimeout(PATIENCE)
                answer = self._answer(_line(link))
                link.settimeout(PATIENCE)
                link.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # it left
        finally:
            self._places.release()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if request["ask"] == "deliver":
                return self._deliver(str(request["route"]), dict(request["message"]))
            if len(line) > QUESTION:
                raise ValueError("the question is too long")
            if request["ask"] == "login":  # it waits, most of the time
                return self._login(request)
            with self._one:
                return sight.answer(request)
        except QuietgateError as error:
            return {"error": error.message}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return {"error": f"no question: {type(error).__name__}"}
        except Exception as error:  # noqa: BLE001  the next question is answered
            print(f"a question was not answered: {type(error).__name__}: {ascii(str(error))[:200]}", file=sys.stderr, flush=True)
            return {"error": type(error).__name__}

    def _login(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._logins.acquire(blocking=False):
            return {"error": "too many logins at once"}
        try:
            return sight.answer(request)
        finally:
            self._logins.release()

    def _deliver(self, name: str, message: dict[str, Any]) -> dict[str, Any]:
        if not self._messages.acquire(blocking=False):
            return {"failed": "too many messages at once"}
        try:
            route = next((r for r in self._routes() if key(r) == name), None)
            if route is None:
                return {"failed": "the policy in force has no such route"}
            opened = secret(route.secret, self._parts.paths.root)
            job = deliver.Job(route.to, route.url, opened, message)
            return {"failed": asyncio.run(deliver.hand_over(job, self._parts.paths.deliverer, child=False))}
        except QuietgateError as error:
            return {"failed": error.message}
        finally:
            self._messages.release()

    def _routes(self) -> list[Route]:
        found: list[Route] = []
        for record in (self._parts.generations.newest(), self._parts.generations.candidate()):
            if record is not None:
                policy = load(record.written()).policy
                found += [*policy.routes, *filter(None, [for_digest(policy)])]
        return found


def _may_ask(link: socket.socket) -> bool:
    _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    guard = guard_user()
    return uid == 0 or (guard is not None and uid == guard[0])


def _line(link: socket.socket) -> bytes:
    """A request: up to its line's end, or the writer's. Raises OSError for one that is late or too long."""
    until = time.monotonic() + PATIENCE
    data = b""
    while not data.endswith(b"\n"):
        link.settimeout(max(0.001, until - time.monotonic()))
        more = link.recv(1 << 16)
        if not more:
            break
        data += more
        if len(data) > LONGEST:
            raise OSError("a request is too long")
    return data
