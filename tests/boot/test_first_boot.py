"""What a boot finds: the network not yet up, an image nobody booted before, a clone, an sshd that systemd starts."""

from __future__ import annotations

import pytest

from tests.boot.hammer import Hammer, place_echo
from tests.boot.machine import LIMITED, Machine, machine
from tests.boot.tree import outside_network
from tests.kernel.lab import wait_for

STRANGER, OTHER, BANNED, FREE = "198.18.208.1", "198.18.208.2", "198.18.209.1", "198.18.210.1"
# What every builder of images ships in some form (cloud-init): host keys are made at the first boot, with the network up.
HOST_KEYS = """[Unit]
After=network.target
Before=ssh.service ssh.socket
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
[Install]
WantedBy=multi-user.target
"""
pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.mark.parametrize(
    ("network", "up"), [("networkd", "host0: Link UP"), ("ifupdown", "Starting networking.service")], ids=["networkd", "ifupdown"]
)
def test_the_rules_are_there_before_any_interface_is_up(network: str, up: str) -> None:
    with machine("bookworm", network=network) as m:
        place_echo(m)
        m.boot()
        m.sh(f"cd /src && ./install.sh && quietgate ban {BANNED} --for 1h --scope host")
        with Hammer(m, banned=BANNED, free=FREE) as attack:
            m.reboot()
        ruled = m.moment("Finished quietgate.service")
        assert ruled < m.moment("Reached target network-pre.target")
        assert ruled < m.moment(up)
        assert attack.answered[FREE]
        assert BANNED not in m.sh("journalctl -u echo")


def image(m: Machine) -> None:
    """What a builder of images does: install, and leave nothing that is one machine's own."""
    m.offline("cd /src && ./install.sh --image")
    m.write("/etc/systemd/system/host-keys.service", HOST_KEYS)
    m.offline("rm -f /etc/ssh/ssh_host_*; rm -rf /run/sshd; systemctl -q enable host-keys; : > /etc/machine-id")


def test_an_image_is_protected_and_reachable_from_its_first_boot() -> None:
    with machine("bookworm") as m:
        image(m)
        assert not m.exists("/etc/quietgate/quietgate.toml"), "the policy is for the machine that it becomes"
        assert not m.exists("/var/lib/quietgate")
        m.boot()
        assert "generation 1 is in force (made from the policy)" in m.sh("journalctl -b -u quietgate")
        assert m.moment("Finished quietgate.service") < m.moment("Finished host-keys.service"), "sshd could not be asked yet"
        assert m.lets_in(STRANGER) == LIMITED
        assert m.ssh("quietgate status").startswith("up: generation 1 is in force")
        m.reboot()
        assert "(made from the policy)" not in m.sh("journalctl -b -u quietgate")
        assert m.lets_in(STRANGER) == LIMITED


def test_an_image_fetches_what_a_bare_debian_lacks() -> None:
    with machine("bookworm") as m:
        m.offline("apt-get purge -y -q nftables python3-venv python3.11-venv")
        outside_network(m.tree, "cd /src && ./install.sh --image")
        m.boot()
        assert m.lets_in(STRANGER) == LIMITED


def test_a_clone_starts_without_the_state_of_its_original() -> None:
    with machine("bookworm") as m:
        m.boot()
        m.sh("cd /src && ./install.sh")
        m.sh(f"quietgate ban {BANNED} --for 1h")
        m.reboot()
        assert BANNED in m.sh("quietgate bans")
        m.off()
        m.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        m.boot()
        assert BANNED not in m.sh("quietgate bans")
        assert m.sh("quietgate status").startswith("up: generation 1 is in force")
        assert m.lets_in(STRANGER) == LIMITED
        assert all(m.lets_in(BANNED, 2))


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_an_sshd_that_systemd_starts_is_found_and_protected(release: str, port: int) -> None:
    with machine(release) as m:
        m.offline("systemctl -q disable ssh.service; systemctl -q enable ssh.socket")
        if port != 22:
            m.write("/etc/systemd/system/ssh.socket.d/port.conf", f"[Socket]\nListenStream=\nListenStream={port}\n")
        m.boot()
        assert m.run("systemctl is-active ssh.service").returncode, "nobody has connected yet: only systemd listens"
        said = m.sh("cd /src && ./install.sh")
        assert f"generation 1 is in force: SSH on {port}" in said
        assert f"ssh.socket says {port}" in said
        assert m.lets_in(STRANGER, port=port) == LIMITED
        assert "in" in m.ssh("echo in", port=port)
        m.reboot()
        assert m.lets_in(STRANGER, port=port) == LIMITED
        m.sh("systemctl start quietgate-refresh")
        assert m.sh("quietgate status").startswith("up: ")
        assert m.lets_in(OTHER, port=port) == LIMITED


def test_a_socket_that_moves_is_followed() -> None:
    with machine("bookworm") as m:
        m.offline("systemctl -q disable ssh.service; systemctl -q enable ssh.socket")
        m.boot()
        m.sh("cd /src && ./install.sh")
        m.sh("mkdir -p /etc/systemd/system/ssh.socket.d")
        m.sh("printf '[Socket]\\nListenStream=\\nListenStream=2222\\n' > /etc/systemd/system/ssh.socket.d/port.conf")
        m.sh("systemctl daemon-reload && systemctl stop ssh.service && systemctl restart ssh.socket")
        m.sh("systemctl start quietgate-refresh")
        assert m.lets_in(STRANGER, port=2222) == LIMITED


def test_a_configuration_that_moves_sshd_is_followed_before_sshd_moves() -> None:
    with machine("bookworm") as m:
        m.boot()
        m.sh("cd /src && ./install.sh")
        m.sh("echo 'Port 2222' > /etc/ssh/sshd_config.d/port.conf")
        wait_for(lambda: "ssh ports  22, 2222" in m.sh("quietgate status"), "the path unit sees it, and sshd has not moved yet", 30)
        m.sh("systemctl restart ssh")
        assert m.lets_in(STRANGER, port=2222) == LIMITED
        wait_for(lambda: "ssh ports  2222 " in m.sh("quietgate status"), "the old port is given up when nobody listens there", 30)
