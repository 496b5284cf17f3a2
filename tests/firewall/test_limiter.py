"""The limiter's rules: what must hold of them whatever the settings. The kernel's part is in tests/kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.firewall import rules as r
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.evaluate import Decision, Memory, Packet, decide
from quietgate.firewall.limiter import Door
from quietgate.firewall.places import Places, keys
from quietgate.net import SINGLY, Counting, PrefixSet, parse_address
from quietgate.policy.load import load
from quietgate.values import File


def compiled(ssh: str, *, bound: bool = False) -> r.Ruleset:
    loaded = load([File("p", f"[ssh]\n{ssh}\n".encode())])
    assert not loaded.problems, loaded.problems
    return compile_policy(loaded.policy, Facts(Door((22,), bound), {}))


def parts(chain: r.Chain) -> list[r.Part]:
    return [part for rule in chain.rules for part in rule.parts]


def chains(ruleset: r.Ruleset, start: str) -> list[r.Chain]:
    return [c for c in ruleset.chains if c.name.startswith(start)]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 32),
    window=st.integers(1, 86400),
    source4=st.integers(8, 32),
    source6=st.integers(16, 128),
    strict=st.booleans(),
    on_full=st.sampled_from(["drop", "30 per 1s"]),
    wide6=st.sampled_from(["off", "20 per 60s"]),
    bound=st.booleans(),
)
def test_for_any_settings(
    count: int, window: int, source4: int, source6: int, *, strict: bool, on_full: str, wide6: str, bound: bool
) -> None:
    ssh = f'limit = "{count} per {window}s"\nsource4 = {source4}\nsource6 = {source6}\nstrict = {str(strict).lower()}\n'
    ruleset = compiled(ssh + f'on_full = "{on_full}"\nwide6 = "{wide6}"\nslots = 100\n', bound=bound)

    slots = [s for s in ruleset.state_sets if s.name.startswith("slot")]
    assert len(slots) == 2 * count, "N slots hold N connections"
    assert {(s.timeout, s.size) for s in slots} == {(window, 100)}, "each for one window"

    there = {c.name for c in ruleset.chains}
    held = {s.name for s in ruleset.state_sets}
    counted = {name for name, _ in ruleset.counters}
    for chain in ruleset.chains:
        for part in parts(chain):
            if isinstance(part, r.Goto | r.Jump):
                assert part.chain in there
            if isinstance(part, r.Take) or (isinstance(part, r.InSet) and part.shared):
                assert part.name in held
            if isinstance(part, r.Count):
                assert part.name in counted

    for chain in chains(ruleset, "ssh_gate"):
        assert not any(isinstance(p, r.Take | r.Settle) for p in parts(chain)), "a SYN can be forged: it only looks"
        assert isinstance(chain.rules[-1].parts[-1], r.Goto), "who finds no free slot goes on to be refused"
    for chain in chains(ruleset, "ssh_count"):
        taken = [p.name for p in parts(chain) if isinstance(p, r.Take) and p.name.startswith("slot")]
        assert len(set(taken)) == len(taken), "each slot is tried once"
    for chain in chains(ruleset, "ssh_count4"):
        assert len([p for p in parts(chain) if isinstance(p, r.Take) and p.once]) == count


def test_off_leaves_the_door_and_no_slots() -> None:
    ruleset = compiled('limit = "off"\nreserve = 0')
    assert [c.name for c in chains(ruleset, "ssh_")] == ["ssh_syn"]
    assert not [s for s in ruleset.state_sets if s.name.startswith(("slot", "said", "wide"))]
    assert ruleset.buckets == ()


def test_without_a_limit_the_reserve_holds_and_nobody_is_counted() -> None:
    ruleset = compiled('limit = "off"')
    assert "waiting_6_125" in {p.name for p in parts(ruleset.chain("ssh_take")) if isinstance(p, r.Place)}
    assert not [s for s in ruleset.state_sets if s.name.startswith(("slot", "wide", "knownrate"))]


@settings(max_examples=100, deadline=None)
@given(begin=st.integers(1, 2000), grace=st.integers(0, 3600), reserve=st.integers(1, 90))
def test_strangers_never_have_more_than_their_share_of_places_and_never_none(begin: int, grace: int, reserve: int) -> None:
    loaded = load([File("p", f"[ssh]\nreserve = {reserve}\n".encode())])
    places = Door((22,), bound=False, begin=begin, grace=grace).places(loaded.policy.ssh)
    assert places is not None
    assert 1 <= places.count <= max(1, begin * (100 - reserve) / 100)
    assert places.grace > grace


def test_who_is_refused_gives_back_what_this_turn_took_and_nothing_else() -> None:
    refuse = compiled("").chain("ssh_refuse").rules[0]
    assert [type(p) for p in refuse.parts] == [r.Waits, r.Jump], "an earlier turn's place stays"
    count = [rule.id for rule in compiled("").chain("ssh_count").rules]
    assert count.index("ssh.held") < count.index("ssh.fresh") < count.index("ssh.known4")


def test_everything_taken_on_the_way_is_given_back_by_both_ends() -> None:
    ruleset = compiled("")
    taken = {
        p.name
        for c in chains(ruleset, "ssh_")
        for p in parts(c)
        if isinstance(p, r.Place) and not p.name.startswith(("rejoined", "reopened", "refused"))
    }
    named = {p.name for c in ruleset.chains for p in parts(c) if isinstance(p, r.Take) and p.name.startswith(("share", "own"))}
    for end in ("ssh_end", "ssh_undo"):
        assert {p.name for p in parts(ruleset.chain(end)) if isinstance(p, r.Leave)} == taken
        assert {p.name for p in parts(ruleset.chain(end)) if isinstance(p, r.Free)} == named


@pytest.mark.parametrize(("begin", "reserve", "places", "share", "own"), [
    (10, 40, 6, 2, 2), (100, 40, 60, 8, 8), (1, 40, 1, 1, 1), (10, 90, 1, 1, 4), (2, 50, 1, 1, 1), (30, 40, 18, 6, 6),
])  # fmt: skip
def test_shares(begin: int, reserve: int, places: int, share: int, own: int) -> None:
    found = Places.of(reserve, begin, 120, Counting(32, 64))
    assert found is not None
    assert (found.count, found.share, found.own) == (places, share, own)


def test_a_network_is_never_smaller_than_a_source() -> None:
    assert Places.of(40, 10, 120, Counting(16, 40)).networks == Counting(16, 40)  # type: ignore[union-attr]
    assert Places.of(40, 10, 120, Counting(32, 128)).networks == Counting(24, 48)  # type: ignore[union-attr]


def test_known_sources_are_asked_about_when_their_handshake_is_proven_and_take_no_stranger_s_place() -> None:
    count = compiled("").chain("ssh_count")
    ids = [rule.id for rule in count.rules]
    assert ids.index("ssh.known4") < ids.index("ssh.spare4")
    assert not any(isinstance(p, r.Take) for c in chains(compiled(""), "ssh_syn") for p in parts(c)), "forged SYNs empty no bucket"
    assert "ssh_known4" not in {c.name for c in compiled('known = "off"').chains}


def test_observed_nothing_is_dropped_at_the_ssh_ports() -> None:
    enforced, observed = compiled(""), compiled('mode = "observe"\nfrom = ["192.0.2.0/24"]\nstrict = true')

    def refusing(ruleset: r.Ruleset) -> list[str]:
        return [
            rule.id
            for c in ruleset.chains
            for rule in c.rules
            if rule.id.startswith(("ssh.", "ban.ssh")) and any(isinstance(p, r.Drop | r.Reject) for p in rule.parts)
        ]

    assert refusing(observed) == []
    assert len(refusing(enforced)) > 8


def test_strict_extends_the_block_and_nothing_else_does() -> None:
    def extends(ruleset: r.Ruleset) -> list[r.Take]:
        return [p for c in ruleset.chains for p in parts(c) if isinstance(p, r.Take) and p.update and p.name.startswith("slot")]

    assert extends(compiled("")) == []
    assert len(extends(compiled('strict = true\nlimit = "2 per 60s"'))) == 2 * 3, "for IPv4, IPv6 networks, IPv6 singly"


def test_a_bound_listener_is_not_asked_by_socket() -> None:
    def sockets(*, bound: bool) -> list[bool]:
        ruleset = compiled("", bound=bound)
        return [p.wildcard for p in parts(ruleset.chain("in")) if isinstance(p, r.Socket)]

    assert sockets(bound=False) == [True, False]
    assert sockets(bound=True) == []


@pytest.mark.parametrize(
    ("wide6", "source6", "there"), [("20 per 60s", 64, True), ("off", 64, False), ("20 per 60s", 48, False), ("20 per 60s", 56, True)]
)
def test_the_limit_of_a_48_stands_only_where_sources_are_smaller(wide6: str, source6: int, *, there: bool) -> None:
    ruleset = compiled(f'wide6 = "{wide6}"\nsource6 = {source6}')
    assert bool([s for s in ruleset.state_sets if s.name.startswith("wide6")]) == there
    assert any(rule.id == "ssh.wide6" for c in ruleset.chains for rule in c.rules) == there


def test_a_log_line_is_limited_for_each_source_and_in_all() -> None:
    ruleset = compiled('log.rate = "7 per 1m"')
    (bucket,) = ruleset.buckets
    assert (bucket[1].count, bucket[1].window) == (7, 60)
    for chain in ruleset.chains:
        for rule in chain.rules:
            if any(isinstance(p, r.Log) for p in rule.parts):
                said = next(p for p in rule.parts if isinstance(p, r.Take))
                assert said.once
                assert any(isinstance(p, r.Bucket) for p in rule.parts)
    assert not [p for c in compiled('log.rate = "off"').chains for p in parts(c) if isinstance(p, r.Log)]


def test_ways_to_count_share_out_the_addresses() -> None:
    four, singly, network = keys(Counting(24, 56))
    assert (four[2].length, singly[2].length, network[2].length) == (24, 128, 56)
    assert singly[1] == (r.Address(6, "saddr", SINGLY),)
    assert network[1] == (r.Address(6, "saddr", SINGLY, absent=True),)
    assert len(keys(Counting(32, 128))) == 2, "with /128 every address counts singly anyway"


# -- what is settled


def packet(flags: str = "ack", **more: object) -> Packet:
    here, there = parse_address("198.51.100.7"), parse_address("192.0.2.1")
    kernel: dict[str, object] = {"tracked": "established", "assured": True, "expires": 400000.0, "socket": "full", "iif": "eth0", **more}
    return Packet(there, here, 6, 40000, 22, frozenset(flags.split()), **kernel)  # type: ignore[arg-type]


def met(p: Packet, memory: Memory | None = None, *, bound: bool = False) -> Decision:
    memory = memory or Memory()
    memory.nets = {f"bannet_{scope}{version}": PrefixSet() for scope in ("ssh", "host") for version in (4, 6)}
    return decide(compiled("", bound=bound), p, memory)


def test_what_bears_no_label_is_counted_and_what_bears_it_is_not() -> None:
    assert met(packet()).counted == ["ssh_counted"]
    assert met(packet()).settled
    assert met(packet(settled=True)).counted == []
    assert met(packet(assured=False)).rule.id == "ssh.unproven"


def test_an_entry_in_which_a_connection_begins_anew_is_counted_again() -> None:
    memory = Memory()
    closing: Any = {"settled": True, "expires": 8.0, "socket": "none"}
    assert met(packet("syn", **closing), memory).rule.id == "ssh.reopen"
    assert met(packet(**closing), memory).counted == ["ssh_counted"]
    assert met(packet(settled=True), memory).counted == [], "once"
    assert met(packet("syn", **closing), Memory(full={"reopened"})).verdict == "drop"


def test_who_was_refused_is_dropped_until_a_syn_of_his_is_let_in() -> None:
    him = (4, parse_address("192.0.2.1").value)
    memory = Memory(sets={s.name: {him} for s in compiled("").state_sets if s.name.startswith("slot")})
    assert met(packet(), memory).verdict == "reset"
    assert met(packet(), memory).rule.id == "ssh.over"
    memory.sets.clear()
    assert met(packet("syn", expires=8.0, socket="none"), memory).verdict == "accept"
    assert met(packet(), memory).counted == ["ssh_counted"]


def test_by_loopback_only_this_host_s_own_addresses_pass_unasked() -> None:
    assert met(packet("syn", iif="lo", own=True, tracked="new")).rule.id == "loopback"
    assert met(packet("syn", iif="lo", tracked="new", expires=None)).rule.id == "ssh.pending"
    assert met(replace(packet("syn", iif="lo", tracked="new"), dport=80)).rule.id == "in.lo.tcp"


def test_behind_a_bound_listener_a_session_is_known_by_its_ends_while_it_is_open() -> None:
    memory = Memory()
    assert met(packet(), memory, bound=True).counted == ["ssh_counted"]
    lost = packet(tracked="invalid", expires=None, socket="bound")
    assert met(lost, memory, bound=True).rule.id == "ssh.live4"
    assert met(packet("syn", tracked="new", expires=None), memory, bound=True).rule.id == "ssh.reused4"
    assert met(packet("rst", settled=True), memory, bound=True).rule.id == "ssh.stays4", "a place is held: sshd shall close itself"
    memory.forget("sitting4_6_125", packet(), back=False)  # he has logged in
    assert met(packet("rst", expires=8.0, settled=True), memory, bound=True).rule.id == "ssh.abort"
    assert met(lost, memory, bound=True).rule.id == "ssh.unknown"


def test_a_client_s_reset_ends_nothing_by_itself_while_a_place_is_held() -> None:
    memory = Memory()
    assert met(packet(), memory).counted == ["ssh_counted"]
    assert len(memory.places) == 2, "the place, and the token of its network"
    met(packet("rst ack", settled=True), memory)
    assert met(packet("rst ack", settled=True), memory).passed[:1] == ["ssh.gone4"]
    assert len(memory.places) == 2
    assert memory.sets["share4_1_6_125_24"]


def test_who_is_over_the_limit_or_the_share_has_not_taken_a_place_for_a_moment() -> None:
    """The kernel counts a place for a while that was given back at once."""
    ruleset = compiled("")
    taking = {c.name for c in ruleset.chains for p in parts(c) if isinstance(p, r.Place) and p.name.startswith("waiting")}
    assert taking == {"ssh_take"}
    assert {c.name for c in ruleset.chains for p in parts(c) if isinstance(p, r.Goto) and p.chain == "ssh_take"} == {"ssh_share"}
    assert {c.name for c in ruleset.chains for p in parts(c) if isinstance(p, r.Goto) and p.chain == "ssh_share"} == {
        "ssh_spare4", "ssh_spare6", "ssh_spare6x"
    }  # fmt: skip
