"""The guard's socket: one JSON object a line, in both directions. Public: see docs/guard.md.

    {"ask": "status"}                     -> one object
    {"ask": "measures"}                   -> the same, with the figures of the kernel and the store: as of the last second
    {"ask": "events"}                     -> one object, then one for each event, until either side hangs up
    {"ask": "events", "since": 17}        -> the same, and before what comes the deeds after number 17
    {"ask": "version"}                    -> which quietgate this is, and the version of the forms
    {"ask": "changed", "what": "bans"}    -> root: bans (or "policy", "alerts", "messages", "history") were changed by a command: look again
Who asks is known from the kernel (SO_PEERCRED): changes need root, the rest root or `control.group`. Everything a client
can make grow is bounded: clients, the length of a line, the time for it, the events that wait for a slow reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from quietgate import __version__
from quietgate.errors import HostError
from quietgate.host.accounts import group_number, in_group
from quietgate.host.files import remove

MOST_CLIENTS = 32
FOR_ROOT = 8  # more, which the group cannot take away
LONGEST = 4096
PATIENCE = 5.0  # seconds for one request
WAITING = 1000  # events that a slow reader may be behind; then it is dropped, and told so


def wrong(message: str, id_: str) -> dict[str, Any]:
    """An error, as the socket says it."""
    return {"form": "quietgate/error", "version": 1, "error": message, "id": id_}


class Control:
    """The server. `answer` gives the reply to a request; `publish` tells every listener."""

    def __init__(
        self, path: Path, group: str, answer: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
        recorded: Callable[[int], list[dict[str, Any]]] = lambda _: [], newest: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        """`recorded` gives some of the deeds after a number, the oldest first, and none when there are no more; `newest` the last number."""
        self._path = path
        self._group = group
        self._answer = answer
        self._recorded, self._newest = recorded, newest
        self._clients = 0
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises HostError when the socket cannot be made."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            remove(self._path)
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=LONGEST)
            gid = self._gid()
            if gid is not None and self._path.stat().st_gid != gid:  # in the unit it is this process's own group
                os.chown(self._path, -1, gid)
            self._path.chmod(0o660 if gid is not None else 0o600)
        except OSError as error:
            raise HostError(
                f"{self._path}: {error.strerror}",
                f"see that {self._path.parent} can be written; for another group than quietgate, the guard has to be in it",
            ) from None

    async def stop(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(b"")
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    @property
    def heard(self) -> bool:
        """True if somebody listens."""
        return bool(self._listeners)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell every listener; one that is too far behind is dropped."""
        if not self._listeners:
            return
        line = json.dumps(event).encode() + b"\n"
        for queue in list(self._listeners):
            try:
                queue.put_nowait(line)
            except asyncio.QueueFull:
                self._listeners.discard(queue)
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                queue.put_nowait(b"")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            uid, allowed = self._peer(writer)
            if self._clients > MOST_CLIENTS + (FOR_ROOT if uid == 0 else 0):
                await self._say(writer, wrong("too many clients", "busy"))
                return
            if not allowed:
                await self._say(writer, wrong("you may not ask this", "permission"))
                return
            while await self._request(reader, writer, uid):
                pass
        except TimeoutError:  # it does not read what we say: what waits for it would stay for ever
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # cancelled: the guard stops
            pass
        finally:
            self._clients -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uid: int) -> bool:
        try:
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
        except TimeoutError:
            return False
        except ValueError:  # longer than the limit
            await self._say(writer, wrong(f"a request has at most {LONGEST} bytes", "input"))
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            asked = json.loads(line)
            name = asked["ask"]
        except (ValueError, KeyError, TypeError, RecursionError):
            name = None
        if not isinstance(name, str):
            await self._say(writer, {"error": 'a request looks like {"ask": "status"}', "id": "input"})
            return False
        if name == "events":
            since = asked.get("since")
            if since is not None and (not isinstance(since, int) or isinstance(since, bool) or not 0 <= since < 1 << 63):
                await self._say(writer, wrong("since is the number (seq) of an event", "input"))
                return False
            await self._listen(reader, writer, since)
            return False
        if name == "version":
            await self._say(writer, {"form": "quietgate/version", "version": 1, "product": __version__, "forms": 1})
            return True
        if name == "changed" and uid not in (0, os.geteuid()):
            await self._say(writer, wrong("this needs root", "permission"))
            return True
        await self._say(writer, await self._answer(name, asked))
        return True

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, since: int | None) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._listeners.add(queue)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            last = self._newest() if since is None else since
            await self._say(writer, {"form": "quietgate/listening", "version": 1, "listening": True, "seq": last})
            while since is not None and (some := self._recorded(last)):
                for event in some:
                    last = event["seq"]
                    await self._say(writer, event)
            while True:
                following = asyncio.ensure_future(queue.get())
                done, _ = await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
                if following not in done:
                    following.cancel()
                    return
                line = following.result()
                if not line:
                    await self._say(writer, wrong("events were lost: you read too slowly, or the guard stops", "lost"))
                    return
                if since is not None and json.loads(line).get("seq", last + 1) <= last:
                    continue  # it was in the history already
                writer.write(line)
                await asyncio.wait_for(writer.drain(), PATIENCE * 6)
        finally:
            self._listeners.discard(queue)
            gone.cancel()

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, reply: dict[str, Any]) -> None:
        writer.write(json.dumps(reply).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), PATIENCE)

    def _peer(self, writer: asyncio.StreamWriter) -> tuple[int, bool]:
        sock: socket.socket = writer.get_extra_info("socket")
        _, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid in (0, os.geteuid()):
            return uid, True
        wanted = self._gid()
        return uid, wanted is not None and in_group(uid, gid, wanted)

    def _gid(self) -> int | None:
        return group_number(self._group)
