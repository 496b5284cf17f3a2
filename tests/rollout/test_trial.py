"""A trial looks four times a second: what it looks at does not grow with the policy."""

from __future__ import annotations

from itertools import islice

import pytest

from quietgate.generations.records import Record
from quietgate.policy.load import load as real_load
from quietgate.policy.model import Loaded
from quietgate.rollout import trial
from quietgate.values import File


def test_the_policy_is_read_once_however_often_a_trial_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Kernel:
        def __enter__(self) -> Kernel:
            return self

        def __exit__(self, *_: object) -> None: ...

        def logins(self, _: float) -> list[object]:
            return []

    class Inside:
        on_trial, candidate, left = True, 1, {4: 1.0}

    class Parts:
        nft = None

        class generations:  # noqa: N801
            @staticmethod
            def candidate() -> Record:
                return Record(1, "d", "t", (22,), ("p",), 0.0, contents=(("p", "version = 1\n"),), by=None)

    read: list[object] = []
    monkeypatch.setattr(trial, "SetWriter", Kernel)
    monkeypatch.setattr(trial, "Handshakes", lambda *_: Kernel())
    monkeypatch.setattr(trial, "look", lambda *_: Inside())
    monkeypatch.setattr(trial, "live", lambda _: [])

    def load(files: list[File]) -> Loaded:
        read.append(files)
        return real_load(files)

    monkeypatch.setattr("quietgate.rollout.trial.load", load)
    for moment in islice(trial.watch(Parts()), 20):  # type: ignore[arg-type]
        assert not moment.over
        looks += 1
    assert looks == 20
    assert len(read) == 1
