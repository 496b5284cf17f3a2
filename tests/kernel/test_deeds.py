"""The whole deeds: a ban that was acknowledged is kept, whoever opened the store first and whatever the clock does."""

from __future__ import annotations

import json

import pytest

from quietgate.bans.clock import follow
from quietgate.host.paths import Paths
from quietgate.state.database import Store
from tests.kernel.lab import Pair, wrong_clock


def banned(pair: Pair) -> set[str]:
    return {json.loads(line)["prefix"] for line in pair.quietgate("bans", "--json").splitlines()}


@pytest.mark.parametrize("deed", [("ban", "203.0.113.4"), ("allow", "--for", "2h", "203.0.113.4")])
def test_another_machines_state_is_dropped_by_whoever_writes_first(pair: Pair, deed: tuple[str, ...]) -> None:
    """A clone whose guard has not run yet: nothing that was acknowledged is dropped afterwards."""
    machine = pair.root / "etc/machine-id"
    machine.parent.mkdir(parents=True, exist_ok=True)
    machine.write_text("a" * 32 + "\n")
    pair.policy("")
    pair.quietgate("init", "--force")
    pair.quietgate("ban", "203.0.113.99")
    machine.write_text("b" * 32 + "\n")
    assert banned(pair) == set(), "what another machine banned is not shown as ours"
    pair.quietgate(*deed)
    pair.quietgate("init", "--force")
    if deed[0] == "ban":
        assert banned(pair) == {"203.0.113.4"}
    else:
        assert "203.0.113.4" in pair.quietgate("allow")


def test_after_the_clock_was_set_every_deed_meets_the_bans_of_before(pair: Pair) -> None:
    """Also the first ban of a boot, which was made at the first look at the clock."""
    pair.policy("")
    for address in ("203.0.113.3", "203.0.113.4"):
        pair.quietgate("ban", address, "--for", "10m")
    ahead = wrong_clock(pair.root, 3600)
    done = pair.run("unban", "--all", env=ahead)
    assert "lifted 2 bans" in done.stdout, done.stderr
    assert banned(pair) == set()


def test_bans_move_with_the_clock_at_the_first_deed_whichever_it_is(pair: Pair) -> None:
    pair.policy("")
    for address in ("203.0.113.3", "203.0.113.4"):
        pair.quietgate("ban", address, "--for", "10m")
    ahead = wrong_clock(pair.root, 3600)
    pair.run("allow", "--for", "1h", "198.51.100.1", env=ahead)
    found = [json.loads(line) for line in pair.run("bans", "--json", env=ahead).stdout.splitlines()]
    assert {f["prefix"] for f in found} == {"203.0.113.3", "203.0.113.4"}
    assert all(0 < f["left"] <= 600 for f in found), found
    with Store(Paths(pair.root).store) as store:
        assert follow(store), "the clock of this test is right again"


def test_json_tells_of_a_store_that_cannot_be_read(pair: Pair) -> None:
    pair.policy("")
    place = pair.root / "var/lib/quietgate/guard"
    place.mkdir(parents=True, exist_ok=True)
    (place / "quietgate.db").write_text("no database\n" * 400)
    found = json.loads(pair.run("status", "--json").stdout)
    assert "is not a database" in found["store_error"]
    assert [found[k] for k in ("bans", "bans_day", "known", "floor")] == [None] * 4
