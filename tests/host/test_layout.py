"""Whose the directories are: as root, with a user that stands for the guard's."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from quietgate.host import layout
from quietgate.host.paths import Paths
from quietgate.state.database import Store

GUARD = 64321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(layout, "guard_user", lambda: (GUARD, GUARD))
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(0o755)
    return Paths(tmp_path)


def owner(path: Path) -> tuple[int, int, int]:
    about = path.lstat()
    return about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)


def as_guard(code: str, *, groups: str = "--clear-groups", user: int = GUARD) -> subprocess.CompletedProcess[str]:
    """Python as the guard, which can do nothing that root can."""
    words = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        groups,
        "--bounding-set=-all",
        "--inh-caps=-all",
        "/usr/bin/python3",
        "-c",
        code,
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_an_earlier_layout_is_moved_and_each_gets_his_own(paths: Paths) -> None:
    paths.generations.mkdir(parents=True)
    (paths.generations / "1.json").write_text("{}")
    with Store(paths.state / "quietgate.db") as store:
        store.put_about("a", "b")
    (paths.state / "key").write_bytes(bytes(32))
    for _ in range(2):
        layout.arrange(paths)
    assert owner(paths.state) == (0, GUARD, 0o2750)
    assert owner(paths.generations) == (0, GUARD, 0o2750)
    assert owner(paths.generations / "1.json") == (0, GUARD, 0o640)
    assert owner(paths.guard_state) == (GUARD, GUARD, 0o2770)
    assert owner(paths.store) == owner(paths.key) == (GUARD, GUARD, 0o660)
    assert owner(paths.lock) == (0, GUARD, 0o660)
    assert owner(paths.guard_run) == (GUARD, GUARD, 0o755)
    with Store(paths.store) as store:
        assert store.about("a") == "b"


def test_root_makes_the_database_and_the_guard_writes_it(paths: Paths) -> None:
    layout.arrange(paths)
    os.umask(0o077)
    try:
        with Store(paths.store) as store:
            store.put_about("a", "b")
            assert all(owner(f) == (GUARD, GUARD, 0o660) for f in paths.guard_state.iterdir())
            write = f"import sqlite3; db = sqlite3.connect('{paths.store}'); db.execute('INSERT INTO about VALUES (1, 2)'); db.commit()"
            assert as_guard(write).stderr == ""
    finally:
        os.umask(0o022)


def test_a_root_that_is_nothing_but_root_writes_it_too(paths: Paths) -> None:
    """As the boot and the refresh are: the access control list lets it in. What it makes, the guard can write."""
    layout.arrange(paths)
    with Store(paths.store):
        pass
    insert = "INSERT INTO about VALUES ('{0}', 2)"
    code = "import os, sqlite3; os.umask(0o077); db = sqlite3.connect('{1}'); db.execute(\"" + insert + '"); db.commit(); os._exit(0)'
    bare = as_guard(code.format("root", paths.store), user=0)
    assert bare.stderr == "", "and it leaves its log behind"
    assert (paths.store.with_name("quietgate.db-wal")).exists()
    assert as_guard(code.format("guard", paths.store)).stderr == ""
    with Store(paths.store) as store:
        assert store.about("root") == store.about("guard") == "2"


def test_a_link_in_the_guards_directory_leads_nobody_anywhere(paths: Paths, tmp_path: Path) -> None:
    layout.arrange(paths)
    victim = tmp_path / "victim"
    victim.write_text("")
    victim.chmod(0o600)
    (paths.guard_state / "quietgate.db").symlink_to(victim)
    os.link(victim, paths.guard_state / "hard")
    os.mkfifo(paths.guard_state / "pipe")
    layout.arrange(paths)
    for end in ("", "-wal"):
        (paths.guard_state / f"quietgate.db{end}").unlink(missing_ok=True)
        (paths.guard_state / f"quietgate.db{end}").symlink_to(victim)
        for read_only in (False, True):
            with pytest.raises(Exception, match="no regular file"):
                Store(paths.store, read_only=read_only)
        (paths.guard_state / f"quietgate.db{end}").unlink()
    assert owner(victim) == (0, 0, 0o600)
    assert victim.read_bytes() == b""


def test_what_was_confirmed_goes_by_roots_own_word_of_whose_it_is(paths: Paths) -> None:
    from quietgate.generations.records import Generations, Record

    layout.arrange(paths)
    kept = Generations(paths.generations)
    kept.confirm(Record(1, "0" * 64, "chain g1_in", (22,), (), 0.0))
    kept.belong_to("mine", "mine")
    kept.belong_to("mine", "what the guard wrote")
    assert kept.newest() is not None
    kept.belong_to("another", "another")
    assert kept.newest() is None
