"""Whatever goes wrong in `up`: the old ruleset or the new one, whole, a clear message, and the next `up` works."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import QUIETGATE, SERVER4, Pair, sh, wait_for
from tests.kernel.people import verdict

OLD = '[ssh]\nlimit = "2 per 1m"\n[firewall]\ndeny = ["198.19.5.0/24"]\n'
NEW = '[ssh]\nlimit = "4 per 30s"\n[firewall]\ndefault = "drop"\n'


def rules(pair: Pair) -> str:
    """The table without the numbers of generations, counters and set elements."""
    text = pair.server.sh("nft", "-s", "-t", "list", "table", "inet", "quietgate", check=False)
    return re.sub(r"\bg\d+_", "g_", text)


def chains(text: str) -> str:
    """Only the chains, by name: state sets of the next ruleset may already stand beside the old rules."""
    return "\n".join(sorted(re.findall(r"^\tchain .*?^\t}$", text, re.MULTILINE | re.DOTALL)))


def kill_at_random(pair: Pair, times: int, seed: int) -> None:
    pair.up(OLD)
    old = chains(rules(pair))
    pair.up(NEW)
    new = chains(rules(pair))
    assert old != new
    pair.quietgate("ban", "198.19.0.9")
    dice = random.Random(seed)
    begin = time.monotonic()
    pair.up(OLD)
    whole = time.monotonic() - begin
    for turn in range(times):
        pair.policy(OLD if turn % 2 else NEW)
        child = subprocess.Popen(["ip", "netns", "exec", pair.server.name, str(QUIETGATE), "--root", str(pair.root), "up", "--now"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(dice.uniform(0.05, whole * 1.1))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # nft as well: it is part of `up`
        child.wait()
        found = chains(rules(pair))
        assert found in (old, new), f"seed {seed}, turn {turn}: neither the old ruleset nor the new one"
        assert pair.client.connect("198.19.0.9", SERVER4, 8000, timeout=0.02) is None
        if turn % 5 == 4:
            pair.quietgate("up", "--now")
            assert chains(rules(pair)) == (old if turn % 2 else new)
            pair.quietgate("status")
    pair.quietgate("up", "--now")
    assert "is dropped, by rule ban.host4" in pair.quietgate("why", "198.19.0.9")


@pytest.mark.long
def test_kill_9_at_random_moments(pair: Pair) -> None:
    kill_at_random(pair, 20, 20261124)


@pytest.mark.long
def test_kill_9_at_five_hundred_moments(pair: Pair) -> None:
    kill_at_random(pair, 500, 500)


def unchanged(pair: Pair, expect: int, says: str, *words: str, env: dict[str, str] | None = None) -> None:
    """A command that fails with this code and these words, and changes nothing."""
    before = pair.server.sh("nft", "list", "ruleset")
    done = pair.run(*words, env=env)
    assert done.returncode == expect, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert pair.server.sh("nft", "list", "ruleset") == before


@pytest.fixture
def changed(pair: Pair) -> Pair:
    """Something is in force, and the policy on disk is another."""
    pair.up(OLD)
    pair.policy(NEW)
    return pair


def with_nft(tmp_path: Path, script: str) -> dict[str, str]:
    """An environment whose first nft is this shell script."""
    place = tmp_path / "bin"
    place.mkdir(exist_ok=True)
    (place / "nft").write_text(f"#!/bin/sh\n{script}\n")
    (place / "nft").chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def test_an_nft_that_is_too_old(changed: Pair, tmp_path: Path) -> None:
    env = with_nft(tmp_path, 'echo "nftables v0.9.8 (E.D.S.)"')
    unchanged(changed, 1, "too old", "up", "--now", env=env)


def test_an_nft_that_refuses(changed: Pair, tmp_path: Path) -> None:
    real = sh("sh", "-c", "command -v nft").strip()
    env = with_nft(tmp_path, f'[ "$1" = "-f" ] && {{ echo "Error: no" >&2; exit 1; }}\nexec {real} "$@"')
    unchanged(changed, 1, "nft refused", "up", "--now", env=env)


def test_no_nft_at_all(changed: Pair) -> None:
    """Seen in a mount namespace where the program is covered up."""
    real = os.path.realpath(sh("sh", "-c", "command -v nft").strip())
    command = f"mount --bind /dev/null {real} && exec ip netns exec {changed.server.name} {QUIETGATE} --root {changed.root} up --now"
    before = changed.server.sh("nft", "list", "ruleset")
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "nft" in done.stderr
    assert "install" in done.stderr
    assert changed.server.sh("nft", "list", "ruleset") == before


def test_no_root(changed: Pair) -> None:
    """Root's user number without its powers, as in a container."""
    before = changed.server.sh("nft", "list", "ruleset")
    for words in (("up", "--now"), ("down",), ("ban", "198.19.0.9"), ("status",)):
        full = ["ip", "netns", "exec", changed.server.name, "setpriv", "--bounding-set=-all", "--inh-caps=-all", str(QUIETGATE),
                "--root", str(changed.root), *words]  # fmt: skip
        done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 77, (words, done.stderr)
        assert "root" in done.stderr
    assert changed.server.sh("nft", "list", "ruleset") == before


