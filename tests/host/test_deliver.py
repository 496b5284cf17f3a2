"""The guard's side of a message: what the sender says, and what it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quietgate.host import deliver

JOB = deliver.Job("webhook", "http://127.0.0.1:1/", "", {"id": "1"})


def answer(place: Path, said: bytes | None, within: float = 5.0) -> str:
    """What comes of a unit that says this (None: nothing, for ever), asked through a real socket."""

    async def unit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if said is None:
            await asyncio.sleep(3600)
        else:
            writer.write(said)
        writer.close()

    async def ask() -> str:
        server = await asyncio.start_unix_server(unit, place / "unit")
        try:
            return await asyncio.wait_for(deliver.hand_over(JOB, place / "unit"), within)
        finally:
            server.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (b'{"failed": ""}\n', ""),
        (b'{"failed": "no route"}\n', "no route"),
        (b"", "the sender ended without an answer: b'nothing'"),
        (b"Killed\x1b[2J\n", "the sender ended without an answer: b'Killed\\x1b[2J\\n'"),
        (b"[1]\n", "the sender ended without an answer: b'[1]\\n'"),
    ],
)
def test_what_it_says_is_told(tmp_path: Path, said: bytes, result: str) -> None:
    assert answer(tmp_path, said) == result


def test_one_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "WITHIN", 0.2)
    assert answer(tmp_path, None).startswith("no answer within")
