"""Users and groups where whoever knows them does not answer."""

from __future__ import annotations

import pwd
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.host import accounts

PASSWD = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbert:x:1001:27::/home/bert:/bin/sh\n+nis\nbroken:x:y:z\n"
GROUP = "root:x:0:\nsudo:x:27:anna\nbroken\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_asker", accounts._Asker())
    monkeypatch.setattr(accounts, "WITHIN", 0.2)
    monkeypatch.setattr(accounts._Asker.bounded, "__defaults__", (0.2,))


@pytest.fixture
def directory_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[threading.Event]:
    """NSS asks a server that does not answer, until the test lets it."""
    answer = threading.Event()
    for name in ("getpwnam", "getpwuid", "getpwall"):
        real = getattr(pwd, name)
        monkeypatch.setattr(pwd, name, lambda *a, real=real: (answer.wait(30), real(*a))[1])
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    monkeypatch.setattr(accounts, "PASSWD", tmp_path / "passwd")
    monkeypatch.setattr(accounts, "GROUP", tmp_path / "group")
    yield answer
    answer.set()


def test_who_is_who_by_this_host() -> None:
    assert accounts.user_number("root") == 0
    assert accounts.user_name(0) == "root"
    assert accounts.user_number("nobody here") is None
    assert accounts.user_number("nul\0byte") is None
    assert accounts.user_name(4_000_000_001) == "user 4000000001"
    assert 0 in accounts.administrators(["root", "%sudo", "%no-such-group"])


def test_a_directory_that_hangs_is_waited_for_once_and_the_files_answer(directory_hangs: threading.Event) -> None:
    begin = time.monotonic()
    assert accounts.user_number("anna") == 1000
    assert accounts.user_name(1001) == "bert"
    assert accounts.user_number("carla") is None
    assert accounts.administrators(["root", "%sudo"]) == {0, 1000, 1001}, "by the group's list and by their own group"
    for number in range(50):
        accounts.user_number(f"guess{number}")
    assert time.monotonic() - begin < 2.0, "one bound, not one for each question"
    assert sum(t.name == "accounts" and t.is_alive() for t in threading.enumerate()) <= 8, "no thread for each question"
    directory_hangs.set()


def test_what_was_answered_before_stays_while_the_directory_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: pwd.struct_passwd(("ldap", "x", 5000, 5000, "", "/", "/bin/sh")))
    assert accounts.user_number("ldap") == 5000
    answer = threading.Event()
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: (answer.wait(30), pwd.getpwuid(0))[1])
    assert accounts.user_number("ldap") == 5000
    answer.set()


def test_names_that_attackers_choose_fill_no_memory() -> None:
    for number in range(accounts.MOST_KEPT + 500):
        accounts.user_number(f"guess{number}")
    assert len(accounts._asker._kept) <= accounts.MOST_KEPT
