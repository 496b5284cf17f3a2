"""Without systemd: a Debian that boots with sysvinit, and the init script as LSB and old hands use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boot.hammer import Hammer, place_echo
from tests.boot.machine import LIMITED, Machine, machine

STRANGER, OTHER, BANNED, FREE = "198.18.208.1", "198.18.208.2", "198.18.209.1", "198.18.210.1"
pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.fixture
def m() -> Iterator[Machine]:
    with machine("bookworm", network="ifupdown", systemd=False) as made:
        made.ready = "pidof sshd"
        place_echo(made)
        made.boot()
        yield made


def test_install_boot_and_uninstall_without_systemd(m: Machine) -> None:
    before = m.files()
    said = m.sh("cd /src && ./install.sh")
    assert "generation 1 is in force: SSH on 22" in said
    assert m.lets_in(STRANGER) == LIMITED
    m.sh(f"quietgate ban {BANNED} --for 1h --scope host")

    order = m.sh("ls /etc/rcS.d").split()
    position = {name[3:]: number for number, name in enumerate(order) if name[0] == "S"}
    assert position["mountall.sh"] < position["quietgate"] < position["networking"]
    with Hammer(m, banned=BANNED, free=FREE) as attack:
        m.reboot()
        assert m.lets_in(STRANGER) == LIMITED
        assert "was in force already" in m.sh("cd /src && ./install.sh")
        for word in ("restart", "reload", "start"):
            m.sh(f"service quietgate {word}")
    assert attack.answered[FREE]
    assert BANNED not in m.sh("cat /var/log/echo")

    m.sh("service quietgate-guard restart && service quietgate-guard status")
    cron = m.sh("grep -v '^#' /etc/cron.d/quietgate").split("root ", 1)[1]
    m.sh(f"env -i SHELL=/bin/sh PATH=/usr/bin:/bin sh -c '{cron.strip()}'")  # crontab(5): this is all of the environment

    assert m.sh("cd /src && ./install.sh --uninstall").endswith("quietgate is uninstalled\n")
    assert m.files() == before
    assert m.sh("nft list ruleset") == ""


def test_the_init_scripts_exit_codes(m: Machine) -> None:
    """As LSB has them (Linux Standard Base 3.1, 20.2)."""
    m.sh("cd /src && ./install.sh")
    m.sh("service quietgate status")
    for word in ("start", "restart", "reload", "force-reload"):
        assert "generation 1" in m.sh(f"service quietgate {word}"), "what runs may be started again"
    assert m.lets_in(STRANGER) == LIMITED

    m.sh("service quietgate stop")
    assert m.sh("service quietgate status", expect=3).startswith("down")
    assert all(m.lets_in(STRANGER))
    m.sh("service quietgate stop")
    assert "generation 1 is in force" in m.sh("service quietgate start")
    assert m.sh("service quietgate status").startswith("up")

    m.sh("cp /etc/quietgate/quietgate.toml /root/ && echo 'limt = 5' >> /etc/quietgate/quietgate.toml")
    assert "limt" in m.sh("service quietgate restart", expect=2)
    assert m.lets_in(OTHER) == LIMITED, "a policy with a mistake changes nothing"
    m.sh("mv /root/quietgate.toml /etc/quietgate/")

    assert "Usage" in m.sh("/etc/init.d/quietgate", expect=2)
    assert "Usage" in m.sh("/etc/init.d/quietgate now", expect=2)
    m.sh("setpriv --reuid=65534 --clear-groups /etc/init.d/quietgate status", expect=4)
    m.sh("mv /usr/local/sbin/quietgate /root/")
    m.sh("/etc/init.d/quietgate start", expect=5)
