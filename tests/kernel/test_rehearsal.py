"""The rehearsal is right: about candidates it never saw, about who would lose what, and without namespaces too."""

from __future__ import annotations

import json
import random

import pytest

from tests.kernel.lab import SERVER4, Pair, sh
from tests.kernel.people import ADMIN, CLOSED, PAM, logged_in, target_of
from tests.kernel.test_lockout import remember

PEOPLE = ("198.19.0.30", "198.19.4.40", "198.19.9.50")
NETS = (
    "198.19.0.0/24",
    "198.19.4.0/24",
    "198.19.9.50",
    "198.19.0.0/16",
    "198.19.4.40",
    "203.0.113.0/24",
    "198.19.9.0/25",
    "198.19.128.0/17",
)


def candidate(dice: random.Random) -> tuple[str, str]:
    """A policy, and a table of another tool's ("" for none): drawn, not designed."""
    lines = ["[ssh]"]
    if dice.random() < 0.5:
        lines.append(f"from = {json.dumps(dice.sample(NETS, dice.randint(1, 4)))}")
    if dice.random() < 0.4:
        lines.append(f"trusted = {json.dumps(dice.sample(NETS, 1))}")
    lines.append(f'limit = "{dice.randint(1, 9)} per 1m"')
    lines += ["[firewall]", f'default = "{dice.choice(["accept", "drop"])}"', f'output = "{dice.choice(["accept", "drop"])}"']
    if "trusted" not in "".join(lines) and dice.random() < 0.4:
        lines.append(f"deny = {json.dumps(dice.sample(NETS, dice.randint(1, 2)))}")
    for n in range(dice.randint(0, 3)):
        action = dice.choice(["accept", "drop", "reject"])
        lines += ["[[firewall.rule]]", f'name = "r{n}"', f'action = "{action}"', f"ports = [{dice.choice([80, 443, 8080])}]",
                  f"from = {json.dumps(dice.sample(NETS, 1))}"]  # fmt: skip
    other = ""
    if dice.random() < 0.3:
        what = dice.choice(["tcp dport 22 drop", "tcp dport 80 drop", "ct state new reject", "tcp dport != 22 drop"])
        other = f"table inet other {{\n chain c {{ type filter hook input priority 5; policy accept;\n ip saddr {dice.choice(NETS)} {what}\n }}\n }}\n"
    return "\n".join(lines) + "\n", other


@pytest.mark.long
def test_ten_candidates_that_lock_out_and_ten_that_do_not(pair: Pair) -> None:
    pair.sshd()
    for person in PEOPLE:
        remember(pair, "someone", person)
    wanted = {True: 10, False: 10}
    seed = 0
    while any(wanted.values()):
        seed += 1
        assert seed < 400, "the draw is too one-sided"
        policy, other = candidate(random.Random(seed))
        if "deny" not in policy and "from" not in policy and not other and not wanted[False]:
            continue
        pair.server.sh("nft", "flush", "ruleset")
        pair.up("")
        if other:
            pair.server.nft(other)
        pair.policy(policy)
        if pair.run("check").returncode:
            continue  # deny and trusted overlap: that is refused before any rehearsal
        said = pair.run("up", "--now")
        assert said.returncode in (0, 4), said.stderr
        if said.returncode == 4:
            pair.quietgate("up", "--force", "--detach", "--trial", "1h")
        locked_out = [p for p in PEOPLE if not pair.client.banner(p, SERVER4, timeout=0.4)]
        assert (said.returncode == 4) == bool(locked_out), f"seed {seed}: locked out are {locked_out}\n{policy}{other}\n{said.stderr}"
        for person in locked_out:
            assert person in said.stderr, f"seed {seed}: {person} is not named\n{said.stderr}"
        wanted[bool(locked_out)] = max(0, wanted[bool(locked_out)] - 1)
        if said.returncode == 4:
            pair.quietgate("revert")


def test_the_rule_and_the_policy_s_line_are_named(pair: Pair) -> None:
    pair.sshd()
    remember(pair, "alice", "198.19.0.30")
    pair.up("")
    pair.policy('[ssh]\nlimit = "5 per 60s"\nfrom = ["203.0.113.0/24"]\n')
    said = pair.quietgate("up", "--now", expect=4)
    assert "rule ssh.from4 (" in said
    assert "quietgate.toml:3" in said