@contextlib.contextmanager
def tmpfs(place: Path, options: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    sh("mount", "-t", "tmpfs", "-o", options, "quietgate-test", str(place))
    try:
        yield
    finally:
        sh("umount", "-l", str(place))


def test_a_full_disk(pair: Pair) -> None:
    with tmpfs(pair.root / "var/lib/quietgate", "size=2m"):
        pair.up(OLD)
        pair.policy(NEW)
        filler = pair.root / "var/lib/quietgate/filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        before = pair.server.sh("nft", "list", "ruleset")
        done = pair.run("up", "--now")
        assert done.returncode == 1
        assert "nothing was changed" in done.stderr
        assert pair.server.sh("nft", "list", "ruleset") == before
        done = pair.run("ban", "198.19.0.9")
        assert done.returncode == 1
        assert pair.server.sh("nft", "list", "ruleset") == before
        filler.unlink()
        pair.quietgate("up", "--now")


def test_a_read_only_disk(pair: Pair) -> None:
    place = pair.root / "var/lib/quietgate"
    with tmpfs(place, "size=2m"):
        pair.up(OLD)
        pair.policy(NEW)
        sh("mount", "-o", "remount,ro", str(place))
        unchanged(pair, 1, "nothing was changed", "up", "--now")
        unchanged(pair, 1, "nothing was changed", "ban", "198.19.0.9")
        assert "198.19.0.9" not in pair.quietgate("bans")
        sh("mount", "-o", "remount,rw", str(place))
        pair.quietgate("up", "--now")


def test_another_up_at_the_same_time(changed: Pair) -> None:
    lock = changed.root / "run/quietgate/lock"
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        unchanged(changed, 1, "another quietgate", "up", "--now")
    changed.quietgate("up", "--now")


def test_two_real_ups_at_once_leave_one_whole_ruleset(changed: Pair) -> None:
    words = (str(QUIETGATE), "--root", str(changed.root), "up", "--now")
    children = [changed.start(changed.server, *words) for _ in range(6)]
    wait_for(lambda: all(c.poll() is not None for c in children), "all end", 60)
    assert {c.returncode for c in children} <= {0, 1}
    assert 0 in {c.returncode for c in children}
    changed.quietgate("diff")


def test_a_broken_policy_changes_nothing(changed: Pair) -> None:
    changed.policy('[ssh]\nlimit = "5/min"\n')
    unchanged(changed, 2, "quietgate.toml:2", "up", "--now")


def test_a_store_that_is_no_database(changed: Pair) -> None:
    store = changed.root / "var/lib/quietgate/guard/quietgate.db"
    for file in store.parent.glob("quietgate.db*"):
        file.unlink()
    store.write_bytes(b"this is no database, " * 100)
    unchanged(changed, 1, "not a database", "up", "--now")


def test_somebody_elses_change_is_noticed_and_mended(pair: Pair) -> None:
    pair.up(OLD)
    pair.server.sh("nft", "add", "rule", "inet", "quietgate", "input", "accept")
    assert pair.quietgate("status").startswith("drift")
    assert "somebody else" in pair.quietgate("diff", expect=5)
    pair.quietgate("up", "--now")
    assert verdict(pair) == "up"


def booted(pair: Pair, what_became_of_the_store: Callable[[Path], object]) -> str:
    """What `boot` says on a host whose kernel has nothing of ours yet, and whose rules are in force then."""
    pair.up(OLD)
    pair.quietgate("ban", "198.19.0.9")
    pair.server.sh("nft", "flush", "ruleset")
    store = pair.root / "var/lib/quietgate/guard/quietgate.db"
    for end in ("-wal", "-shm"):
        store.with_name(store.name + end).unlink(missing_ok=True)
    what_became_of_the_store(store)
    said = pair.quietgate("boot", expect=3)
    assert pair.client.connect("198.19.5.1", SERVER4, 8000, timeout=0.02) is None
    assert "deny" in pair.quietgate("why", "198.19.5.1")
    assert verdict(pair) == "up"
    return said


def test_a_boot_with_a_damaged_database_mends_it(pair: Pair) -> None:
    said = booted(pair, lambda store: store.write_bytes(b"this is no database, " * 100))
    assert "the database was damaged" in said
    assert "quietgate.db.damaged" in said
    pair.quietgate("ban", "198.19.0.9")


def test_a_boot_with_a_directory_in_the_databases_place_sets_it_aside(pair: Pair) -> None:
    def not_a_file(store: Path) -> None:
        store.unlink()
        store.mkdir()

    assert "the database was damaged" in booted(pair, not_a_file)


def test_a_boot_with_a_damaged_database_on_a_disk_that_is_full_has_the_rules_too(pair: Pair) -> None:
    with tmpfs(pair.root / "var/lib/quietgate", "size=2m"):

        def damaged_and_full(store: Path) -> None:
            store.write_bytes(b"this is no database, " * 100)
            with contextlib.suppress(OSError), store.with_name("filler").open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(4096))

        said = booted(pair, damaged_and_full)
        assert "without bans" in said
        assert "database or disk is full" in said


