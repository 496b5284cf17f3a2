"""Host names in a policy are followed by a refresh that may change the firewall and has no network: another unit asks for it."""

from __future__ import annotations

import pytest

from tests.boot.machine import OUTSIDE, Machine, machine
from tests.boot.names import NameServer

NAME, FIRST, SECOND = "office.example.net", "198.18.208.50", "198.18.208.51"
SOCKET = "/etc/systemd/system/quietgate-resolve.socket"
POLICY = f'version = 1\n[ssh]\ntrusted = ["{NAME}"]\n'


def trusted(m: Machine) -> set[str]:
    """Which of the two gets in however often it comes."""
    said = m.sh("nft list table inet quietgate | grep -A4 'set g[0-9]*_door4 '")
    return {a for a in (FIRST, SECOND) if a in said}


@pytest.mark.long
@pytest.mark.boot
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_a_name_is_followed_by_a_refresh_without_network(release: str) -> None:
    with machine(release) as m:
        m.write("/etc/resolv.conf", f"nameserver {OUTSIDE}\noptions timeout:1 attempts:1\n")
        m.boot()
        with NameServer(m, {NAME: FIRST}) as server:
            m.sh("cd /src && ./install.sh")
            m.write("/etc/quietgate/quietgate.toml", POLICY)
            m.sh("quietgate up --now")
            assert trusted(m) == {FIRST}
            assert all(m.lets_in(FIRST)), "more than a stranger may"
            server.addresses[NAME] = SECOND
            m.sh("systemctl start quietgate-refresh")
            assert trusted(m) == {SECOND}, m.sh("journalctl -b -u quietgate-refresh -u 'quietgate-resolve*' --no-pager")
            assert all(m.lets_in(SECOND))
            del server.addresses[NAME]
            m.sh("systemctl start quietgate-refresh")
            assert trusted(m) == {SECOND}, "a name that fails keeps its last address"
            server.addresses[NAME] = FIRST
            m.sh(f"systemctl stop quietgate-resolve.socket && mv {SOCKET} /root && systemctl daemon-reload")
            m.sh("systemctl start quietgate-refresh")
            assert trusted(m) == {SECOND}, "and so does one that nobody looks up: the refresh itself has no way out"
            m.sh(f"mv /root/quietgate-resolve.socket {SOCKET} && systemctl daemon-reload && systemctl start quietgate-resolve.socket")
            m.sh("systemctl start quietgate-refresh")
            assert trusted(m) == {FIRST}
        assert m.sh("systemctl --failed --no-legend") == ""
        nobody_else_asks(m)


def nobody_else_asks(m: Machine) -> None:
    """The socket is root's."""
    ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/quietgate/resolver')"
    assert "PermissionError" in m.sh(f'setpriv --reuid=65534 --clear-groups python3 -c "{ask}"', expect=1)
