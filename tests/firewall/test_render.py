"""Policies and the rulesets they mean, as golden pairs; and what holds for each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, Stale, declared, render, sets_only
from quietgate.policy.load import load
from quietgate.values import File
from tests.policy.regenerate import golden_cases, resolve, ruleset

each = pytest.mark.parametrize("case", golden_cases(), ids=lambda c: c.stem)


def generation(case: Path, number: int = 1) -> Generation:
    loaded = load([File(case.name, case.read_bytes())])
    names = [name.text for name, _ in loaded.policy.names()]
    return Generation(number, compile_policy(loaded.policy, Facts(Door((22,), bound=False), resolve(names))))


@each
def test_the_ruleset_is_the_one_that_was_looked_at(case: Path) -> None:
    assert ruleset(case) == case.with_suffix(".nft").read_text()


@each
def test_every_name_that_is_used_is_declared(case: Path) -> None:
    text = case.with_suffix(".nft").read_text()

    def named(pattern: str) -> set[str]:
        return set(re.findall(pattern, text))

    assert named(r"@(\w+)") <= named(r"\bset (\w+) \{")
    assert named(r"(?:goto|jump) (\w+)") <= named(r"\bchain (\w+) \{")
    assert named(r'counter name "(\w+)"') <= named(r"\bcounter (\w+) \{")
    assert named(r'limit name "(\w+)"') <= named(r"\blimit (\w+) \{")


@each
def test_every_chain_is_reached_and_every_set_is_asked(case: Path) -> None:
    text = case.with_suffix(".nft").read_text()
    chains = set(re.findall(r"chain (g1_\w+) \{", text))
    assert chains == set(re.findall(r"(?:goto|jump) (\w+)", text))
    kept = {"trial"}  # the switch of a candidate that is not there
    assert set(re.findall(r"\bset (\w+) \{", text)) - set(re.findall(r"@(\w+)", text)) <= kept


@each
def test_the_time_left_is_asked_of_confirmed_entries_only(case: Path) -> None:
    """What it reads as for a new entry depends on the host's uptime: `>` would let every SYN in, uncounted, for weeks."""
    rules = [line for line in case.with_suffix(".nft").read_text().splitlines() if "ct expiration" in line]
    assert all("ct status confirmed ct expiration" in line for line in rules)


@each
def test_every_rule_has_its_own_id(case: Path) -> None:
    text = case.with_suffix(".nft").read_text()
    for chain in re.findall(r"chain \w+ \{\n(.*?)\n\t\}", text, re.DOTALL):
        rules = [line for line in chain.splitlines() if "type filter hook" not in line]
        ids = [re.search(r'comment "qg:([^"]+)"$', line) for line in rules]
        assert all(ids), chain
        assert len({i[1] for i in ids if i}) == len(rules), chain


@each
def test_one_transaction_that_drops_nothing_by_itself(case: Path) -> None:
    text = case.with_suffix(".nft").read_text()
    assert text.startswith("add table inet quietgate\nflush table inet quietgate\ntable inet quietgate {\n")
    assert text.count("policy accept;") == text.count("type filter hook") == 4
    for hook in ("prerouting", "input", "output"):
        way = "oifname" if hook == "output" else "iifname"
        own = "fib saddr type local " if hook == "input" else ""
        assert f'{way} "lo" {own}accept comment "qg:{hook}.loopback"' in text, "loopback comes first"


@each
def test_what_is_declared_is_what_is_printed(case: Path) -> None:
    one = generation(case)
    text, names = render(one), declared(one)
    assert set(names.chains) == set(re.findall(r"chain (\w+) \{", text))
    assert set(names.sets) == set(re.findall(r"\bset (\w+) \{", text))
    assert set(names.counters) == set(re.findall(r"\bcounter (\w+) \{", text))
    assert set(names.limits) == set(re.findall(r"\blimit (\w+) \{", text))


@each
def test_a_candidate_stands_beside_the_confirmed_one_behind_its_switch(case: Path) -> None:
    confirmed, candidate = generation(case), generation(case, 2)
    text = render(confirmed, candidate)

    for hook in ("prerouting", "input", "output", "forward"):
        chain = re.search(rf"chain {hook} \{{\n(.*?)\n\t\}}", text, re.DOTALL)
        assert chain is not None
        trial, steady = chain[1].splitlines()[-2:]
        assert "meta nfproto @trial goto g2_" in trial
        assert steady.strip().startswith("goto g1_")
    for line in render(candidate).splitlines():
        if "g2_" in line and "confirmed" not in line:
            assert line in text


def test_the_first_load_makes_sets_and_no_rules() -> None:
    text = sets_only(generation(next(c for c in golden_cases() if c.stem == "everything")))
    assert "chain" not in text
    assert "flush" not in text
    assert "slot4_3_1m30s_24_1024" in text


def test_what_is_stale_goes_in_the_same_transaction_chains_first() -> None:
    stale = Stale(chains=("g1_in",), sets=("g1_deny4",), counters=("rule_old",), limits=("log_1_1s",))
    assert render(None, stale=stale).endswith(
        "delete chain inet quietgate g1_in\n"
        "delete set inet quietgate g1_deny4\n"
        "delete limit inet quietgate log_1_1s\n"
        "delete counter inet quietgate rule_old\n"
    )  # fmt: skip


def test_a_rate_per_source_without_addresses_counts_both_ip_versions() -> None:
    text = next(c for c in golden_cases() if c.stem == "everything").with_suffix(".nft").read_text()
    accepting = [line for line in text.splitlines() if re.search(r'qg:rule\.api\.[46]"', line)]
    assert [re.findall(r"nfproto (ipv[46])", line) for line in accepting] == [["ipv4"], ["ipv6"]]
