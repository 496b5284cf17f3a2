"""What the guard says of its table ends when it is no longer true."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from types import SimpleNamespace
from typing import Any

import pytest

from quietgate.daemon import table
from quietgate.errors import KernelError, NftError


def troubles(
    monkeypatch: pytest.MonkeyPatch, asked: list[Exception | bool], mended: list[Exception | str], *, missed: bool = False
) -> list[str]:
    """What is said of the table while the kernel answers so, and mending goes so; after that nothing has changed and all is well."""
    said: list[str] = []

    def answer(answers: list[Any], usual: Any) -> Any:
        found = answers.pop(0) if answers else usual
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(table, "Changes", lambda *_: SimpleNamespace(new=lambda: answer(asked, False)))
    monkeypatch.setattr(table, "put_back", lambda _parts, **_: (answer(mended, ""), None))
    monkeypatch.setattr(table, "refill", lambda _parts: answer(mended, None))
    monkeypatch.setattr(table, "EVERY", 0.001)
    monkeypatch.setattr(table, "SETTLED", 0.0)
    shared = SimpleNamespace(sets=None, disk=SimpleNamespace(made=int), parts=None, missed=missed, trouble=lambda _what, words: said.append(words),
                             log=lambda _: None, publish=lambda *_, **__: None)  # fmt: skip

    async def a_while() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(table.Watch(shared, lambda _: None, lambda _: None).run(), 0.3)  # type: ignore[arg-type]

    asyncio.run(a_while())
    return said


BUSY = KernelError("the kernel is busy", errno.EBUSY)


def test_a_kernel_that_did_not_answer_once_is_no_trouble_later(monkeypatch: pytest.MonkeyPatch) -> None:
    said = troubles(monkeypatch, [False, BUSY], [])
    assert "the kernel is busy" in said
    assert said[-1] == ""


def test_what_could_not_be_mended_is_tried_again_and_then_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    said = troubles(monkeypatch, [False, True], ["", NftError("no nft"), NftError("no nft")])
    assert sum("could not be mended: no nft" in words for words in said) == 2
    assert said[-1] == ""


def test_what_could_not_be_filled_is_tried_again_and_then_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    said = troubles(monkeypatch, [], ["", BUSY], missed=True)
    assert "the kernel is busy" in said
    assert said[-1] == ""
