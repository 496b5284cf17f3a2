"""What differs between two policies, in the words of the policy: every setting, rules, routes."""

from __future__ import annotations

import pytest

from quietgate.policy import schema
from quietgate.policy.changes import changes, departures
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.values import File

# Each setting, a value that is not its default, and what is said of the change from the default.
CASES = {
    "ssh.ports": ("[22, 2222]", '"auto" -> [22, 2222]'),
    "ssh.published": ("[2022]", "[] -> [2022]"),
    "ssh.from": ('["192.0.2.0/24"]', '["anywhere"] -> ["192.0.2.0/24"]'),
    "ssh.interfaces": ('["wg0"]', '[] -> ["wg0"]'),
    "ssh.trusted": ('["192.0.2.7", "vpn.example.net"]', '[] -> ["192.0.2.7", "vpn.example.net"]'),
    "ssh.limit": ('"10 per 60s"', '"5 per 1m" -> "10 per 1m"'),
    "ssh.known": ('"off"', '"30d" -> "off"'),
    "ssh.known_limit": ('"off"', '"60 per 1m" -> "off"'),
    "ssh.reserve": ("0", "40 -> 0"),
    "ssh.strict": ("true", "false -> true"),
    "ssh.mode": ('"observe"', '"enforce" -> "observe"'),
    "ssh.source4": ("24", "32 -> 24"),
    "ssh.source6": ("56", "64 -> 56"),
    "ssh.wide6": ('"off"', '"20 per 1m" -> "off"'),
    "ssh.slots": ("1024", "65536 -> 1024"),
    "ssh.on_full": ('"drop"', '"30 per 1s" -> "drop"'),
    "ssh.log.prefix": ('"ssh: "', '"SSH Brute Force Attempt: " -> "ssh: "'),
    "ssh.log.rate": ('"off"', '"10 per 1m" -> "off"'),
    "ssh.log.to": ('["kernel"]', '["kernel", "nflog"] -> ["kernel"]'),
    "ssh.log.group": ("6", "5 -> 6"),
    "firewall.default": ('"drop"', '"accept" -> "drop"'),
    "firewall.output": ('"drop"', '"accept" -> "drop"'),
    "firewall.forward": ('"drop"', '"leave" -> "drop"'),
    "firewall.allow": ('["2001:db8::7"]', '[] -> ["2001:db8::7"]'),
    "firewall.deny": ('["198.51.100.0/24"]', '[] -> ["198.51.100.0/24"]'),
    "firewall.ping": ('"drop"', '"2 per 1s" -> "drop"'),
    "firewall.other_icmp": ('"accept"', '"drop" -> "accept"'),
    "firewall.dhcp": ("false", "true -> false"),
    "firewall.names_refresh": ('"90s"', '"5m" -> "1m30s"'),
    "firewall.marks": ("[0x10000000, 0x40000000]", "[0x10000000, 0x20000000] -> [0x10000000, 0x40000000]"),
    "lockout.trial": ('"2m"', '"1m" -> "2m"'),
    "lockout.keep": ('"48h"', '"1d" -> "2d"'),
    "lockout.admins": ('["anna"]', '["root", "%sudo", "%wheel"] -> ["anna"]'),
    "lockout.rehearse": ("false", "true -> false"),
    "lockout.history": ('"1d"', '"30d" -> "1d"'),
    "guard.enabled": ("false", "true -> false"),
    "guard.mode": ('"observe"', '"enforce" -> "observe"'),
    "guard.sources": ('["journal"]', '"auto" -> ["journal"]'),
    "guard.never_ban": ('["192.0.2.9"]', '[] -> ["192.0.2.9"]'),
    "guard.units": ('["sshd.service"]', '["ssh.service", "sshd.service"] -> ["sshd.service"]'),
    "guard.patience": ("3", "5 -> 3"),
    "guard.detect.burst": ('"3 per 10m"', '"5 per 10m" -> "3 per 10m"'),
    "guard.detect.slow": ('"off"', '"10 per 1d" -> "off"'),
    "guard.detect.names": ('"off"', '"4 per 1h" -> "off"'),
    "guard.detect.root": ('"off"', '"3 per 10m" -> "off"'),
    "guard.detect.noise": ('"off"', '"30 per 10m" -> "off"'),
    "guard.detect.penalty": ('"off"', '"2 per 10m" -> "off"'),
    "guard.max_sources": ("1000", "200000 -> 1000"),
    "guard.max_open": ("100", "10000 -> 100"),
    "bans.steps": ('["10m", "forever"]', '["10m", "1h", "1d", "7d", "30d"] -> ["10m", "forever"]'),
    "bans.forget": ('"7d"', '"30d" -> "7d"'),
    "bans.jitter": ("0", "10 -> 0"),
    "bans.scope": ('"host"', '"ssh" -> "host"'),
    "bans.manual.for": ('"1d"', '"forever" -> "1d"'),
    "bans.manual.scope": ('"ssh"', '"host" -> "ssh"'),
    "bans.cut": ("false", "true -> false"),
    "bans.widen.sources": ("8", "4 -> 8"),
    "bans.widen.within": ('"2d"', '"1d" -> "2d"'),
    "bans.widen.v4": ("25", "24 -> 25"),
    "bans.widen.v6": ("48", "56 -> 48"),
    "bans.notify": ('["/usr/local/sbin/on-ban"]', '[] -> ["/usr/local/sbin/on-ban"]'),
    "bans.notify_rate": ('"off"', '"60 per 1h" -> "off"'),
    "bans.max": ("1000", "1000000 -> 1000"),
    "store.events": ('"30d"', '"90d" -> "30d"'),
    "store.logins": ('"30d"', '"400d" -> "30d"'),
    "store.size": ('"1GB"', '"500MB" -> "1GB"'),
    "store.users": ('"none"', '"known" -> "none"'),
    "alerts.break_in": ('"digest"', 'true -> "digest"'),
    "alerts.blind": ("false", "true -> false"),
    "alerts.strain": ("false", "true -> false"),
    "alerts.reverted": ("false", "true -> false"),
    "alerts.refused": ("false", "true -> false"),
    "alerts.new_network": ("true", "false -> true"),
    "alerts.group_for": ('"10m"', '"5m" -> "10m"'),
    "alerts.at_most": ('"off"', '"3 per 1h" -> "off"'),
    "alerts.quiet": ('"22:00-07:00"', '"" -> "22:00-07:00"'),
    "digest.every": ('"daily"', '"off" -> "daily"'),
    "digest.at": ('"08:00"', '"07:00" -> "08:00"'),
    "digest.to": ('["ops@example.net"]', '[] -> ["ops@example.net"]'),
    "metrics.textfile": ('"/a.prom"', '"" -> "/a.prom"'),
    "metrics.listen": ('"127.0.0.1:9911"', '"" -> "127.0.0.1:9911"'),
    "control.group": ('"adm"', '"quietgate" -> "adm"'),
}
WEB = '[[firewall.rule]]\nname = "web"\nports = [80]\n'
HOOK = '[[alerts.route]]\nto = "webhook"\nurl = "https://hooks.example.net/T0/s3cret"\n'


