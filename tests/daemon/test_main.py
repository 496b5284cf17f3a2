"""The guard goes on when the kernel cannot list its sockets: buffers or open files have run out, as under an attack."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quietgate.clock import Instant
from quietgate.daemon import context
from quietgate.daemon.context import Shared
from quietgate.daemon.logins import Welcome
from quietgate.daemon.main import Daemon
from quietgate.errors import Damaged, KernelError, StateError
from quietgate.guard.engine import LoggedIn
from quietgate.host import sockets
from quietgate.net import parse_address
from quietgate.policy.load import load

A = parse_address("203.0.113.9")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the parts work with, on a host whose kernel does not answer."""

    def flows(_ports: frozenset[int]) -> None:
        raise KernelError("the kernel does not tell of its sockets", errno.ENOBUFS)

    monkeypatch.setattr(sockets, "flows", flows)
    policy = load([]).policy
    ports = SimpleNamespace(ports=(22,), bound=False, begin=10, grace=120.0)
    return SimpleNamespace(
        policy=policy, prepared=SimpleNamespace(policy=policy, ports=ports), counting=policy.ssh.counting, store=None, around=None
    )


def test_a_ban_is_made_though_its_connections_cannot_be_ended(shared: Any) -> None:
    Daemon._cut(SimpleNamespace(shared=shared), [A])  # type: ignore[arg-type]


def test_a_login_is_welcome_though_its_place_cannot_be_given_back(shared: Any) -> None:
    Welcome(shared, lambda _: None)._give_place_back(LoggedIn("anna", A, 40000, 0.0))


def test_the_guard_looks_again_another_time(shared: Any) -> None:
    Shared.look_now(shared, Instant(0.0, 0.0))


def test_damage_is_mended_whoever_meets_it_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that was on its way when the database was mended still tells of the damaged one."""
    mended: list[object] = []
    monkeypatch.setattr(context, "mend", mended.append)
    store = SimpleNamespace(close=lambda: None)
    shared: Any = SimpleNamespace(
        parts=SimpleNamespace(paths=SimpleNamespace(lock=tmp_path / "lock"), store=lambda: store), store=store, disk=SimpleNamespace(reopen=lambda: None),
        log=lambda _: None, publish=lambda *_, **__: None, _skip_deeds=lambda: None, _mended=float("-inf"),
    )  # fmt: skip
    shared.on_damage = lambda: Shared.mend(shared)
    for error in (StateError("full", ""), Damaged("no database", ""), Damaged("no database", "")):
        Shared.refused(shared, error)
    assert len(mended) == 1
