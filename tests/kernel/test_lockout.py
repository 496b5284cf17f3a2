"""Ways to be locked out that cannot be: each ends with a real login over ssh. Those under default drop say so."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from quietgate.firewall.render import Generation, arm
from tests.kernel.lab import SERVER4, SERVER6, Pair, Sshd, Wire, tcp_packet, wait_for, wrong_clock
from tests.kernel.people import ADMIN, ADMIN6, CLOSED, PAM, log_in, logged_in, on_trial, start_up, verdict
from tests.kernel.test_generations import compiled


@pytest.fixture
def open_host(pair: Pair) -> Sshd:
    """A host with an sshd, an open policy in force."""
    sshd = pair.sshd(*PAM)
    pair.up("")
    return sshd


@pytest.fixture
def closed_host(pair: Pair) -> Sshd:
    """The same, under default drop."""
    sshd = pair.sshd(*PAM)
    pair.up(CLOSED)
    return sshd


# -- mistakes in the policy, under default drop


def test_a_default_drop_without_any_rule_for_ssh(open_host: Sshd) -> None:
    open_host.pair.up(CLOSED)
    assert log_in(open_host)
    assert log_in(open_host, ADMIN6)


def test_the_wrong_port(open_host: Sshd) -> None:
    pair = open_host.pair
    pair.policy("[ssh]\nports = [2222]\n" + CLOSED)
    assert "sshd also listens on 22" in pair.quietgate("up", "--now")
    assert log_in(open_host)


def test_output_default_drop(open_host: Sshd) -> None:
    open_host.pair.up(CLOSED + 'output = "drop"\n')
    assert log_in(open_host)
    assert log_in(open_host, ADMIN6)


def test_a_typo_in_trusted_and_from(closed_host: Sshd) -> None:
    """They mean .7 and write .70: it is refused, and with --force the floor keeps the address from which they are logged in."""
    pair = closed_host.pair
    with logged_in(closed_host) as session:
        pair.policy('[ssh]\nfrom = ["198.19.0.70"]\ntrusted = ["198.19.0.70"]\n' + CLOSED)
        assert ADMIN in pair.quietgate("up", "--now", expect=4)
        pair.quietgate("up", "--force", "--detach")
        pair.quietgate("confirm", "--anyway")
        assert session.alive()
        assert log_in(closed_host)
    assert log_in(closed_host), "and for a day after they have left"
    assert not log_in(closed_host, "198.19.0.71")


def test_a_typo_that_shuts_out_a_remembered_login_is_refused(closed_host: Sshd) -> None:
    pair = closed_host.pair
    remember(pair, "alice", "198.19.0.30")
    pair.policy('[ssh]\nfrom = ["198.19.0.70"]\n' + CLOSED)
    said = pair.quietgate("up", "--now", expect=4)
    assert "198.19.0.30 (port 22; alice logged in from there): a new connection would be shut out by rule ssh.from4" in said
    assert "add it to ssh.from or ssh.trusted" in said
    assert log_in(closed_host)


def remember(pair: Pair, user: str, address: str) -> None:
    """A login in the server's wtmp."""
    import socket
    import struct

    file = pair.root / "var/log/wtmp"
    file.parent.mkdir(parents=True, exist_ok=True)
    record = struct.pack("<h2xi32s4s32s256shhiii16s20x", 7, 1, b"pts/0", b"", user.encode(), address.encode(), 0, 0, 0, int(time.time()) - 60, 0,
                         socket.inet_aton(address))  # fmt: skip
    with file.open("ab") as stream:
        stream.write(record)


