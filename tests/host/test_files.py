"""Reading what may be no file, and writing where somebody else may have put a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quietgate.errors import InputError, NotPermitted, StateError
from quietgate.host.files import MOST_ASIDE, aside_in, machine_id, remove, set_aside, write_durably, write_where_told
from quietgate.host.reading import read_whole


def test_only_a_regular_file_is_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_whole(tmp_path / "file", 5) == b"12345"
    assert read_whole(tmp_path / "link", 5, follow=True) == b"12345"
    for name in ("fifo", "link", "."):
        with pytest.raises(OSError):
            read_whole(tmp_path / name, 5)
    with pytest.raises(OSError, match="more than"):
        read_whole(tmp_path / "file", 4)


def test_what_is_set_aside_is_bounded_and_what_somebody_put_there_stays(tmp_path: Path) -> None:
    for n in range(MOST_ASIDE + 4):
        (tmp_path / "7.json").write_text(str(n))
        set_aside(tmp_path / "7.json")
    assert len(aside_in(tmp_path)) == MOST_ASIDE
    place = tmp_path / "dir"
    place.mkdir()
    (place / "of somebody's").touch()
    remove(place)
    assert not place.exists()
    assert any((tmp_path / name / "of somebody's").exists() for name in aside_in(tmp_path))
    remove(place)


@pytest.mark.parametrize("what", ["dir", "fifo", "link"])
def test_our_own_files_are_written_whatever_lies_there(tmp_path: Path, what: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("state", "state.new"):
        place = tmp_path / name
        if what == "dir":
            place.mkdir()
        elif what == "fifo":
            os.mkfifo(place)
        else:
            place.symlink_to(precious)
    write_durably(tmp_path / "state", "new")
    assert (tmp_path / "state").read_text() == "new"
    assert not (tmp_path / "state").is_symlink()
    assert precious.read_text() == "precious"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory like /tmp, in which others may write, and something of root's beside it."""
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0")
    return place


def test_a_link_that_others_may_have_put_there_is_not_followed(shared: Path) -> None:
    (shared / "week.html").symlink_to(shared.parent / "etc/passwd")
    (shared / "folder").symlink_to(shared.parent / "etc")
    for name in ("week.html", "folder/cron"):
        with pytest.raises(InputError, match="symbolic link"):
            write_where_told(shared / name, b"<html>")
    assert (shared.parent / "etc/passwd").read_text() == "root:x:0:0"
    assert os.listdir(shared.parent / "etc") == ["passwd"]
    write_where_told(shared / "other.html", b"<html>")
    assert (shared / "other.html").read_bytes() == b"<html>"
    assert sorted(os.listdir(shared)) == ["folder", "other.html", "week.html"], "nothing half done is left"


def test_a_link_in_a_directory_of_ones_own_is(shared: Path) -> None:
    (shared.parent / "www").symlink_to("etc")
    write_where_told(shared.parent / "www/page.html", b"<html>", 0o644)
    assert (shared.parent / "etc/page.html").read_bytes() == b"<html>"
    assert (shared.parent / "etc/page.html").stat().st_mode & 0o777 == 0o644


def test_a_planted_file_is_replaced_and_never_written_through(shared: Path) -> None:
    planted = shared / "week.html"
    planted.write_text("mine")
    planted.chmod(0o666)
    held = planted.open()
    write_where_told(planted, b"<html>")
    assert held.read() == "mine", "whoever holds the old one sees nothing of the new one"
    held.close()


def test_no_device_fifo_or_directory_is_replaced(shared: Path) -> None:
    os.mkfifo(shared / "fifo")
    for name, error in (("fifo", InputError), ("", InputError), ("missing/x", StateError)):
        with pytest.raises(error):
            write_where_told(shared / name, b"x")
    with pytest.raises(InputError):
        write_where_told(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()


def test_a_relative_name_with_dots_means_what_it_says(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared)
    write_where_told(Path("../etc/./page.html"), b"x")
    assert (shared.parent / "etc/page.html").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_the_folder_of_another_user_is_one_in_which_others_may_write(shared: Path) -> None:
    home = shared.parent / "alice"
    home.mkdir()
    os.chown(home, 1000, 1000)
    (home / "report").symlink_to(shared.parent / "etc")
    with pytest.raises(InputError):
        write_where_told(home / "report/x", b"x")


@pytest.mark.parametrize(
    "text", ["", "0123", "\0" * 33, "0" * 32, "uninitialized", "0123456789ABCDEF" * 2, "0123456789abcdef0123456789abcdex"]
)
def test_a_damaged_machine_id_is_no_other_machine(tmp_path: Path, text: str) -> None:
    (tmp_path / "id").write_text(text)
    assert machine_id(tmp_path / "id") == ""
    (tmp_path / "id").write_text("0123456789abcdef0123456789abcdef\n")
    assert machine_id(tmp_path / "id") == "0123456789abcdef0123456789abcdef"


def test_not_permitted_is_not_damaged() -> None:
    assert not issubclass(NotPermitted, StateError)
