"""The proposed policy: always one that loads, whatever programs and users call themselves."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.net import BITS, Prefix, parse_address
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.policy.propose import ON_DEMAND, Forwarded, Guest, Service, Speaker, Survey, findings, propose
from quietgate.values import File

PLAIN = Survey(ports=(22,), ports_why="sshd listens on 22")


def policy(survey: Survey, *, closed: bool = True) -> Policy:
    """What the proposal means; it has no mistakes and nothing to warn of."""
    text = propose(survey, closed=closed)
    loaded = load([File("proposed.toml", text.encode())])
    assert not loaded.problems, text + "\n".join(map(str, loaded.problems))
    assert not loaded.warnings, text + "\n".join(map(str, loaded.warnings))
    return loaded.policy


def at(text: str) -> Prefix:
    return parse_address(text)


# -- whatever stands there

# What would end a comment, a string, a table or a line; what a terminal obeys; what UTF-8 cannot say.
EVIL = ('"', "'", '"""', "\\", "\n", "\r", "\r\n", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud800", "#", "]", "[ssh]\n", "=",
        "\ntrusted = ['0.0.0.0/0']\n", '"]\ntrusted = ["anywhere"]', "[[firewall.rule]]\nname = 'x'\n", "{", "}", ",", "é", "-", " ", "\t")  # fmt: skip
hostile = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(EVIL + tuple("ab1")), max_size=12).map("".join))
numbers = st.integers(1, 65535)
addresses = st.one_of(
    st.integers(1, 2**32 - 1).map(lambda n: Prefix(4, n, 32)),
    st.integers(1, 2**128 - 1).filter(lambda n: n >> 32 != 0xFFFF).map(lambda n: Prefix(6, n, 128)),
)
protocols = st.sampled_from(["tcp", "udp"])
services = st.builds(Service, hostile, protocols, numbers, st.lists(addresses, max_size=3, unique=True).map(tuple))
surveys = st.builds(
    Survey,
    ports=st.lists(numbers, min_size=1, max_size=3, unique=True).map(tuple),
    ports_why=hostile,
    guests=st.lists(st.builds(Guest, hostile, addresses, st.floats(0, 1e9), st.booleans()), max_size=15).map(tuple),
    services=st.lists(services, max_size=12, unique_by=lambda s: (s.program, s.protocol, s.port)).map(tuple),
    unsure=st.lists(services, max_size=3).map(tuple),
    speakers=st.lists(st.builds(Speaker, hostile, st.integers(2, 254).filter(lambda n: n not in (6, 17, 58))), max_size=4).map(tuple),
    forwarded=st.lists(st.builds(Forwarded, protocols, numbers, addresses, numbers), max_size=6).map(tuple),
    others=st.lists(hostile, max_size=3).map(tuple),
    traps=st.lists(hostile, max_size=3).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(surveys, st.booleans())
def test_it_always_loads_and_says_only_what_was_found(survey: Survey, closed: bool) -> None:
    found = policy(survey, closed=closed)
    assert (found.ssh.ports, found.ssh.trusted.entries, found.firewall.allow.entries, found.firewall.deny.entries) == (None, (), (), ())
    assert found.firewall.default == ("drop" if closed else "accept")
    assert str(found.ssh.limit) == "5 per 1m"
    if not closed:
        assert found.firewall.rules == ()
        return
    opened = {(r.protocol, p.low) for r in found.firewall.rules if r.direction == "in" for p in r.ports or ()}
    wanted = {({"tcp": 6, "udp": 17}[s.protocol], s.port) for s in survey.services}
    assert opened <= wanted
    ssh, dhcp = {(6, p) for p in survey.ports}, {(17, 68), (17, 546)}
    assert wanted - ssh - dhcp <= opened
    assert all(set(r.name) <= set(string.ascii_lowercase + string.digits + "-") and len(r.name) <= 32 for r in found.firewall.rules)
    assert len({r.name for r in found.firewall.rules}) == len(found.firewall.rules)
    for text in findings(survey, closed=closed):
        assert isinstance(text, str)


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_a_hostile_name_of_a_program_or_user_adds_no_line_but_its_own(name: str) -> None:
    def lines(text: str) -> list[str]:
        survey = replace(PLAIN, ports_why=text, guests=(Guest(text, at("203.0.113.7"), 60),), services=(Service(text, "tcp", 80),))
        return propose(survey, closed=True).split("\n")

    evil, plain = lines(name), lines("x")
    assert len(evil) == len(plain)
    assert [n for n, (a, b) in enumerate(zip(evil, plain, strict=True)) if a != b and not a.startswith(("#", 'name = "'))] == []


# -- what was found, and what becomes of it


def test_open_writes_no_rules() -> None:
    found = policy(
        replace(PLAIN, services=(Service("nginx", "tcp", 80),), forwarded=(Forwarded("tcp", 8080, at("172.17.0.2"), 80),)), closed=False
    )
    assert (found.firewall.default, found.firewall.forward, found.firewall.rules) == ("accept", "leave", ())


def test_one_rule_for_each_program_and_protocol() -> None:
    found = policy(replace(PLAIN, services=(Service("nginx", "tcp", 443), Service("nginx", "tcp", 80), Service("nginx", "udp", 443))))
    assert [(r.name, r.protocol, [str(p) for p in r.ports or ()]) for r in found.firewall.rules] == [
        ("nginx-tcp", 6, ["80", "443"]),
        ("nginx-udp", 17, ["443"]),
    ]


def test_an_ip_protocol_gets_one_rule() -> None:
    found = policy(replace(PLAIN, speakers=(Speaker("bird", 89), Speaker("keepalived", 112), Speaker("vrrpd", 112))))
    assert [(r.name, r.protocol, r.ports) for r in found.firewall.rules] == [("bird-89", 89, None), ("keepalived-112", 112, None)]


def test_a_program_that_listens_on_some_addresses_is_open_there() -> None:
    found = policy(replace(PLAIN, services=(Service("named", "udp", 53, (at("192.0.2.1"), at("2001:db8::1"))),)))
    assert [str(e) for e in found.firewall.rules[0].to.entries] == ["192.0.2.1", "2001:db8::1"]


def test_ssh_ports_and_dhcp_clients_need_no_rule() -> None:
    found = policy(replace(PLAIN, ports=(22, 2222), services=(
        Service("sshd", "tcp", 22), Service("sshd", "tcp", 2222), Service("dhclient", "udp", 68), Service("dhcpcd", "udp", 546),
    )))  # fmt: skip
    assert found.firewall.rules == ()


def test_another_programs_udp_on_a_number_of_ssh_gets_its_rule() -> None:
    assert [r.name for r in policy(replace(PLAIN, services=(Service("mosh", "udp", 22),))).firewall.rules] == ["mosh-udp"]


@pytest.mark.parametrize("names", [("a b", "a-b", "a_b"), ("é", "ü", "\0"), ("x" * 40, "x" * 41), ("-", "", "service")])
def test_names_that_become_alike_are_numbered(names: tuple[str, ...]) -> None:
    found = policy(replace(PLAIN, services=tuple(Service(n, "tcp", 100 + i) for i, n in enumerate(names))))
    assert len({r.name for r in found.firewall.rules}) == len(names)


def test_a_port_that_programs_share_gets_one_rule() -> None:
    one, two = at("192.0.2.1"), at("192.0.2.2")
    found = policy(replace(PLAIN, services=(
        Service("avahi-daemon", "udp", 5353), Service("chromium", "udp", 5353), Service("resolver", "udp", 5353, (one,)),
        Service("bind", "tcp", 53, (one, two)), Service("named", "tcp", 53, (two,)), Service("named", "tcp", 54, (two,)),
    )))  # fmt: skip
    assert [(r.name, [str(p) for p in r.ports or ()]) for r in found.firewall.rules] == [
        ("avahi-daemon-udp", ["5353"]), ("bind-tcp", ["53"]), ("named-tcp", ["54"]),
    ]  # fmt: skip


def test_two_published_ports_that_end_at_one_get_one_rule() -> None:
    found = policy(replace(PLAIN, forwarded=(Forwarded("tcp", 80, at("172.17.0.2"), 80), Forwarded("tcp", 8080, at("172.17.0.2"), 80))))
    assert [r.name for r in found.firewall.rules] == ["publish-tcp-80", "containers-out"]


def test_a_published_port_is_opened_where_it_ends() -> None:
    found = policy(replace(PLAIN, forwarded=(Forwarded("tcp", 8080, at("172.17.0.2"), 80), Forwarded("udp", 53, at("fd00:7::2"), 5353))))
    rules = {r.name: r for r in found.firewall.rules}
    web = rules["publish-tcp-8080"]
    assert (web.direction, [str(p) for p in web.ports or ()], [str(e) for e in web.to.entries]) == ("forward", ["80"], ["172.17.0.2"])
    assert [str(e) for e in rules["containers-out"].source.entries] == ["172.17.0.0/16", "fd00:7::/64"]
    assert found.firewall.forward == "drop"


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        (Guest("anna", at("203.0.113.7"), 0, live=True), "#   203.0.113.7  anna, logged in now"),
        (Guest("anna", at("203.0.113.7"), 5), "#   203.0.113.7  anna, 1m ago"),
        (Guest("anna", at("2001:db8::7"), 90_000), "#   2001:db8::7  anna, yesterday"),
        (Guest("anna", at("2001:db8::7"), 3.5 * 86400), "#   2001:db8::7  anna, 3 days ago"),
        (Guest("an\x1b[2Jna\n", at("203.0.113.7"), 0, live=True), "#   203.0.113.7  an?[2Jna?, logged in now"),
    ],
)
def test_who_logged_in_is_named_in_a_comment(guest: Guest, said: str) -> None:
    assert said in propose(replace(PLAIN, guests=(guest,)), closed=False).splitlines()