def policy(text: str) -> Policy:
    loaded = load([File("/etc/quietgate/quietgate.toml", text.encode())])
    assert loaded.problems == (), loaded.problems
    return loaded.policy


def said(old: str, new: str) -> list[str]:
    return [str(c) for c in changes(policy(old), policy(new))]


def test_every_setting_has_a_case() -> None:
    assert set(CASES) == {s.path for s in schema.SETTINGS} - {"version"}


@pytest.mark.parametrize("path", CASES)
def test_a_changed_setting_is_said_in_the_words_of_the_policy(path: str) -> None:
    value, words = CASES[path]
    new = policy(f"{path} = {value}\n")
    assert said("", f"{path} = {value}\n") == [f"{path}: {words}"]
    (change,) = changes(policy(""), new)
    assert policy(f"{path} = {change.new}\n").meaning == new.meaning, "what is said can be written"
    assert policy(f"{path} = {change.old}\n").meaning == policy("").meaning
    assert departures(new) == ((path, change.new),)


def test_a_default_that_is_spelled_out_and_another_place_are_no_change() -> None:
    assert said("", '[ssh]\nlimit = "5 per 60s"\n[firewall]\ndeny = []\n') == []
    assert said('[ssh]\ntrusted = ["192.0.2.1", "192.0.2.2"]\n', '\n\n[ssh]\ntrusted = ["192.0.2.2", "192.0.2.1"]\n') == []


def test_of_a_long_list_only_what_came_and_what_went_is_said() -> None:
    old = [f"192.0.2.{n}" for n in range(1, 12)]
    new = [*old[1:], "192.0.2.99"]
    (line,) = said(f"[firewall]\ndeny = {old}\n", f"[firewall]\ndeny = {new}\n")
    assert line == 'firewall.deny: + "192.0.2.99" - "192.0.2.1"'
    (change,) = changes(policy(f"[firewall]\ndeny = {old}\n"), policy(f"[firewall]\ndeny = {new}\n"))
    assert change.new is not None
    assert change.new.count(",") == 10, "a program gets all of it"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", WEB, ['firewall.rule.web: none -> { ports = [80], action = "accept" }']),
        (WEB, "", ['firewall.rule.web: { ports = [80], action = "accept" } -> none']),
        (WEB, WEB.replace("[80]", '[80, "8000-8010"]'), ['firewall.rule.web.ports: [80] -> [80, "8000-8010"]']),
        (WEB, WEB.replace("ports = [80]\n", ""), ["firewall.rule.web.ports: [80] -> none"]),
        (WEB, f'{WEB}action = "rate"\nrate = "9 per 1s"\n',
         ['firewall.rule.web.action: "accept" -> "rate"', 'firewall.rule.web.rate: "off" -> "9 per 1s"']),
        (WEB, f'{WEB}from = ["192.0.2.1"]\n', ['firewall.rule.web.from: ["anywhere"] -> ["192.0.2.1"]']),
        (WEB, f'{WEB}protocol = "any"\n'.replace("ports = [80]\n", ""),
         ['firewall.rule.web.protocol: "tcp" -> "any"', "firewall.rule.web.ports: [80] -> none"]),
        (WEB + WEB.replace("web", "b"), WEB.replace("web", "b") + WEB, ['order of firewall.rule: ["web", "b"] -> ["b", "web"]']),
        ("", HOOK, ['alerts.route.1: none -> { to = "webhook", url = "https://hooks.example.net/...", severity = "page" }']),
        (HOOK, f'{HOOK}severity = "all"\n', ['alerts.route.1.severity: "page" -> "all"']),
        (HOOK, HOOK.replace("s3cret", "an0ther"), ['alerts.route.1.url: "https://hooks.example.net/..." (not shown: it may be a secret) -> another']),
        (HOOK, '[[alerts.route]]\nto = "mail"\nurl = "ops@example.net"\n',
         ['alerts.route.1.to: "webhook" -> "mail"', 'alerts.route.1.url: "https://hooks.example.net/..." -> "ops@example.net"']),
    ],
)  # fmt: skip
def test_rules_and_routes(old: str, new: str, words: list[str]) -> None:
    assert said(old, new) == words
    assert "s3cret" not in "".join(words)