def test_deny_over_the_administrator(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with logged_in(closed_host) as session:
        pair.policy('[firewall]\ndefault = "drop"\ndeny = ["198.19.0.0/24"]\n')
        said = pair.quietgate("up", "--now", expect=4)
        assert "firewall.deny 198.19.0.0/24" in said
        assert "quietgate.toml:3" in said
        pair.quietgate("up", "--force", "--detach")
        assert session.alive()
        assert log_in(closed_host), "the floor comes before deny"
        pair.quietgate("revert")
    assert log_in(closed_host)


def test_a_name_that_no_longer_resolves(pair: Pair) -> None:
    sshd = pair.sshd(*PAM)
    with hosts_file(pair, "198.19.0.7 home.example.net\n") as file:
        pair.up('[ssh]\nfrom = ["home.example.net"]\n' + CLOSED)
        assert log_in(sshd)
        file.write_text("")
        said = pair.quietgate("up", "--now")
        assert "home.example.net does not resolve now; its last addresses stay: 198.19.0.7" in said
        pair.quietgate("refresh")
        assert log_in(sshd)
        file.write_text("198.19.0.8 home.example.net\n")
        pair.quietgate("refresh")
        assert log_in(sshd, "198.19.0.8"), "home has moved"
        assert not log_in(sshd)


class hosts_file:  # noqa: N801  used like a function
    """`ip netns exec` puts /etc/netns/NAME over /etc."""

    def __init__(self, pair: Pair, text: str) -> None:
        self.place = Path("/etc/netns") / pair.server.name
        self.text = text

    def __enter__(self) -> Path:
        self.place.mkdir(parents=True)
        file = self.place / "hosts"
        file.write_text(self.text)
        (self.place / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        return file

    def __exit__(self, *_: object) -> None:
        import shutil

        shutil.rmtree(self.place)


# -- bans


def test_a_ban_of_his_address_his_24_and_his_64(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with logged_in(closed_host) as four, logged_in(closed_host, ADMIN6) as six:
        assert "an administrator is or was logged in from there" in pair.quietgate("ban", ADMIN, expect=4)
        assert "narrowed" in pair.quietgate("ban", "198.19.0.0/24")
        assert "an administrator" in pair.quietgate("ban", "2001:db8:100:7::99", expect=4)
        assert "narrowed" in pair.quietgate("ban", "2001:db8:100::/48")
        assert four.alive()
        assert six.alive()
        assert log_in(closed_host)
        assert log_in(closed_host, ADMIN6)
        assert not pair.client.banner("198.19.0.9", SERVER4, timeout=0.2), "his neighbours are banned"
        assert not pair.client.banner("2001:db8:100:9::1", SERVER6, timeout=0.2)


def test_who_was_banned_before_he_logged_in_from_there(closed_host: Sshd) -> None:
    """A ban that is older than his login (it ended, and is made again) spares him from then on."""
    pair = closed_host.pair
    pair.quietgate("ban", ADMIN)
    assert not log_in(closed_host)
    pair.quietgate("unban", ADMIN)
    with logged_in(closed_host):
        pair.quietgate("ban", ADMIN, expect=4)
        assert log_in(closed_host)


def test_a_stolen_account_can_be_evicted(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with logged_in(closed_host, "198.19.0.66") as thief, logged_in(closed_host) as session:
        pair.quietgate("ban", "198.19.0.66", expect=4)
        assert "evicted: 1 open SSH connection ended" in pair.quietgate("ban", "198.19.0.66", "--evict")
        assert not thief.alive(1)
        assert not log_in(closed_host, "198.19.0.66")
        assert session.alive()
        assert log_in(closed_host)


def test_an_attacker_is_not_on_the_floor_by_his_sockets_or_a_common_account(closed_host: Sshd) -> None:
    pair = closed_host.pair
    held = [pair.client.connect("198.19.66.6", SERVER4, 22) for _ in range(3)]
    assert all(held)
    with logged_in(closed_host, "198.19.66.7", user="nobody"):
        for address in ("198.19.66.6", "198.19.66.7"):
            assert "banned" in pair.quietgate("ban", address)
            assert not pair.client.banner(address, SERVER4, timeout=0.2)


def test_his_address_forged_by_an_attacker(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with Wire(pair) as wire:
        for n in range(500):
            wire.send(tcp_packet(ADMIN, SERVER4, 1024 + n, 22, "syn", seq=n))
            wire.send(tcp_packet(ADMIN, SERVER4, 1024 + n, 22, "ack", seq=n + 1, ack=n))
    assert log_in(closed_host)


# -- what happens while rules change


def test_the_first_up_with_seven_open_sessions(pair: Pair) -> None:
    import contextlib

    sshd = pair.sshd(*PAM)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(logged_in(sshd, f"198.19.0.{n}")) for n in range(1, 8)]
        pair.up(CLOSED)
        assert all(s.alive() for s in sessions)
        assert log_in(sshd)


@pytest.mark.long
def test_reloads_during_an_upload(closed_host: Sshd) -> None:
    pair = closed_host.pair
    size = 30_000_000
    words = [*closed_host.arguments(ADMIN, SERVER4), "wc -c"]
    upload = subprocess.Popen(["ip", "netns", "exec", pair.client.name, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert upload.stdin is not None
    assert upload.stdout is not None
    for turn in range(6):
        upload.stdin.write(bytes(size // 6))
        pair.up(f'[ssh]\nlimit = "{turn + 1} per 1m"\n' + CLOSED)
    upload.stdin.close()
    assert int(upload.stdout.read()) == size
    upload.wait(10)
    assert log_in(closed_host, "198.19.0.8")


def test_an_ipv6_administrator_when_neighbours_are_forgotten(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with logged_in(closed_host, ADMIN6) as session:
        for host in (pair.server, pair.client):
            host.sh("ip", "-6", "neigh", "flush", "all")
        assert session.alive()
    assert log_in(closed_host, ADMIN6)


def test_a_path_with_a_smaller_mtu(closed_host: Sshd) -> None:
    """A router on the way says "too big" (ICMP 3/4, ICMPv6 2): the server must hear it, or big packets vanish."""
    pair = closed_host.pair
    pair.client.sh("ip", "link", "set", "eth0", "mtu", "1400")
    pair.client.sysctl("net.ipv4.ip_no_pmtu_disc", 0)
    for source in (ADMIN, ADMIN6):
        target = SERVER6 if ":" in source else SERVER4
        said = closed_host.ssh(source, target, command="head -c 200000 /dev/zero | tr '\\0' x")
        assert len(said) == 200_000, source


def test_an_interface_is_renamed_and_another_comes_late(closed_host: Sshd) -> None:
    pair = closed_host.pair
    pair.server.sh("ip", "link", "set", "eth0", "down")
    pair.server.sh("ip", "link", "set", "eth0", "name", "lan0")
    pair.server.sh("ip", "link", "set", "lan0", "up")
    pair.server.sh("ip", "-6", "addr", "add", f"{SERVER6}/48", "dev", "lan0", "nodad", check=False)
    pair.server.sh("ip", "route", "add", "198.19.0.0/16", "via", "198.18.0.2", check=False)
    assert log_in(closed_host)
    pair.quietgate("up", "--now")
    assert log_in(closed_host)


# -- candidates that cut everyone off


@pytest.mark.parametrize("chain", ["pre", "in", "out"])
def test_a_candidate_that_nft_accepts_and_that_cuts_everyone_off(closed_host: Sshd, chain: str) -> None:
    """With no userland of ours alive: the kernel alone gives the door back, within the timeout and a second."""
    pair = closed_host.pair
    text = arm(1, Generation(2, compiled("")), 2).replace(f"chain g2_{chain} {{", f"chain g2_{chain} {{\n\t\tdrop", 1)
    with logged_in(closed_host) as session:
        pair.server.nft(text)
        begin = time.monotonic()
        assert not session.alive(0.5)
        wait_for(lambda: pair.client.banner("198.19.0.9", SERVER4, timeout=0.1), "the door is open again", 4)
        assert time.monotonic() - begin < 2 + 1
        wait_for(lambda: session.alive(0.2), "the old session goes on, when TCP tries again", 15)
        assert log_in(closed_host)


def test_a_prerouting_deny_and_changed_sets_in_a_candidate(closed_host: Sshd) -> None:
    """Sets of a candidate are its own: whatever it puts into them is gone with it."""
    pair = closed_host.pair
    pair.up('[ssh]\ntrusted = ["198.19.0.7"]\n' + CLOSED)
    text = arm(2, Generation(3, compiled('[ssh]\ntrusted = ["198.19.0.1"]\nslots = 100\nlimit = "1 per 1h"\n')), 2)
    text = text.replace("chain g3_pre {", "chain g3_pre {\n\t\tip saddr 198.19.0.0/16 drop", 1)
    pair.server.nft(text)
    assert not pair.client.banner(ADMIN, SERVER4, timeout=0.2)
    wait_for(lambda: pair.client.banner(ADMIN, SERVER4, timeout=0.2), "back", 4)
    assert all(log_in(closed_host) for _ in range(6)), "trusted, as confirmed: not limited"


def test_a_boot_during_a_trial(closed_host: Sshd) -> None:
    pair = closed_host.pair
    pair.policy('[ssh]\nfrom = ["203.0.113.1"]\n' + CLOSED)
    pair.quietgate("up", "--detach", "--trial", "1h")
    assert not pair.client.banner("198.19.0.40", SERVER4, timeout=0.2)
    pair.server.sh("nft", "delete", "table", "inet", "quietgate")  # the kernel forgets, as at a restart
    assert "generation 1 is in force" in pair.quietgate("boot")
    assert log_in(closed_host, "198.19.0.41")


# -- the machine fails


def test_the_disk_is_full_at_the_confirmation(pair: Pair) -> None:
    import contextlib

    from tests.kernel.test_crash import tmpfs

    sshd = pair.sshd(*PAM)
    with tmpfs(pair.root / "var/lib/quietgate", "size=3m"):
        pair.up(CLOSED)
        pair.policy('[ssh]\nlimit = "9 per 1m"\n' + CLOSED)
        pair.quietgate("up", "--detach")
        with contextlib.suppress(OSError), (pair.root / "var/lib/quietgate/filler").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        assert "generation 2 is confirmed" in pair.quietgate("confirm")
        assert log_in(sshd)
        pair.server.sh("nft", "delete", "table", "inet", "quietgate")
        (pair.root / "var/lib/quietgate/filler").unlink()
        assert "generation 2 is in force" in pair.quietgate("boot"), "a rename needs no room"
        assert log_in(sshd)


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 9, 15])
def test_killed_at_every_step_of_up(closed_host: Sshd, number: int) -> None:
    pair = closed_host.pair
    begin = time.monotonic()
    pair.policy('[ssh]\nlimit = "6 per 1m"\n' + CLOSED)
    pair.quietgate("up", "--now")
    whole = time.monotonic() - begin
    for step in range(12):
        pair.policy(f'[ssh]\nlimit = "{step % 7 + 7} per 1m"\n' + CLOSED)
        up = start_up(pair, "--trial", "1h")
        until = time.monotonic() + whole * (step + 1) / 10
        wait_for(lambda until=until: time.monotonic() > until, "the moment of the kill")  # type: ignore[misc]
        pair.server.sh("sh", "-c", f"pkill -{number} -f -- '--root {pair.root} up'", check=False)
        if number == 1:  # a hang-up is survived once the trial runs: then it is ended by hand
            wait_for(lambda up=up: up.poll() is not None or on_trial(pair), "dead, or on trial")  # type: ignore[misc]
            up.kill()
        up.communicate()
        assert log_in(closed_host, f"198.19.1.{step + 1}")
        pair.run("revert")
        pair.quietgate("status")
    pair.quietgate("up", "--now")
    assert verdict(pair) == "up"


def test_the_clock_jumps(closed_host: Sshd) -> None:
    """A year forward, a year back: bans and floor in the kernel go by its own time, and the next `up` bans nobody it should not."""
    pair = closed_host.pair
    with logged_in(closed_host) as session:
        pair.quietgate("ban", "198.19.9.9", "--for", "1h")
        for days in (400, -400):
            told = pair.run("up", "--now", env=wrong_clock(pair.root, days * 86400))
            assert "in force" in told.stdout
            assert session.alive()
            assert log_in(closed_host)
        pair.quietgate("up", "--now")
        assert log_in(closed_host)


# -- other tools


def test_another_table_that_drops_is_seen_beforehand_and_afterwards(closed_host: Sshd) -> None:
    pair = closed_host.pair
    drop = "table inet hardening {\n chain c { type filter hook input priority 10; policy drop;\n tcp dport 443 accept\n }\n }\n"
    with logged_in(closed_host):
        pair.server.nft(drop)
        pair.policy('[ssh]\nlimit = "9 per 1m"\n' + CLOSED)
        said = pair.quietgate("up", "--now", expect=4)
        assert "another tool's table inet hardening" in said
        assert "root is logged in from there" in said
        assert "SSH may not get in there" in pair.quietgate("doctor", expect=1)
        assert "inet hardening" in pair.quietgate("status")
        pair.server.sh("nft", "delete", "table", "inet", "hardening")
        pair.quietgate("up", "--now")
    assert log_in(closed_host)


def test_nat_that_sends_ssh_elsewhere_is_seen_beforehand(closed_host: Sshd) -> None:
    pair = closed_host.pair
    with logged_in(closed_host):
        pair.server.nft("table ip n {\n chain c { type nat hook prerouting priority -100;\n tcp dport 22 dnat to 10.9.9.9:22\n }\n }\n")
        pair.policy('[ssh]\nlimit = "9 per 1m"\n' + CLOSED)
        assert "would be shut out" in pair.quietgate("up", "--now", expect=4)
        pair.server.sh("nft", "delete", "table", "ip", "n")
    assert log_in(closed_host)


def test_flush_ruleset_by_others_is_noticed(closed_host: Sshd) -> None:
    pair = closed_host.pair
    pair.server.sh("nft", "flush", "ruleset")
    assert verdict(pair) == "down"
    assert "nothing is limited or banned" in pair.quietgate("status")
    assert log_in(closed_host), "flushed is open, not closed"
    pair.quietgate("up", "--now")
    assert log_in(closed_host)
