"""Secrets come from where only root puts them, and are told to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.errors import InputError
from quietgate.host import systemd
from quietgate.host.secret import LONGEST, secret


def made(place: Path, text: str, mode: int = 0o600) -> str:
    file = place / "key"
    file.write_text(text)
    file.chmod(mode)
    return "file:/key"


def test_a_file_of_roots_alone_below_the_root(tmp_path: Path) -> None:
    assert secret("", tmp_path) == ""
    assert secret(made(tmp_path, "word\n"), tmp_path) == "word"


@pytest.mark.parametrize(("text", "mode", "said"), [
    ("s3cr3t-v4lue", 0o640, "others than root may read"), ("s3cr3t-v4lue", 0o604, "others than root may read"), ("", 0o600, "is empty"),
    ("\n", 0o600, "is empty"), ("x" * (LONGEST + 1), 0o600, "is too long"),
])  # fmt: skip
def test_what_is_no_secret(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        secret(made(tmp_path, text, mode), tmp_path)
    assert not text.strip() or text not in f"{error.value.message} {error.value.hint}"


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        secret("file:/missing", tmp_path)
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InputError, match="no text"):
        secret("file:/key", tmp_path)


def test_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "RUNNING", tmp_path)
    with pytest.raises(InputError, match="there is no credential 'hook'") as error:
        secret("credential:hook", tmp_path)
    assert "LoadCredential=hook:" in error.value.hint
    (tmp_path / "hook").write_text("word\n")
    (tmp_path / "hook").chmod(0o440)  # as systemd makes them
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret("credential:hook", Path("/")) == "word"
    for name in ("../hook", ".hook", "a/b"):
        with pytest.raises(InputError, match="no credential"):
            secret(f"credential:{name}", Path("/"))
