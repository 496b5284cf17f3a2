"""Rules of other tools on the SSH port that shut strangers out, blind the limiter or limit twice: `up` refuses or warns, `doctor` names them."""

from __future__ import annotations

import json

import pytest

from tests.kernel.lab import SERVER4, Pair
from tests.kernel.people import ADMIN
from tests.kernel.test_lockout import remember
from tests.kernel.test_others_conntrack import SYNPROXY, hooked, synproxy

pytestmark = pytest.mark.long

STRANGER = "198.19.0.77"
LIMITED = "tcp dport 22 ct state new limit rate over 60/minute drop"


def findings(pair: Pair) -> dict[str, dict[str, str]]:
    done = pair.run("doctor", "--json")
    return {f["id"]: f for f in json.loads(done.stdout)["findings"] if f["id"].startswith("ssh-") or f["id"] == "blind"}


def iptables(pair: Pair, *words: str) -> None:
    pair.server.sh("iptables", *words)


# -- out of conntrack's sight: who is trusted gets in, strangers do not

HIDDEN = {
    "notrack": hooked(("prerouting", "raw", "tcp dport 22 notrack"), ("output", "raw", "tcp sport 22 notrack")),
    "notrack-all": hooked(("prerouting", "raw", "notrack"), ("output", "raw", "notrack")),
    "zone": hooked(("prerouting", "raw", "tcp dport 22 ct zone set 5")),
    "zone-out": hooked(("output", "raw", "ct zone set 5")),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_where_conntrack_sees_no_handshake_up_refuses_and_names_the_rule(pair: Pair, what: str) -> None:
    pair.sshd()
    pair.server.nft(HIDDEN[what])
    pair.policy(f'[ssh]\ntrusted = ["{ADMIN}"]\n')
    said = pair.quietgate("up", "--now", expect=4)
    kind = what.split("-", maxsplit=1)[0]
    assert "whoever ssh.from lets reach SSH" in said
    assert (
        f"since conntrack does not see the handshake (table inet other, chain {'output' if what == 'zone-out' else 'prerouting'}: {kind})"
        in said
    )
    pair.quietgate("up", "--force", "--detach", "--trial", "1h")
    assert not pair.client.banner(STRANGER, SERVER4, timeout=0.4), "as was foretold"
    assert pair.client.banner(ADMIN, SERVER4, timeout=0.4)
    found = findings(pair)[f"ssh-{kind}"]
    assert found["severity"] == "problem"
    pair.quietgate("revert")
    pair.server.sh("nft", "delete", "table", "inet", "other")
    pair.quietgate("up", "--now")
    assert pair.client.banner(STRANGER, SERVER4, timeout=0.4)
    assert not findings(pair)


def test_ct_of_iptables(pair: Pair) -> None:
    pair.sshd()
    iptables(pair, "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "-m", "multiport", "--dports", "22,80", "-j", "CT", "--notrack")
    pair.policy("")
    said = pair.quietgate("up", "--now", expect=4)
    assert (
        "since conntrack does not see the handshake (iptables raw PREROUTING: -A PREROUTING -p tcp -m multiport --dports 22,80 -j CT --notrack)"
        in said
    )


def test_a_zone_for_both_directions_harms_nobody(pair: Pair) -> None:
    pair.sshd()
    pair.server.nft(hooked(("prerouting", "raw", "ct zone set 5"), ("output", "raw", "ct zone set 5")))
    pair.up()
    assert [pair.client.banner(STRANGER, SERVER4, timeout=0.3) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not findings(pair)


def test_a_zone_made_for_one_direction_harms_nobody(pair: Pair) -> None:
    pair.sshd()
    pair.server.nft("table ip other {\n chain c { type filter hook prerouting priority raw;\n ct original zone set 5\n }\n }\n")
    pair.up()
    assert [pair.client.banner(STRANGER, SERVER4, timeout=0.3) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not findings(pair)


# -- SYNPROXY


def test_synproxy_before_ours_is_advice(pair: Pair) -> None:
    pair.sshd()
    synproxy(pair, -10)
    pair.up()
    assert findings(pair)["ssh-synproxy"]["severity"] == "advice"


def test_synproxy_after_ours_shuts_strangers_out_and_is_refused(pair: Pair) -> None:
    pair.sshd()
    synproxy(pair, 10)
    pair.policy("")
    said = pair.quietgate("up", "--now", expect=4)
    assert "(table inet other, chain input: synproxy); give its chain a priority below 0" in said
    pair.quietgate("up", "--force", "--detach", "--trial", "1h")
    assert not pair.client.banner(STRANGER, SERVER4, timeout=0.4), "as was foretold"
    assert findings(pair)["ssh-synproxy"]["severity"] == "problem"
    assert SYNPROXY in hooked(("input", "10", SYNPROXY))


# -- our label, and a second limit


def test_our_label_on_everything_is_named(pair: Pair) -> None:
    pair.sshd()
    pair.up()
    pair.server.nft(hooked(("output", "mangle", "ct label set 100")))
    assert all(pair.client.banner(STRANGER, SERVER4, timeout=0.3) for _ in range(8)), "the limit is blind"
    assert findings(pair)["ssh-label"]["severity"] == "problem"


SECOND = {
    "limit": hooked(("input", "5", LIMITED)),
    "meter": hooked(("input", "5", "tcp dport 22 ct state new meter m { ip saddr limit rate over 60/minute } drop")),
    "count": hooked(("input", "5", "tcp dport { 22, 80 } ct state new ct count over 60 drop")),
    "set": "table inet other {\n set s { type ipv4_addr; flags dynamic; size 9; }\n chain input { type filter hook input priority 5;\n"
    "tcp dport 22 ct state new add @s { ip saddr limit rate over 60/minute } drop\n }\n }\n",
}


@pytest.mark.parametrize("what", SECOND)
def test_a_second_limit_is_advice(pair: Pair, what: str) -> None:
    pair.sshd()
    pair.server.nft(SECOND[what])
    pair.up()
    assert findings(pair)["ssh-limit"]["severity"] == "advice"


def test_what_ufw_limit_writes_is_advice_with_its_command(pair: Pair) -> None:
    """The two lines of ufw's for `ufw limit ssh`, in its chain."""
    pair.sshd()
    iptables(pair, "-N", "ufw-user-input")
    iptables(pair, "-A", "INPUT", "-j", "ufw-user-input")
    new = ("-A", "ufw-user-input", "-p", "tcp", "--dport", "22", "-m", "conntrack", "--ctstate", "NEW", "-m", "recent")
    iptables(pair, *new, "--set")
    iptables(pair, *new, "--update", "--seconds", "30", "--hitcount", "6", "-j", "DROP")
    pair.up()
    found = findings(pair)["ssh-limit"]
    assert found["severity"] == "advice"
    assert found["remedy"] == "ufw delete limit 22/tcp && ufw allow 22/tcp"


def test_rules_about_something_else_are_no_findings(pair: Pair) -> None:
    pair.sshd()
    pair.server.nft(hooked(
        ("prerouting", "raw", 'udp dport 53 notrack\ntcp dport 80 notrack\niifname "lo" notrack\nmeta l4proto icmp notrack'),
        ("input", "5", "tcp dport 80 limit rate over 60/minute drop\nlimit rate 1/second log\ntcp dport 22 accept"),
        ("output", "5", "ct mark set 0x1")))  # fmt: skip
    iptables(pair, "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "22", "-j", "CT", "--notrack")
    iptables(
        pair,
        "-A",
        "INPUT",
        "-p",
        "tcp",
        "--dport",
        "443",
        "-m",
        "hashlimit",
        "--hashlimit-above",
        "5/sec",
        "--hashlimit-name",
        "x",
        "-j",
        "DROP",
    )
    pair.up()
    assert not findings(pair)


# -- strangers shut out by a rule that may be meant: said, and not refused


def test_strangers_whom_another_table_shuts_out_are_named(pair: Pair) -> None:
    pair.sshd()
    remember(pair, "alice", ADMIN)
    pair.server.nft(hooked(("input", "5", f"tcp dport 22 ip saddr != {ADMIN} drop")))
    pair.policy("")
    said = pair.quietgate("up", "--now")
    assert "strangers are shut out: 203.0.113.201 (port 22; whoever ssh.from lets reach SSH)" in said
    assert "another tool's table inet other" in said
