"""Files to one policy: merging, origins, groups, defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.errors import Origin
from quietgate.net import parse_prefix
from quietgate.policy.load import load
from quietgate.policy.model import Loaded, Policy
from quietgate.policy.terms import Addresses, Name, Ports, Rate
from quietgate.values import File


def files(**contents: str) -> Loaded:
    return load([File(f"{name}.toml", text.encode()) for name, text in contents.items()])


def policy(**contents: str) -> Policy:
    loaded = files(**contents)
    assert not loaded.problems, loaded.problems
    return loaded.policy


def texts(addresses: Addresses) -> list[str]:
    return [f"{entry} {entry.origin}" for entry in addresses.entries]


@pytest.mark.parametrize(("text", "remedy"), [
    ("[ssh]\nlimt = 1", "did you mean ssh.limit?"),
    ("[ssh]\nlg = 3", "known here: "),  # [ssh.log] is a section, and no key
    ("[ssh.limt]\nx = 1", "known here: "),  # ssh.limit is a key, and no section
    ("[ssh.logg]\nx = 1", "did you mean [ssh.log]?"),
    ("limt = 1", "did you mean limit? It belongs in [ssh]"),
    ("[guard]\nsorces = 1", "did you mean guard.sources?"),
    ("[ssh]\nlimits_of_all = 1", "known here: "),
])  # fmt: skip
def test_a_suggestion_can_be_written_where_the_mistake_was(text: str, remedy: str) -> None:
    (problem,) = files(a=text).problems
    assert problem.remedy.startswith(remedy)


def test_nothing_is_a_policy_and_means_the_defaults() -> None:
    p = policy()
    assert p.ssh.limit == Rate(5, 60)
    assert p.ssh.ports is None
    assert p.ssh.sources.anywhere
    assert p.firewall.default == "accept"
    assert p.firewall.marks == (0x10000000, 0x20000000)
    assert p.bans.manual_for is None
    assert p.origins == {}
    assert p == policy(a="", b="# nothing\n")


def test_the_policy_with_every_key_at_its_default_loads_and_says_the_same_as_an_empty_one() -> None:
    text = (Path(__file__).parent / "all-defaults.toml").read_text()
    loaded = files(all=text)

    assert loaded.problems == ()
    assert loaded.warnings == ()
    empty = policy()
    for path, value in loaded.policy.values.items():
        if not isinstance(value, Addresses):
            assert value == empty.values[path], path
    assert set(loaded.policy.origins) == set(empty.values), "it shows every setting"
    assert [r.name for r in loaded.policy.firewall.rules] == ["web"]


def test_a_later_scalar_replaces_and_says_so() -> None:
    loaded = files(a='[ssh]\nlimit = "1 per 1s"\n', b='\n[ssh]\nlimit = "2 per 2s"\n')

    assert loaded.policy.ssh.limit == Rate(2, 2)
    assert loaded.policy.origins["ssh.limit"] == (Origin("b.toml", 3),)
    assert [str(w) for w in loaded.warnings] == [
        "b.toml:3: ssh.limit was also set at a.toml:2; this later one counts; keep only one of them"
    ]


def test_lists_of_addresses_append_each_with_its_line() -> None:
    p = policy(a='[firewall]\nallow = [\n  "192.0.2.1",\n  "192.0.2.2",\n]\n', b='[firewall]\nallow = ["192.0.2.3", "192.0.2.1"]\n')

    assert texts(p.firewall.allow) == ["192.0.2.1 a.toml:3", "192.0.2.2 a.toml:4", "192.0.2.3 b.toml:2"]
    assert p.origins["firewall.allow"] == (Origin("a.toml", 2), Origin("b.toml", 2))


def test_other_lists_are_replaced_whole() -> None:
    p = policy(a="[ssh]\nports = [22, 2222]\n", b="[ssh]\nports = [2022]\n")
    assert p.ssh.ports == (2022,)


def test_rules_append_in_the_order_of_the_files() -> None:
    p = policy(
        a='[[firewall.rule]]\nname = "one"\n[[firewall.rule]]\nname = "two"\nprotocol = "udp"\n',
        b='[[firewall.rule]]\nname = "three"\nports = [1]\nprotocol = "any"\n',
    )
    assert [(r.name, str(r.origin)) for r in p.firewall.rules] == [("one", "a.toml:1"), ("two", "a.toml:3"), ("three", "b.toml:1")]


def test_a_list_that_is_set_replaces_the_default() -> None:
    p = policy(a='[ssh]\nfrom = ["192.0.2.0/24"]\n')
    assert not p.ssh.sources.anywhere
    assert texts(p.ssh.sources) == ["192.0.2.0/24 a.toml:2"]


def test_groups_of_all_files_join_and_are_put_in_where_they_are_used() -> None:
    p = policy(
        a='[groups]\noffice = ["192.0.2.0/24", "@vpn"]\n[ssh]\ntrusted = ["@office"]\n',
        b='[groups]\nvpn = ["VPN.example.net."]\noffice = ["198.51.100.7"]\n[firewall]\nallow = ["@vpn"]\n',
    )
    assert texts(p.ssh.trusted) == ["192.0.2.0/24 (@office) a.toml:2", "vpn.example.net (@vpn) b.toml:2", "198.51.100.7 (@office) b.toml:3"]
    assert p.firewall.allow.entries[0].target == Name("vpn.example.net")
    assert [(str(name), str(origin)) for name, origin in p.names()] == [("vpn.example.net", "b.toml:2")] * 2


def test_a_rule_is_read_whole() -> None:
    (rule,) = policy(
        a='[[firewall.rule]]\nname = "web"\ndirection = "forward"\nprotocol = "udp"\nports = [80, "8000-8010"]\nfrom = ["192.0.2.0/24"]\n'
        'interface = "br*"\naction = "rate"\nrate = "10 per 1m"\nper = "all"\n'
    ).firewall.rules
    assert (rule.direction, rule.protocol, rule.interface, rule.action, rule.per) == ("forward", 17, "br*", "rate", "all")
    assert rule.ports == (Ports(80, 80), Ports(8000, 8010))
    assert rule.rate == Rate(10, 60)
    assert rule.to.anywhere
    assert rule.source.entries[0].target == parse_prefix("192.0.2.0/24")


def test_inline_tables_dotted_keys_and_sections_are_the_same() -> None:
    ways = ('[ssh.log]\nprefix = "x: "\n', 'ssh.log.prefix = "x: "\n', '[ssh]\nlog = { prefix = "x: " }\n')
    assert {policy(a=way).ssh.log.prefix for way in ways} == {"x: "}


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    loaded = load([File("a.toml", b'\xef\xbb\xbf[ssh]\r\nlimit = "2 per 2s"\r\nlimt = 1\r\n')])
    assert loaded.policy.ssh.limit == Rate(2, 2)
    assert [p.origin.line for p in loaded.problems] == [3]


def test_a_broken_rule_makes_up_no_further_mistakes() -> None:
    loaded = files(a='[[firewall.rule]]\nname = "Web"\naction = "limit"\nrate = "5 per 1s"\n[[firewall.rule]]\nname = "next"\n')
    assert [p.origin.line for p in loaded.problems] == [2, 3]
    assert loaded.warnings == ()


def test_broken_values_stand_as_their_defaults() -> None:
    loaded = files(a='[ssh]\nlimit = "x"\nports = [0]\nfrom = ["10.0.0.1/8"]\n[firewall]\nmarks = [3, 4]\n')
    assert len(loaded.problems) == 4
    assert loaded.policy.ssh.limit == Rate(5, 60)
    assert loaded.policy.firewall.marks == (0x10000000, 0x20000000)