def test_long_lists_are_cut() -> None:
    guests = tuple(Guest(f"user{n}", Prefix(4, n + 1, 32), 60) for n in range(500))
    text = propose(replace(PLAIN, guests=guests), closed=False)
    assert "#   and 488 more" in text
    assert len(text.splitlines()) < 40
    assert BITS[4] == 32


def test_the_findings_name_what_was_chosen() -> None:
    survey = replace(PLAIN, services=(Service("nginx", "tcp", 80),), others=("fail2ban",), traps=("a trap",))
    assert "listening beyond loopback: nginx (tcp 80); each got a rule" in findings(survey, closed=True)
    assert "listening beyond loopback: nginx (tcp 80); the default is accept, so they stay reachable" in findings(survey, closed=False)
    assert any("everyone is a stranger at first" in line for line in findings(survey, closed=False))
    assert any(line.startswith("also at work here: fail2ban") for line in findings(survey, closed=False))
    assert "a trap" in findings(survey, closed=False)


def test_what_listens_only_while_in_use_gets_its_ports() -> None:
    found = replace(PLAIN, on_demand=ON_DEMAND)
    (mosh,) = policy(found).firewall.rules
    assert (mosh.name, mosh.protocol, [str(p) for p in mosh.ports or ()]) == ("mosh", 17, ["60000-61000"])
    assert "listening only while in use: mosh (udp 60000-61000); each got a rule" in findings(found, closed=True)
    assert "mosh" not in propose(found, closed=False)
