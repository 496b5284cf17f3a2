"""What people type is undone by the same words; holes in wide bans; grants for a time; lists as they have them. With real packets."""

from __future__ import annotations

import json
import time

from tests.kernel.guarded import guarded
from tests.kernel.lab import SERVER4, Pair, wait_for

LOOSE = '[ssh]\nlimit = "30 per 1m"\n'


def bans(pair: Pair) -> set[str]:
    return {json.loads(line)["prefix"] for line in pair.quietgate("bans", "--json").splitlines()}


def test_unban_lifts_what_ban_made_of_the_same_words_and_all_that_is_inside(pair: Pair) -> None:
    pair.up("")
    for words in (["203.0.113.0/24"], ["2001:db8:7::5"], ["203.0.113.8-203.0.113.11"], ["203.0.113.7", "203.0.113.9"]):
        pair.quietgate("ban", *words)
        assert bans(pair)
        pair.quietgate("unban", *words)
        assert bans(pair) == set(), words
    pair.quietgate("ban", "203.0.113.7", "203.0.113.9", "203.0.114.1")
    assert "lifted 2 bans" in pair.quietgate("unban", "203.0.113.0/28")
    assert bans(pair) == {"203.0.114.1"}
    assert "neither it nor anything in it is banned" in pair.run("unban", "203.0.113.0/28").stderr


def test_one_is_let_out_of_a_wide_ban_and_the_rest_stays(pair: Pair) -> None:
    pair.sshd()
    pair.up("")
    pair.quietgate("ban", "198.19.40.0/24", "--force")
    assert not pair.client.banner("198.19.40.7", SERVER4, timeout=0.3)
    assert "let 198.19.40.7 out of the ban of 198.19.40.0/24" in pair.quietgate("unban", "198.19.40.7")
    assert pair.client.banner("198.19.40.7", SERVER4)
    for neighbour in (6, 8, 200):
        assert not pair.client.banner(f"198.19.40.{neighbour}", SERVER4, timeout=0.3)
    assert "198.19.40.7" not in bans(pair)
    pair.quietgate("unban", "198.19.40.0/24")
    assert bans(pair) == set()
    assert pair.client.banner("198.19.40.8", SERVER4)


def test_who_was_let_off_for_a_time_is_not_banned_again_before(pair: Pair) -> None:
    source = "198.19.66.6"
    with guarded(pair, "PermitRootLogin yes", policy=LOOSE) as g:
        g.guess(source, "root", 3)
        g.guess(source, "root", 3)
        wait_for(lambda: g.banned(source), "banned", 5)
        assert "does not ban it again before" in pair.quietgate("unban", source, "--for", "1h")
        assert not g.banned(source)
        for _ in range(2):
            g.guess(source, "root", 3)
        wait_for(lambda: "said that it is not to be banned again yet" in (pair.root / "guard.err").read_text(), "it is spared", 5)
        assert not g.banned(source)
        for _ in range(2):
            g.guess("198.19.66.7", "root", 3)
        wait_for(lambda: g.banned("198.19.66.7"), "another is banned as before", 5)


def test_an_address_is_let_in_for_a_time_without_the_policy(pair: Pair) -> None:
    guest = "198.19.70.1"
    pair.sshd()
    pair.up('[ssh]\nfrom = ["198.18.0.0/16"]\n')
    assert not pair.client.banner(guest, SERVER4, timeout=0.3)
    assert "let in on the SSH ports until" in pair.quietgate("allow", "--for", "20s", guest, "--reason", "a hotel")
    began = time.monotonic()
    assert all(pair.client.banner(guest, SERVER4) for _ in range(8)), "and is not limited"
    assert not pair.client.banner("198.19.70.2", SERVER4, timeout=0.3), "nobody else"
    listed = pair.quietgate("allow")
    assert guest in listed
    assert "a hotel" in listed
    wait_for(lambda: time.monotonic() - began > 20.2 and not pair.client.banner(guest, SERVER4, timeout=0.3), "its time is over", 40)
    pair.quietgate("allow", "--for", "1h", guest)
    assert pair.client.banner(guest, SERVER4)
    pair.up('[ssh]\nfrom = ["198.18.0.0/16"]\nlimit = "7 per 1m"\n')
    assert pair.client.banner(guest, SERVER4), "a new generation keeps it"
    assert f"ended for {guest}" in pair.quietgate("allow", "--end", guest)
    assert not pair.client.banner(guest, SERVER4, timeout=0.3)
    assert "more than one source" in pair.run("allow", "--for", "1h", "198.19.70.0/24").stderr
    assert pair.run("allow", "--for", "1h").returncode == 2


def test_an_eviction_ends_what_let_the_address_in(pair: Pair) -> None:
    guest = "198.19.70.1"
    pair.sshd()
    pair.up("")
    pair.quietgate("allow", "--for", "1h", guest)
    assert "or has let it in for a time" in pair.run("ban", guest).stderr
    assert pair.client.banner(guest, SERVER4)
    pair.quietgate("ban", "--evict", guest)
    assert not pair.client.banner(guest, SERVER4, timeout=0.3)
    assert "nobody is let in for a time" in pair.quietgate("allow")


def test_a_list_as_people_have_it(pair: Pair) -> None:
    pair.up("")
    text = "; DROP\n203.0.113.0/28 ; SBL1\n198.51.100.1\t8\nsshd: 198.51.100.2\nALL: .example.net\ncreate x hash:ip\nadd x 198.51.100.3 timeout 3\nnonsense\n"
    done = pair.run("ban", "--for", "1d", stdin=text)
    assert bans(pair) == {"203.0.113.0/28", "198.51.100.1", "198.51.100.2", "198.51.100.3"}
    assert done.returncode == 3
    assert "-:8: 'nonsense'" in done.stderr
    assert done.stderr.count("left out: 1 line") == 2
