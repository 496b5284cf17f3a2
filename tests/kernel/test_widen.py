"""A network from which several guess: shut out as a whole, never over somebody who belongs here; explained, and undone by hand."""

from __future__ import annotations

import json

from bench.guard import appended, guarding, line

from tests.kernel.lab import SERVER4, Pair, wait_for

NET, ANOTHER = "198.19.30", "198.19.31"


def attack(pair: Pair, net: str, hosts: range) -> None:
    """Each of them guesses until he is banned."""
    appended(pair.root / "var/log/auth.log", "".join(line(f"{net}.{n}") for n in hosts for _ in range(5)))
    wait_for(lambda: all(f"{net}.{n}" in banned(pair) for n in hosts), "all of them are banned", 10)


def banned(pair: Pair) -> set[str]:
    return {json.loads(row)["prefix"] for row in pair.quietgate("bans", "--json").splitlines()}


def shut(pair: Pair, source: str) -> bool:
    return not pair.client.banner(source, SERVER4, timeout=0.2)


def test_a_neighbourhood_is_shut_explained_and_opened_again(pair: Pair) -> None:
    pair.sshd()
    with guarding(pair):
        attack(pair, NET, range(1, 4))
        assert not shut(pair, f"{NET}.200"), "three are three"
        attack(pair, NET, range(4, 5))
        wait_for(lambda: f"{NET}.0/24" in banned(pair), "the fourth shuts the network", 10)
        assert shut(pair, f"{NET}.200")
        assert not shut(pair, f"{ANOTHER}.200")
        said = pair.quietgate("why", f"{NET}.200")
        assert f"banned: {NET}.0/24" in said
        assert "widen: 4 in" in said
        assert f"{NET}.1" in said, "who earned it"
        pair.quietgate("unban", f"{NET}.0/24")
        assert not shut(pair, f"{NET}.200")
        assert not any(shut(pair, f"{NET}.{n}") for n in range(1, 5)), "and everybody in it"


def test_a_neighbourhood_of_somebody_trusted_stays_open(pair: Pair) -> None:
    pair.sshd()
    with guarding(pair, f'[ssh]\ntrusted = ["{NET}.200"]\n') as guard:
        attack(pair, NET, range(1, 8))
        attack(pair, ANOTHER, range(1, 5))
        wait_for(lambda: f"{ANOTHER}.0/24" in banned(pair), "the other network is shut", 10)
        assert f"{NET}.0/24" not in banned(pair)
        assert not shut(pair, f"{NET}.200")
        assert not shut(pair, f"{NET}.100")
        assert guard.status() is not None
