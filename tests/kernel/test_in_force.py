"""`why`, `doctor` and `diff` answer for what decides in the kernel, whatever stands on the disk, and say what `up` would change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.containers import INSIDE, PUBLISHED, SERVED, Docker
from tests.kernel.lab import QUIETGATE, SERVER4, Pair
from tests.kernel.test_containers import DROP, RULE, box, published  # noqa: F401  a fixture

pytestmark = pytest.mark.long

ENEMY, FRIEND, STRANGER = "198.19.5.1", "198.19.5.2", "198.19.1.1"
DENY = f'[firewall]\ndeny = ["{ENEMY}"]\n'
BROKEN = '[ssh]\nlimit = "9/min"\n'


def why(pair: Pair, *words: str) -> tuple[str, dict[str, Any]]:
    """The first line without the address, and the JSON form."""
    found: dict[str, Any] = json.loads(pair.quietgate("why", *words, "--json"))
    return pair.quietgate("why", *words).splitlines()[0].partition(": ")[2], found


def test_why_answers_for_what_is_in_force_and_says_what_up_would_change(pair: Pair) -> None:
    pair.sshd()
    pair.up(DENY)
    pair.policy("")
    first, found = why(pair, ENEMY)
    assert first == "is dropped, by rule in.deny4 in input"
    assert not pair.client.banner(ENEMY, SERVER4, timeout=0.3)
    assert (found["verdict"], found["certain"], found["policy_differs"], found["generation"]) == ("drop", True, True, 1)
    assert found["after_up"]["verdict"] == "accept"
    assert "after `quietgate up`, with the policy on disk: our rules let it in, by rule" in pair.quietgate("why", ENEMY)
    assert "would decide the same here" in pair.quietgate("why", FRIEND)


@pytest.mark.parametrize("broken", [BROKEN, None])
def test_with_a_broken_or_missing_policy_all_three_answer(pair: Pair, broken: str | None) -> None:
    pair.sshd()
    pair.server.nft("table inet other {\n chain c { type filter hook input priority 5; policy drop;\n tcp dport 80 accept\n }\n }\n")
    pair.policy(DENY)
    pair.quietgate("up", "--now")
    file = pair.root / "etc/quietgate/quietgate.toml"
    if broken is None:
        file.unlink()
        mistake, remedy = "quietgate.toml: there is no policy", "quietgate init"
    else:
        pair.policy(broken)
        mistake, remedy = "quietgate.toml:2: ssh.limit", 'write it like "5 per 60s"'
    first, found = why(pair, ENEMY)
    assert first == "is dropped, by rule in.deny4 in input"
    assert mistake in found["policy_error"]
    said = pair.quietgate("why", ENEMY)
    assert len([x for x in said.splitlines() if mistake in x and remedy in x]) == 1

    findings = json.loads(pair.quietgate("doctor", "--json", expect=1))["findings"]
    assert mistake in findings[0]["what"]
    assert (findings[0]["id"], findings[0]["severity"]) == ("policy", "problem")
    assert "closed-by-other" in {f["id"] for f in findings}, "and what it found else"

    said = pair.quietgate("diff", expect=2)
    assert mistake in said
    assert f'firewall.deny = ["{ENEMY}"]' in said
    form = json.loads(pair.run("diff", "--json").stdout)
    assert form["in_force"] == [{"key": "firewall.deny", "value": f'["{ENEMY}"]'}]
    assert (form["up"], len(form["problems"])) == (True, 0 if broken is None else 1)
    pair.quietgate("down")
    for command in (("why", ENEMY), ("doctor",), ("diff",)):
        assert mistake in pair.quietgate(*command, expect=2), "nothing is in force, and nothing on disk to answer for"


def test_with_nothing_in_force_the_policy_on_disk_answers_and_says_so(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", FRIEND)
    pair.quietgate("down")
    pair.policy(DENY)
    first, found = why(pair, ENEMY)
    assert first == "quietgate is down, and nothing of ours decides; after `quietgate up` our rules drop it, by rule in.deny4 in input"
    assert (found["up"], found["certain"]) == (False, False)
    assert why(pair, FRIEND)[1]["verdict"] == "drop", "the ban will be in force again"
    assert pair.run("doctor").stdout.startswith("quietgate is down: this goes by the policy on disk")


def test_during_a_trial_the_candidate_answers(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.policy(DENY)
    pair.quietgate("up", "--trial", "60s", "--detach")
    first, found = why(pair, ENEMY)
    assert first.startswith("is dropped, by rule in.deny4")
    assert (found["trial"], found["generation"]) == (True, 2)
    assert "generation 2 is on trial" in pair.quietgate("diff")
    pair.quietgate("revert")
    first, found = why(pair, ENEMY)
    assert (first.startswith("is let in"), found["trial"], found["after_up"]["verdict"]) == (True, False, "drop")


def test_doctor_says_what_up_would_change(pair: Pair) -> None:
    pair.sshd()
    pair.server.nft("table inet other {\n chain c { type filter hook input priority 5; policy drop;\n tcp dport 22 accept\n }\n }\n")
    pair.up("")
    pair.policy('[[firewall.rule]]\nname = "web"\nports = [80]\n')
    found = json.loads(pair.quietgate("doctor", "--json"))
    assert not any("port 80" in f["what"] for f in found["findings"])
    assert any("port 80" in f["what"] for f in found["after_up"]["new"])
    assert "after `quietgate up` also:" in pair.quietgate("doctor")


def test_a_ban_goes_by_the_sources_of_what_is_in_force(pair: Pair) -> None:
    """By the policy on disk it would go into a set that is not there."""
    pair.up("")
    pair.policy("[ssh]\nsource4 = 24\n")
    pair.quietgate("ban", FRIEND)
    assert pair.client.connect(FRIEND, SERVER4, 8000, timeout=0.02) is None
    assert why(pair, FRIEND)[1]["verdict"] == "drop"
    assert why(pair, ENEMY)[1]["verdict"] == "accept"


# -- what `why` knows


def as_nobody(pair: Pair, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command on the server by a user who is not root, and may look at the policy."""
    for place in (pair.root, *pair.root.parents):
        if place != Path("/tmp") and Path("/tmp") in place.parents:
            place.chmod(place.stat().st_mode | 0o055)
    full = ["ip", "netns", "exec", pair.server.name, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            str(QUIETGATE.with_name(program)), "--root", str(pair.root), *words]  # fmt: skip
    return subprocess.run(full, capture_output=True, text=True, check=False, timeout=60)