@pytest.mark.parametrize(
    "written",
    ["UPDATE bans SET first=x'01', until=NULL", "UPDATE bans SET length=77", "UPDATE bans SET scope='moon', length=24",
     "INSERT INTO logins VALUES ('x', 9, x'01', 9e18, 9e18, 'journal')", "INSERT INTO floor VALUES (4, x'', 0, 9e99)",
     "DROP TABLE bans", "UPDATE about SET value='another' WHERE key='machine'",
     "CREATE TRIGGER evil BEFORE UPDATE ON about BEGIN SELECT load_extension('/tmp/evil.so'); END"],
)  # fmt: skip
def test_a_boot_loads_the_rules_whatever_the_guard_has_written(pair: Pair, written: str) -> None:
    """The database is the guard's: one that somebody has taken over must not keep the next boot from its rules."""
    pair.up(OLD)
    pair.quietgate("ban", "198.19.0.9")
    pair.server.sh("nft", "flush", "ruleset")
    with contextlib.closing(sqlite3.connect(pair.root / "var/lib/quietgate/guard/quietgate.db")) as db, db:
        db.execute(written)
    assert pair.run("boot").returncode in (0, 3)
    assert pair.client.connect("198.19.5.1", SERVER4, 8000, timeout=0.02) is None
    assert "goto g1_in" in pair.server.sh("nft", "list", "chain", "inet", "quietgate", "input")
