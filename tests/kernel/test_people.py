"""People and their programs go on working with the default policy, once somebody has logged in from there.

Ansible, rsync, an office behind one address, a monitor: each with real programs against a real sshd. The earlier login
comes from a wtmp file, as `up` finds it. As strangers they are limited, and `status` and `doctor` say what to do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.lab import SERVER4, SERVER6, Pair, Sshd
from tests.kernel.people import have_logged_in

OFFICE = "198.19.7.7"
DAY = 86400
ADDRESSES = [f"198.18.1.{n}" for n in range(1, 21)]  # of the server, for an inventory of twenty hosts
Doing = Callable[[Pair, Sshd, int], list[bool]]


def rsync(pair: Pair, sshd: Sshd, times: int) -> list[bool]:
    """A loop in a script: one transfer after the other."""
    source, target = pair.root / "from", pair.root / "to"
    source.mkdir(exist_ok=True)
    shell = " ".join(sshd.arguments(OFFICE, SERVER4, timeout=1)[:-1])
    got = []
    for n in range(times):
        (source / str(n)).write_text(str(n))
        pair.client.sh("rsync", "-a", "-e", shell, f"{source}/", f"root@{SERVER4}:{target}/", check=False)
        got.append((target / str(n)).exists())
    return got


def people(pair: Pair, sshd: Sshd, times: int) -> list[bool]:
    """An office in the morning: everyone logs in, a few at the same moment, all behind one address."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: sshd.login(OFFICE, timeout=1), range(times)))


def monitor(pair: Pair, sshd: Sshd, times: int) -> list[bool]:
    """Connects, reads the banner, leaves, and never logs in. What it does in five minutes, in one."""
    return [pair.client.banner(OFFICE, SERVER4, timeout=0.3) for _ in range(times)]


ALL = {"rsync": (rsync, 30), "people": (people, 40), "monitor": (monitor, 30)}


def logged_in(pair: Pair, address: str, ago: float) -> None:
    """Somebody logged in from there some seconds ago: the record that login and PAM write."""
    have_logged_in(pair, ("anna", address, time.time() - ago))


def status(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pair.quietgate("status", "--json"))
    return found


@pytest.mark.parametrize("name", ALL)
def test_after_one_login_everything_works(pair: Pair, name: str) -> None:
    does, times = ALL[name]
    sshd = pair.sshd()
    logged_in(pair, OFFICE, 20 * DAY)
    pair.up("")
    assert does(pair, sshd, times) == [True] * times
    assert status(pair)["limited"] == []
    assert status(pair)["counters"]["ssh_known"] >= times


@pytest.mark.parametrize("name", ALL)
def test_strangers_are_limited_and_told_the_way_out(pair: Pair, name: str) -> None:
    does, _ = ALL[name]
    sshd = pair.sshd()
    pair.up("")
    assert sum(does(pair, sshd, 8)) == 5
    assert OFFICE in status(pair)["limited"]
    assert f"in the last minute: {OFFICE}; if one is yours, see `quietgate doctor`" in pair.quietgate("status")

    said = pair.quietgate("doctor")
    assert f"limited within the last minute, as strangers: {OFFICE}" in said
    assert "log in once from there" in said
    assert "known for 30d" in said
    assert f'write trusted = ["{OFFICE}"] in [ssh], then quietgate up' in said