def test_is_let_in_is_said_only_where_it_is_known(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    first, found = why(pair, STRANGER)
    assert (first.startswith("is let in, by rule"), found["certain"], found["not_looked_at"]) == (True, True, [])
    assert pair.client.banner(STRANGER, SERVER4)

    first, found = why(pair, STRANGER, "--port", "8000")
    assert first == "our rules let it in, by rule in.default in input, and nothing listens there"
    assert found["listening"] is False

    pair.server.nft(
        "table inet filter {\n chain ufw-input { type filter hook input priority 5; policy drop;\n tcp dport 80 accept\n }\n }\n"
    )
    first, found = why(pair, STRANGER)
    assert first.startswith("our rules let it in, by rule")
    assert first.endswith("; not looked at: table inet filter of ufw, which drops what it does not accept")
    assert (found["certain"], len(found["not_looked_at"])) == (False, 1)
    assert not pair.client.banner(STRANGER, SERVER4, timeout=0.3)
    said = pair.quietgate("why", STRANGER, "--prove").splitlines()[0]
    assert "; another tool's table inet filter: " in said
    assert said.endswith(" shuts it out")
    pair.quietgate("ban", STRANGER)
    assert why(pair, STRANGER)[0].startswith("is dropped, by rule ban.host4"), "no other table changes that"


def test_a_table_that_cannot_drop_is_no_doubt(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.server.nft("table inet count {\n chain c { type filter hook input priority 5;\n tcp dport 22 counter accept\n }\n }\n"
                    "table ip6 six {\n chain c { type filter hook input priority 5; policy drop;\n }\n }\n")  # fmt: skip
    assert why(pair, STRANGER)[0].startswith("is let in")
    assert not why(pair, "2001:db8:100:7::1")[0].startswith("is let in")


def test_a_table_of_ours_that_somebody_changed_is_a_doubt(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.server.sh("nft", "insert", "rule", "inet", "quietgate", "input", "drop")
    assert "; not looked at: what somebody changed in our table since it was loaded" in why(pair, STRANGER)[0]


def test_a_rate_that_may_be_used_up_is_a_doubt(pair: Pair) -> None:
    pair.up("")
    first, found = why(pair, STRANGER, "--protocol", "icmp")
    assert first.startswith("our rules let it in, by rule")
    assert "how much of its rate is used up" in found["not_looked_at"][0]


def test_without_root_nothing_is_claimed(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", STRANGER)
    said = as_nobody(pair, "quietgate", "why", STRANGER).stdout
    assert ": by the policy on disk our rules let it in, by rule" in said
    assert "not looked at: what is in force, our sets in the kernel, other tools' tables: that needs root" in said.splitlines()[0]
    assert "is let in" not in said


def test_the_interface_is_the_one_that_it_comes_in_by(pair: Pair) -> None:
    pair.server.sh("ip", "link", "add", "wan0", "type", "bridge")
    pair.server.sh("ip", "link", "set", "wan0", "up")
    pair.server.sh("ip", "route", "add", "203.0.113.0/24", "dev", "wan0", "src", SERVER4)
    pair.up('[[firewall.rule]]\nname = "wan"\ninterface = "wan0"\nports = [8000]\naction = "drop"\n')
    assert why(pair, "203.0.113.9", "--port", "8000")[1]["verdict"] == "drop"
    assert why(pair, STRANGER, "--port", "8000")[1]["verdict"] == "accept"


def test_a_published_port_is_forwarded_and_never_shut_out_by_input(pair: Pair, box: Docker) -> None:  # noqa: F811
    """The page is served, though the input default drops: NAT comes before it."""
    pair.up('[firewall]\ndefault = "drop"\n')
    assert published(pair)
    first, found = why(pair, STRANGER, "--port", str(PUBLISHED))
    assert first.startswith(f"NAT sends it on to {INSIDE}:{SERVED}, and our forward rules let it through, by rule fwd.default in forward")
    assert "table ip filter of Docker" in first
    assert found["sent_on"] == {"address": INSIDE, "port": SERVED, "sure": True}
    said = pair.quietgate("why", STRANGER, "--port", str(PUBLISHED), "--prove")
    assert f"proved with a real packet in a copy of this host: NAT sent it on to {INSIDE}:{SERVED}, and it was let through" in said
    assert "shut out" not in said
    assert why(pair, STRANGER, "--port", "9999")[0].startswith("is dropped, by rule in.default in input"), "another port stays here"


def test_a_published_port_that_our_forward_rules_close(pair: Pair, box: Docker) -> None:  # noqa: F811
    pair.up(DROP)
    assert not published(pair)
    first, _ = why(pair, STRANGER, "--port", str(PUBLISHED))
    assert first.startswith(f"NAT sends it on to {INSIDE}:{SERVED}, and our forward rules drop it, by rule fwd.default in forward")
    said = pair.quietgate("why", STRANGER, "--port", str(PUBLISHED), "--prove")
    assert f"NAT sent it on to {INSIDE}:{SERVED}, and it was shut out by rule fwd.default" in said
    pair.up(DROP + RULE)
    assert published(pair)
    said = pair.quietgate("why", STRANGER, "--port", str(PUBLISHED), "--prove")
    assert f"NAT sent it on to {INSIDE}:{SERVED}, and it was let through" in said
    pair.server.sh("iptables-nft", "-I", "DOCKER-USER", "-s", STRANGER, "-j", "DROP")
    assert not published(pair)
    said = pair.quietgate("why", STRANGER, "--port", str(PUBLISHED), "--prove")
    assert "another tool's table ip filter" in said.splitlines()[0]


def test_nat_that_cannot_be_read_is_a_doubt_about_input(pair: Pair) -> None:
    pair.sshd()
    pair.up('[firewall]\ndefault = "drop"\n')
    pair.server.nft("table ip n {\n chain c { type nat hook prerouting priority -100;\n tcp dport 8000 redirect to :22\n }\n }\n")
    assert pair.client.banner(STRANGER, SERVER4, 8000)
    first, _ = why(pair, STRANGER, "--port", "8000")
    assert first.startswith("our rules drop it, by rule in.default in input; not looked at: where NAT sends it: a rule of table ip n")
    said = pair.quietgate("why", STRANGER, "--port", "8000", "--prove")
    assert "not proved: NAT may send it elsewhere" in said
    assert "shut out" not in said


# -- diff


def test_diff_says_which_settings_change_and_the_rules_only_when_asked(pair: Pair) -> None:
    pair.up("")
    pair.policy('[ssh]\nlimit = "10 per 60s"\n')
    said = pair.quietgate("diff", expect=5)
    assert 'ssh.limit: "5 per 1m" -> "10 per 1m"' in said
    assert "nobody gains or loses access" in said
    assert "nft" not in said.replace("quietgate diff --nft", "")
    assert "set slot" not in said
    assert "\n  + " in pair.quietgate("diff", "--nft", expect=5)
    form = json.loads(pair.quietgate("diff", "--json", expect=5))
    assert form["settings"] == [{"key": "ssh.limit", "old": '"5 per 1m"', "new": '"10 per 1m"'}]
    assert form["changes"]


def test_what_the_guard_alone_obeys_is_a_difference_and_up_names_it(pair: Pair) -> None:
    pair.up("")
    pair.policy('[guard.detect]\nroot = "off"\n[[alerts.route]]\nto = "mail"\nurl = "ops@example.net"\n')
    said = pair.quietgate("diff", expect=5)
    assert 'guard.detect.root: "3 per 10m" -> "off"' in said
    assert 'alerts.route.1: none -> { to = "mail", url = "ops@example.net", severity = "page" }' in said
    assert "--nft" not in said, "no rule differs"
    said = pair.quietgate("up", "--now")
    assert 'guard.detect.root: "3 per 10m" -> "off"' in said
    assert "no difference" in pair.quietgate("diff")


def test_sshd_that_moved_is_said_though_no_setting_changed(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up("")
    sshd.move(2222)
    assert "sshd's ports: 22 -> 22, 2222" in pair.quietgate("diff", expect=5)
    assert why(pair, STRANGER, "--port", "22")[1]["rule"] != "in.default", "the rules in force still guard the old port"
    assert why(pair, STRANGER, "--port", "2222")[1]["rule"] == "in.default"
