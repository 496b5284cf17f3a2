"""What differs between two rulesets, in words."""

from __future__ import annotations

import pytest

from quietgate.firewall.compare import compare
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.policy.load import load
from quietgate.values import File


def text(policy: str = "", number: int = 1) -> str:
    loaded = load([File("p", policy.encode())])
    assert not loaded.problems, loaded.problems
    return render(Generation(number, compile_policy(loaded.policy, Facts(Door((22,), bound=False), {}))))


def rule(name: str, port: int, action: str = "accept") -> str:
    return f'[[firewall.rule]]\nname = "{name}"\nports = [{port}]\naction = "{action}"\n'


def said(old: str, new: str) -> list[str]:
    return [c.what for c in compare(old, new)]


def test_the_same_policy_in_another_generation_does_not_differ() -> None:
    assert compare(text(number=1), text(number=27)) == ()


def test_a_new_rule_comes_with_its_counter() -> None:
    changes = compare(text(), text(rule("web", 80)))
    assert [(c.what, c.old is None) for c in changes] == [("counter rule_web", True), ("rule rule.web in in", True)]
    assert str(changes[1]) == 'rule rule.web in in:\n  + tcp dport 80 counter name "rule_web" accept'


def test_a_changed_rule_shows_both() -> None:
    (change,) = compare(text(rule("web", 80)), text(rule("web", 81)))
    assert (change.what, "dport 80" in str(change.old), "dport 81" in str(change.new)) == ("rule rule.web in in", True, True)


def test_a_rule_that_went_away() -> None:
    changes = compare(text(rule("web", 80)), text())
    assert all(c.new is None for c in changes)
    assert "rule rule.web in in" in [c.what for c in changes]


def test_addresses_differ_one_by_one() -> None:
    old, new = (text(f'[firewall]\ndeny = ["192.0.2.1", "{other}"]\n') for other in ("192.0.2.2", "192.0.2.3"))
    assert [str(c) for c in compare(old, new)] == ["elements of deny4:\n  - 192.0.2.2", "elements of deny4:\n  + 192.0.2.3"]


def test_the_same_rules_in_another_order_differ() -> None:
    a, b = rule("a", 80), rule("b", 80, "drop").replace("ports = [80]", 'ports = ["80-90"]')
    assert said(text(a + b), text(b + a)) == ["order of rules"]


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ('[firewall]\ndefault = "drop"\n', "rule in.default in in"),
        ('[ssh]\nlimit = "4 per 60s"\n', "set slot4_5_1m_32_65536"),
        ('[ssh]\nlog.rate = "1 per 1m"\n', "limit log_10_1m"),
        ('[firewall]\nping = "drop"\n', "rule ping.within in ping"),
    ],
)
def test_a_changed_setting_is_seen_where_it_acts(policy: str, what: str) -> None:
    assert what in said(text(), text(policy))
    assert what in said(text(policy), text())
