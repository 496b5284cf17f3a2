"""What dropbear's words mean: the address is the server's, from the right; a name in quotes is anybody's."""

from __future__ import annotations

import pytest

from quietgate.sshlog.dropbear import understand
from quietgate.sshlog.words import Kind
from tests.guard.script import A, B


@pytest.mark.parametrize(
    ("message", "kind", "user", "port"),
    [
        ("Child connection from {}:40000", Kind.CONNECTED, None, 40000),
        ("Bad password attempt for 'root' from {}:40000", Kind.FAILED, "root", 40000),
        ("Bad PAM password attempt for 'root' from {}:40000", Kind.FAILED, "root", 40000),
        ("Login attempt for nonexistent user from {}:40000", Kind.INVALID_USER, "", 40000),
        ("Login attempt with wrong user x from {}:40000", Kind.INVALID_USER, "x", 40000),
        ("Password auth succeeded for 'anna' from {}:40000", Kind.ACCEPTED, "anna", 40000),
        ("Pubkey auth succeeded for 'anna' with ssh-ed25519 key SHA256:abc from {}:40000", Kind.ACCEPTED, "anna", 40000),
        ("Pubkey auth succeeded for 'anna' with ssh-ed25519 key SHA256:abc from {}:40000, extra auth required", Kind.STEP, "anna", 40000),
        ("Exit before auth from <{}:40000>: Exited normally", Kind.LEFT, None, 40000),
        ("Exit before auth from <{}:40000>: (user 'root', 3 fails): Exited normally", Kind.CLOSED, None, 40000),
        ("Exit before auth from <{}:40000>: (user 'root', 10 fails): Max auth tries reached - user 'root'", Kind.TOO_MANY, None, 40000),
        ("Exit before auth from <{}:40000>: Timeout before auth", Kind.TIMEOUT, None, 40000),
        ("Exit before auth from <{}:40000>: No matching algo hostkey", Kind.LEFT, None, 40000),
        ("Exit before auth from <{}:40000>: No matching algo kex", Kind.NO_MATCH, None, 40000),
        ("Exit (anna) from <{}:40000>: Disconnect received", Kind.ENDED, None, 40000),
    ],
)
@pytest.mark.parametrize("address", [A, "2001:db8:7::9"])
def test_a_message_means(message: str, kind: Kind, user: str | None, port: int, address: str) -> None:
    said = understand(message.format(address))
    assert said is not None
    assert (said.kind, said.user, str(said.address), said.port) == (kind, user, address, port)


@pytest.mark.parametrize(
    "message",
    [
        "Bad password attempt for 'x' from {b}:22' from {a}:40000",
        "Bad password attempt for 'x from {b}:22 ' from {a}:40000",
        "Exit before auth from <{a}:40000>: (user 'x' from <{b}:22>: (user ', 1 fails): Exited normally",
        "Login attempt with wrong user x from {b}:22 from {a}:40000",
        "Pubkey auth bad signature for 'x' with key y from {b}:22' with key SHA256:z from {a}:40000",
    ],
)
def test_a_name_that_imitates_the_server_moves_no_blame(message: str) -> None:
    said = understand(message.format(a=A, b=B))
    assert said is not None
    assert str(said.address) == A


@pytest.mark.parametrize("message", ["Bad password attempt for 'x' from host.example.net:22", "x" * 600, "Bad password attempt for 'x'"])
def test_what_names_no_address_blames_nobody(message: str) -> None:
    said = understand(message)
    assert said is None or said.address is None
