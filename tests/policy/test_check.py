"""Contradictions, and rules that never decide."""

from __future__ import annotations

import pytest

from quietgate.errors import Problem
from quietgate.net import Prefix, parse_address
from quietgate.policy.check import conflicts, shadowed, ssh_rules, unresolved
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.values import File

RESOLVED: dict[str, tuple[Prefix, ...]] = {
    "four.example": (parse_address("192.0.2.7"),),
    "six.example": (parse_address("2001:db8::7"),),
}


def policy(text: str) -> Policy:
    loaded = load([File("p", text.encode())])
    assert not loaded.problems, loaded.problems
    return loaded.policy


def rules(*texts: str) -> Policy:
    return policy("".join(f'[[firewall.rule]]\nname = "r{n}"\n{text}\n' for n, text in enumerate(texts)))


def said(problems: object) -> list[str]:
    return [p.what for p in problems if isinstance(p, Problem)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("", ""),
        ("", 'ports = [80]\nfrom = ["192.0.2.0/24"]'),
        ('protocol = "any"', 'protocol = "udp"\nports = [53]'),
        ('protocol = "any"\nports = ["50-60"]', 'protocol = "udp"\nports = [53]'),
        ('protocol = "any"\nports = [53]', 'protocol = "any"\nports = [53]'),
        ('ports = ["80-90", 443]', 'ports = [443, "81-82"]\naction = "drop"'),
        ('interface = "eth*"', 'interface = "eth0"'),
        ('interface = "eth*"', 'interface = "eth1*"'),
        ('from = ["192.0.2.0/25", "192.0.2.128/25"]', 'from = ["192.0.2.0/24"]'),
        ('from = ["a.example", "192.0.2.0/24"]', 'from = ["a.example"]'),
        ('action = "rate"\nrate = "1 per 1s"', "ports = [80]"),
    ],
)
def test_a_rule_behind_one_that_matches_all_of_it_never_decides(above: str, below: str) -> None:
    (warning,) = shadowed(rules(above, below).firewall.rules)
    assert warning.what.startswith('rule "r1" never decides: "r0" at p:1')


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("ports = [80]", ""),
        ("ports = [80]", "ports = [80, 81]"),
        ('protocol = "udp"', 'protocol = "tcp"'),
        ('protocol = "udp"', 'protocol = "any"'),
        ('protocol = "any"\nports = [53]', "protocol = 132\nports = [53]"),
        ('direction = "out"', 'direction = "in"'),
        ('interface = "eth0"', ""),
        ('interface = "eth0"', 'interface = "eth0*"'),
        ('from = ["192.0.2.0/25"]', 'from = ["192.0.2.0/24"]'),
        ('from = ["0.0.0.0/0"]', ""),
        ('from = ["192.0.2.0/24"]', 'from = ["a.example"]'),
        ('to = ["192.0.2.0/24"]', 'from = ["192.0.2.0/24"]'),
    ],
)
def test_a_rule_that_still_has_something_to_decide_is_left_alone(above: str, below: str) -> None:
    assert list(shadowed(rules(above, below).firewall.rules)) == []


def test_deny_may_not_overlap_allow_or_trusted_not_even_through_names() -> None:
    p = policy(
        '[ssh]\ntrusted = ["four.example"]\n[firewall]\nallow = ["2001:db8::/64"]\ndeny = ["192.0.2.0/24", "six.example", "198.51.100.1"]\n'
    )
    assert said(conflicts(p, RESOLVED)) == [
        "firewall.deny six.example overlaps firewall.allow 2001:db8::/64 at p:4",
        "firewall.deny 192.0.2.0/24 overlaps ssh.trusted four.example at p:2",
    ]


def test_a_rule_whose_names_leave_it_nothing_is_a_mistake() -> None:
    p = rules(
        'from = ["four.example"]\nto = ["six.example"]',
        'from = ["four.example"]\nto = ["four.example"]',
        'from = ["six.example"]\nports = [1]',
    )
    assert said(conflicts(p, RESOLVED)) == ['rule "r0": its names resolve to IPv4 in `from` and IPv6 in `to`, so it matches nothing']


def test_each_place_of_a_name_without_address_is_named() -> None:
    p = policy('[groups]\nLab = ["four.example"]\n[ssh]\ntrusted = ["gone.example", "lab"]\n[guard]\nnever_ban = ["gone.example"]\n')
    problems = sorted(unresolved(p, RESOLVED), key=lambda q: q.origin)
    assert [(q.origin.line, q.what) for q in problems] == [
        (4, 'the name "gone.example" does not resolve'),
        (4, 'the name "lab" does not resolve'),
        (6, 'the name "gone.example" does not resolve'),
    ]
    assert problems[1].remedy == 'did you mean "@Lab"?'


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("ports = [22]", "never decides"),
        ("ports = [22, 2222]", "never decides"),
        ("ports = [22, 80]", "does not decide port 22"),
        ('ports = [22]\nprotocol = "any"', "does not decide port 22"),
        ("ports = [80]", ""),
        ('ports = ["1-1024"]', ""),  # wide on purpose, the rest of it decides
        ('ports = [22]\nprotocol = "udp"', ""),
        ('ports = [22]\ndirection = "out"', ""),
        ('ports = [22]\ndirection = "forward"', ""),
        ("", ""),
    ],
)
def test_rules_for_ssh_ports_are_warned_of(rule: str, warned: str) -> None:
    found = said(ssh_rules(rules(rule), (22, 2222)))
    assert len(found) == bool(warned)
    assert all(warned in what for what in found)
