"""Whatever clients send to the guard's socket: each is answered or hung up on, and whoever asks properly afterwards is answered.

The real server on a real socket, with the guard's own answers. An input is what several clients do, step by step.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import atheris

with atheris.instrument_imports(include=["quietgate"]):
    from quietgate.control import server
    from quietgate.daemon.main import Daemon
    from quietgate.daemon.sources import Source
    from quietgate.guard.engine import Engine, Settings
    from quietgate.sshlog.lines import Trust

from fuzz.run import FOUND, fuzz

PATIENCE = 0.01  # seconds, where the guard has five
SETTLED = 5.0  # seconds in which everything must be over
MOST_STEPS = 60
MOST_ASKED = 3000  # times the same in one step: the answers fill every buffer
MOST_SAID = 4096  # bytes of one answer of this guard, which has one source
ROOT, MEMBER, STRANGER = (0, True), (1000, True), (1000, False)


class Door(server.Control):
    """The server, with the peers that the input wants: this process has one user only."""

    peer = ROOT

    def _peer(self, writer: asyncio.StreamWriter) -> tuple[int, bool]:
        super()._peer(writer)
        return Door.peer

    @property
    def busy(self) -> tuple[int, int]:
        """Clients and listeners that are still served."""
        return self._clients, len(self._listeners)


class Host:
    """One guard for all inputs, and what went wrong in its tasks."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        self.wrong: list[dict[str, Any]] = []
        self.reloads = 0
        self.path = FOUND / "control.socket"
        guard: Any = SimpleNamespace(
            begun=0.0, bans_made=0, engine=Engine(Settings({})), sources=[Source("journal", Trust.JOURNAL)], shared=SimpleNamespace(troubles={}), alerting=SimpleNamespace(figures=dict),
            _reload=self._reload,
        )  # fmt: skip
        self.door = Door(self.path, "nobody-has-this-group", lambda name, asked: Daemon._answer(cast("Daemon", guard), name, asked))
        self.loop.run_until_complete(self.door.start())

    def _reload(self) -> None:
        self.reloads += 1

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.wrong.append(context)


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _attack(host: Host, given: atheris.FuzzedDataProvider) -> None:
    clients: list[Client] = []
    try:
        for _ in range(MOST_STEPS):
            if not given.remaining_bytes():
                break
            step = given.ConsumeIntInRange(0, 15)
            if step == 0 or not clients:
                Door.peer = (ROOT, MEMBER, STRANGER)[given.ConsumeIntInRange(0, 2)]
                for _ in range(50 if given.ConsumeIntInRange(0, 30) == 30 else 1):
                    clients.append(await asyncio.open_unix_connection(str(host.path)))
                await asyncio.sleep(0)
                continue
            reader, writer = clients[given.ConsumeIntInRange(0, len(clients) - 1)]
            if writer.is_closing():
                continue
            with contextlib.suppress(OSError, RuntimeError):  # it has hung up already, on this side or the other
                await _step(host, step, reader, writer, given)
    finally:
        for _, writer in clients:
            writer.transport.abort()


async def _step(
    host: Host, step: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, given: atheris.FuzzedDataProvider
) -> None:
    if step == 1:
        writer.transport.abort()
    elif step == 2:
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
    elif step == 3:
        for n in range(given.ConsumeIntInRange(0, 2 * server.WAITING) if given.ConsumeIntInRange(0, 15) == 15 else 1):
            host.door.publish({"event": "ban", "n": n})
    elif step == 4:
        await asyncio.sleep(2 * PATIENCE if given.ConsumeIntInRange(0, 7) == 7 else 0)
    elif step == 5:
        await _heard(reader)
    elif step == 6:
        writer.write(bytes((given.ConsumeIntInRange(0, 255),)) * given.ConsumeIntInRange(1, 200_000))
        await asyncio.sleep(0)
    elif step < 10:
        often = given.ConsumeIntInRange(1, MOST_ASKED) if given.ConsumeIntInRange(0, 15) == 15 else 1
        writer.write((REQUESTS[given.ConsumeIntInRange(0, len(REQUESTS) - 1)] + b"\n") * often)
        await asyncio.sleep(0)
    else:
        writer.write(given.ConsumeBytes(given.ConsumeIntInRange(1, 200)))
        await asyncio.sleep(0)


async def _heard(reader: asyncio.StreamReader) -> None:
    """What came so far is whole answers."""
    with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(PATIENCE / 10):
            while line := await reader.readline():
                if line.endswith(b"\n"):
                    assert isinstance(json.loads(line), dict), line
                    assert len(line) <= MOST_SAID, "an answer has its bounds"


async def _calm(host: Host) -> None:
    """All are gone, and a client that asks properly is answered."""
    async with asyncio.timeout(SETTLED):
        await _all_gone(host)
        Door.peer = MEMBER
        reader, writer = await asyncio.open_unix_connection(str(host.path), limit=1 << 20)
        writer.write(b'{"ask": "status"}\n{"ask": "changed"}\n')
        status, refused = json.loads(await reader.readline()), json.loads(await reader.readline())
        assert status["form"] == "quietgate/guard", status
        assert refused["id"] == "permission", refused
        writer.transport.abort()
        await _all_gone(host)


async def _all_gone(host: Host) -> None:
    while host.door.busy != (0, 0):  # noqa: ASYNC110  the server says nothing when it is done
        await asyncio.sleep(0)


REQUESTS = (
    b'{"ask": "status"}', b'{"ask": "events"}', b'{"ask": "changed", "what": "bans"}', b'{"ask": "changed", "what": "policy"}', b'{"ask": 7}', b"[]",
    b'{"ask": "status", "ask": {}}', b'{"ask": "\\ud800"}', b"[" * 2000, b"1" * 4090, b"\xff\xfe",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Steps of all kinds, and requests; one client that asks and never reads, and one that is too slow for the events."""
    waits = (4, 7) * 12
    greedy = (0, 0, 0, 7, 15, *(MOST_ASKED - 1).to_bytes(2, "big"), 0, *waits)
    slow = (0, 0, 0, 7, 0, 1, 4, 7, 3, 15, *(2 * server.WAITING).to_bytes(2, "big"), 5, *waits)
    for numbers in (greedy, slow):
        yield bytes((0, *reversed(numbers)))  # they are taken from the end
    for size in (20, 100, 400):
        for shift in range(32):
            yield b"".join(REQUESTS[(shift + n) % 8] + b"\n" for n in range(2)) + bytes((shift * 41 + n * n * 7) % 256 for n in range(size))


def main() -> None:
    """Run it."""
    server.PATIENCE = PATIENCE
    host = Host()

    def one(data: bytes) -> None:
        host.loop.run_until_complete(_attack(host, atheris.FuzzedDataProvider(data)))
        host.loop.run_until_complete(_calm(host))
        assert not host.wrong, host.wrong

    fuzz("control", one, seeds(), (*REQUESTS[:8], b"\n", b'{"ask": "', b'"what": "'))


if __name__ == "__main__":
    main()
