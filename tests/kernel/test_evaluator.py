"""The evaluator says of a packet what the kernel does with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.values import File
from tests.kernel.cases import Banned, Bench, Seen, Shot, bans, policies, shots, used_slots
from tests.kernel.lab import Wire, make_pair

BATCH = 25
RELAXED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.large_base_example]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root: Path = tmp_path_factory.mktemp("bench")
    with make_pair(root) as pair, Wire(pair) as wire:
        yield Bench(pair, wire)


def heard(seen: Seen) -> str:
    """What the evaluator's verdict sounds like at the other end: nothing answers a reset, or an ICMP error (RFC 1122 3.2.2)."""
    p = seen.packet
    error = (p.protocol == 1 and p.icmp_type in (3, 4, 5, 11, 12)) or (p.protocol == 58 and p.icmp_type < 128)
    unanswered = "rst" in p.flags if seen.expected == "reset" else error and seen.expected == "reject"
    return "drop" if unanswered else seen.expected


def disagreements(seen: list[Seen]) -> list[Seen]:
    return [s for s in seen if heard(s) != s.happened]


def agree(bench: Bench, policy: Policy, batch: list[Shot], banned: list[Banned], used: list[tuple[str, int]]) -> None:
    wrong = disagreements(bench.run(policy, batch, banned, used))
    told = "\n".join(f"{s.packet}\n  evaluator: {s.expected} by {s.rule}; kernel: {s.happened}" for s in wrong)
    assert not wrong, f"{policy.values['text']}\nbans {banned}\nslots {used}\n{told}"


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=RELAXED, phases=[Phase.generate, Phase.shrink])
@given(policy=policies(), batch=st.lists(shots(), min_size=BATCH, max_size=BATCH), banned=bans, used=used_slots)
def test_five_hundred_cases(bench: Bench, policy: Policy, batch: list[Shot], banned: list[Banned], used: list[tuple[str, int]]) -> None:
    agree(bench, policy, batch, banned, used)


@pytest.mark.long
@settings(max_examples=800, deadline=None, suppress_health_check=RELAXED, phases=[Phase.generate, Phase.shrink], print_blob=True)
@given(policy=policies(), batch=st.lists(shots(), min_size=BATCH, max_size=BATCH), banned=bans, used=used_slots)
def test_twenty_thousand_cases(bench: Bench, policy: Policy, batch: list[Shot], banned: list[Banned], used: list[tuple[str, int]]) -> None:
    agree(bench, policy, batch, banned, used)


def test_a_planted_difference_is_found(bench: Bench) -> None:
    """The bench must be able to fail: the evaluator is given a ruleset in which the default is another."""
    policy = load([File("p.toml", b'[firewall]\ndefault = "drop"\n')]).policy
    other = load([File("p.toml", b'[firewall]\ndefault = "accept"\n')]).policy
    planted = compile_policy(other, Facts(Door((22,), bound=False), {}))
    batch = [replace(Shot("198.19.0.9", "tcp", 80, "syn", 0, known=False), port=p) for p in (80, 443, 22)]
    assert not disagreements(bench.run(policy, batch, [], []))
    assert len(disagreements(bench.run(policy, batch, [], [], planted))) == 2