def test_where_no_namespace_can_be_made_the_evaluator_answers_and_says_so(pair: Pair) -> None:
    pair.sshd()
    remember(pair, "alice", "198.19.0.30")
    pair.up("")
    pair.policy('[ssh]\nfrom = ["203.0.113.0/24"]\n')
    keep = "cap_net_admin,cap_dac_override,cap_sys_ptrace,cap_dac_read_search,cap_setgid,cap_setuid,cap_chown,cap_fowner"
    words = ["setpriv", f"--bounding-set=-all,{','.join('+' + c.removeprefix('cap_') for c in keep.split(','))}"]
    from tests.kernel.lab import QUIETGATE

    command = " ".join([*words, str(QUIETGATE), "--root", str(pair.root), "up", "--now"])
    said = pair.server.sh("sh", "-c", f"{command} 2>&1; echo code $?")
    assert "tried with the evaluator" in said, said
    assert "code 4" in said
    pair.policy('[ssh]\nlimit = "7 per 1m"\n')
    said = pair.server.sh("sh", "-c", f"{command} 2>&1; echo code $?")
    assert "no namespace to rehearse in" in said
    assert "code 0" in said


def test_open_sessions_and_new_ones_over_both_ip_versions_are_proven(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    pair.up("")
    with logged_in(sshd), logged_in(sshd, "2001:db8:100:7::7"):
        pair.policy('[ssh]\nlimit = "9 per 1m"\n' + CLOSED)
        told = json.loads(pair.quietgate("up", "--now", "--json").splitlines()[0])["rehearsal"]
    assert told["method"] == "real connections"
    assert {(p["address"], p["session"]) for p in told["proven"]} >= {(ADMIN, True), ("2001:db8:100:7::7", True)}
    assert told["failed"] == []


def test_it_leaves_nothing_behind(pair: Pair) -> None:
    pair.sshd()
    remember(pair, "alice", "198.19.0.30")
    links, spaces = pair.server.sh("ip", "-br", "link"), named()
    pair.up("")
    assert pair.server.sh("ip", "-br", "link") == links
    assert named() <= spaces


def named() -> set[str]:
    """Namespaces with a name, without those of other tests beside this one."""
    return {line.split()[0] for line in sh("ip", "netns", "list").splitlines() if not line.startswith("qg")}


@pytest.mark.parametrize(("address", "verdict"), [("198.19.0.7", "let in"), ("198.19.5.5", "shut out"), ("2001:db8:100:7::1", "let in")])
def test_why_prove_tries_a_real_packet(pair: Pair, address: str, verdict: str) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.5.0/24", "--scope", "ssh")
    said = pair.quietgate("why", address, "--prove")
    assert f"proved with a real packet in a copy of this host: it was {verdict}" in said
    assert (verdict == "let in") == pair.client.banner(address, target_of(address), timeout=0.4)


def test_why_prove_says_when_another_table_drops_what_ours_let_in(pair: Pair) -> None:
    """The evaluator cannot know of it, the packet does."""
    pair.sshd()
    pair.up("")
    pair.server.nft("table inet other {\n chain c { type filter hook input priority 5;\n ip saddr 198.19.0.7 drop\n }\n }\n")
    assert "our rules let it in, but it was shut out by another tool's table inet other" in pair.quietgate("why", "198.19.0.7", "--prove")


def test_diff_says_who_gains_and_who_loses(pair: Pair) -> None:
    pair.sshd()
    pair.up('[ssh]\ntrusted = ["198.19.0.7"]\n')
    pair.policy('[ssh]\nfrom = ["198.19.0.0/24"]\n[firewall]\ndefault = "drop"\n[[firewall.rule]]\nname = "web"\nports = [80]\n')
    said = pair.quietgate("diff", expect=5)
    assert "everyone else over IPv4 loses: tcp 22: access within the limit -> no access" in said
    assert "198.19.0.7 (ssh.trusted) loses: tcp 22: access -> access within the limit" in said
    assert "everyone else over IPv6 loses: tcp ports that no rule names: access -> no access" in said
    assert "tcp 80" not in said.split("rule")[0], "who had it and keeps it is not named"
