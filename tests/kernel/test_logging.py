"""The limiter's log: the old prefix, once a minute for each source, and never more than its rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import SERVER4, Pair
from tests.kernel.nflog import Group

PREFIX = "SSH Brute Force Attempt: "
ALL_NETNS = Path("/proc/sys/net/netfilter/nf_log_all_netns")


def test_nflog_has_each_source_once(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "1 per 1m"\n')
    group = Group(pair.server)
    for source in ("198.19.0.1", "198.19.0.2"):
        assert [pair.client.banner(source, SERVER4, timeout=0.1) for _ in range(6)] == [True] + [False] * 5
    assert group.prefixes() == [PREFIX, PREFIX]


def test_the_log_stays_under_its_rate_in_a_flood_and_over_reloads(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "1 per 1m"\nlog = { rate = "3 per 1m" }\n')
    group = Group(pair.server)
    for n in range(1, 31):
        assert [pair.client.banner(f"198.19.0.{n}", SERVER4, timeout=0.02) for _ in range(2)] == [True, False]
        if n % 10 == 0:
            pair.up(f'[ssh]\nlimit = "1 per 1m"\nlog = {{ rate = "3 per 1m" }}\n[firewall]\nping = "{n} per 1s"\n')
    assert group.prefixes() == [PREFIX] * 3


def test_trusted_sources_are_never_logged(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "1 per 1m"\ntrusted = ["198.19.0.1"]\n')
    group = Group(pair.server)
    assert all(pair.client.banner("198.19.0.1", SERVER4) for _ in range(10))
    assert group.prefixes() == []


@pytest.fixture
def kernel_log() -> Iterator[int]:
    """The kernel's log from now on, with what namespaces say in it."""
    before = ALL_NETNS.read_text()
    ALL_NETNS.write_text("1")
    descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(descriptor, 0, os.SEEK_END)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        ALL_NETNS.write_text(before)


def test_the_kernel_log_has_the_old_prefix(pair: Pair, kernel_log: int) -> None:
    pair.sshd()
    pair.up('[ssh]\nlimit = "1 per 1m"\n')
    assert [pair.client.banner("198.19.0.77", SERVER4, timeout=0.1) for _ in range(4)] == [True, False, False, False]
    lines = []
    while True:
        try:
            lines.append(os.read(kernel_log, 8192).decode(errors="replace"))
        except BlockingIOError:
            break
    said = [line for line in lines if "SRC=198.19.0.77" in line]
    assert len(said) == 1
    assert PREFIX + "IN=eth0" in said[0]