def test_the_first_way_out_one_login(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up("")
    assert not all(rsync(pair, sshd, 7))
    logged_in(pair, OFFICE, 0)  # when its minute is over
    pair.quietgate("refresh")  # the timer does it
    assert all(rsync(pair, sshd, 7))


def test_the_second_way_out_trusted_word_for_word(pair: Pair) -> None:
    sshd = pair.sshd()
    pair.up("")
    assert not all(monitor(pair, sshd, 7))
    said = re.search(r"write (trusted = \[.*?\]) in \[ssh\]", pair.quietgate("doctor"))
    assert said is not None
    pair.up(f"[ssh]\n{said[1]}\n")
    assert all(monitor(pair, sshd, 100)), "a monitor never logs in: only this way helps it"


def test_the_way_out_names_the_whole_network_of_an_ipv6_source(pair: Pair) -> None:
    def monitors(tries: int) -> list[bool]:
        return [pair.client.banner(f"2001:db8:100:7::{n + 1:x}", SERVER6, timeout=0.2) for n in range(tries)]

    pair.sshd()
    pair.up("")
    assert sum(monitors(7)) == 5
    assert status(pair)["limited"] == ["2001:db8:100:7::/64"]
    assert 'trusted = ["2001:db8:100:7::/64"]' in pair.quietgate("doctor")
    pair.up('[ssh]\ntrusted = ["2001:db8:100:7::/64"]\n')
    assert all(monitors(20))


def test_one_who_is_known_and_over_his_own_limit_is_told_of_that_one(pair: Pair) -> None:
    """Logging in once more would not help him."""
    sshd = pair.sshd()
    logged_in(pair, OFFICE, DAY)
    pair.up("")
    assert 60 <= sum(monitor(pair, sshd, 80)) < 80
    said = pair.quietgate("doctor")
    assert f"limited within the last minute, though known: {OFFICE}" in said
    assert f'raise known_limit in [ssh], which is 60 per 1m now, or write trusted = ["{OFFICE}"] in [ssh], then quietgate up' in said
    assert "as strangers" not in said
    assert "log in once" not in said
    pair.up('[ssh]\nknown_limit = "600 per 1m"\n')
    assert all(monitor(pair, sshd, 80))


def test_a_login_of_long_ago_makes_nobody_known(pair: Pair) -> None:
    sshd = pair.sshd()
    logged_in(pair, OFFICE, 31 * DAY)
    pair.up("")
    assert sum(monitor(pair, sshd, 8)) == 5


def test_one_who_is_known_opens_nothing_for_his_neighbour(pair: Pair) -> None:
    pair.sshd()
    logged_in(pair, OFFICE, DAY)
    pair.up("")
    got = [pair.client.banner("198.19.7.8", SERVER4, timeout=0.2) for _ in range(8)]
    assert got == [True] * 5 + [False] * 3


def test_known_is_kept_over_a_boot_and_over_down_and_up(pair: Pair) -> None:
    sshd = pair.sshd()
    logged_in(pair, OFFICE, DAY)
    pair.up("")
    pair.quietgate("down")
    pair.quietgate("boot")
    assert all(monitor(pair, sshd, 10))
    pair.quietgate("down")
    pair.quietgate("up", "--now")
    assert all(monitor(pair, sshd, 10))


# -- ansible


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: a command
      ansible.builtin.{module}: echo {{{{ inventory_hostname }}}}
    - name: another
      ansible.builtin.{module}: cat /etc/hostname
    - name: a third
      ansible.builtin.{module}: "true"
"""
MODULES = (
    PLAYBOOK
    + """
    - name: a file
      ansible.builtin.copy:
        content: "{{{{ inventory_hostname }}}}"
        dest: "{place}/{{{{ inventory_hostname }}}}"
"""
)
RECAP = re.compile(r"^(\S+) +: ok=(\d+) .*unreachable=(\d) +failed=(\d)", re.MULTILINE)


@pytest.fixture
def controls() -> Iterator[Path]:
    """A short path: the sockets of ssh's control masters lie there (a socket's path has 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="qg") as place:
        yield Path(place)


def ansible(pair: Pair, sshd: Sshd, controls: Path, playbook: str) -> dict[str, tuple[int, int, int]]:
    """A playbook over twenty hosts, twenty at the same time; ok, unreachable, failed of each."""
    for address in ADDRESSES:
        pair.server.sh("ip", "addr", "add", f"{address}/16", "dev", "eth0")
    inventory, book = pair.root / "hosts.ini", pair.root / "play.yml"
    inventory.write_text("".join(f"host{n} ansible_host={a}\n" for n, a in enumerate(ADDRESSES)))
    book.write_text(playbook)
    # Its own -o ControlMaster=auto -o ControlPersist=60s stay, as nearly everyone has them.
    env = {"ANSIBLE_HOME": str(controls), "ANSIBLE_LOCAL_TEMP": str(controls / "l"), "ANSIBLE_REMOTE_TMP": str(controls / "r"),
           "ANSIBLE_SSH_CONTROL_PATH_DIR": str(controls / "c"), "ANSIBLE_HOST_KEY_CHECKING": "false", "ANSIBLE_FORKS": "20",
           "ANSIBLE_TIMEOUT": "10", "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}  # fmt: skip
    words = ["ip", "netns", "exec", pair.client.name, str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory),
             "-u", "root", "--private-key", str(sshd.user_key), "--ssh-common-args", f"-F /dev/null -o BindAddress={OFFICE}",
             "-e", f"ansible_python_interpreter={sys.executable}", str(book)]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **env})
    found = {name: (int(ok), int(lost), int(failed)) for name, ok, lost, failed in RECAP.findall(done.stdout)}
    assert len(found) == 20, done.stdout + done.stderr
    return found


def test_ansible_with_twenty_forks_after_one_login(pair: Pair, controls: Path) -> None:
    sshd = pair.sshd()
    logged_in(pair, OFFICE, 20 * DAY)
    pair.up("")
    found = ansible(pair, sshd, controls, PLAYBOOK.format(module="raw"))
    assert set(found.values()) == {(3, 0, 0)}
    assert pair.counters()["ssh_known"] >= 20


@pytest.mark.long
def test_ansible_of_a_stranger_reaches_five_of_twenty(pair: Pair, controls: Path) -> None:
    sshd = pair.sshd()
    pair.up("")
    found = ansible(pair, sshd, controls, PLAYBOOK.format(module="raw"))
    assert sorted(found.values()) == [(0, 1, 0)] * 15 + [(3, 0, 0)] * 5
    assert f"limited within the last minute, as strangers: {OFFICE}" in pair.quietgate("doctor")


@pytest.mark.long
def test_ansible_with_modules_that_copy_themselves_there(pair: Pair, controls: Path) -> None:
    sshd = pair.sshd("Subsystem sftp internal-sftp")
    logged_in(pair, OFFICE, 20 * DAY)
    pair.up("")
    place = pair.root / "copied"
    place.mkdir()
    found = ansible(pair, sshd, controls, MODULES.format(module="command", place=place))
    assert set(found.values()) == {(4, 0, 0)}
    assert sorted(p.name for p in place.iterdir()) == sorted(f"host{n}" for n in range(20))
