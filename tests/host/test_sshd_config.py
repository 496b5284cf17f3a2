"""sshd's ports: what its configuration says, what its title says, what ssh.socket says; a few lies too."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from quietgate.host import sshd_config
from quietgate.host.sshd_config import Config, effective, read_config

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")


def write(place: Path, text: str, name: str = "sshd_config") -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(place: Path, text: str) -> Config:
    """What the files say, without sshd."""
    return sshd_config._config(read_config(write(place, text)))


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", (22,)),
        ("Port 2222\n", (2222,)),
        ("port=2222", (2222,)),
        ("PORT\t2222 # the usual one\nPort 22\n", (22, 2222)),
        ("#Port 2222\n", (22,)),
        ("Port 0\nPort 65536\nPort ssh\nPort -1\n", (22,)),
        ("ListenAddress 192.0.2.1\n", (22,)),
        ("ListenAddress 192.0.2.1:2200\n", (2200,)),
        ("ListenAddress [2001:db8::1]:2200\n", (2200,)),
        ("ListenAddress 2001:db8::1\nPort 2222\n", (2222,)),  # not port 1
        ("ListenAddress host.example.net:2200\nPort 22\n", (2200,)),  # all have ports of their own: `Port` is not used
        ("ListenAddress 192.0.2.1:2200\nListenAddress 192.0.2.2\nPort 22\nPort 2222\n", (22, 2200, 2222)),
        ("Port 22\nMatch User anna\nPort 2222\n", (22,)),
        ("Match all\nPort 2222\n", (2222,)),
        ("Match user git\nPort 2222\nMatch all\nPort 2223\n", (2223,)),
        ("ListenAddress 0.0.0.0:2222 rdomain vrf1\n", (2222,)),
    ],
)
def test_ports_of_a_configuration(tmp_path: Path, text: str, ports: tuple[int, ...]) -> None:
    assert files(tmp_path, text).ports == ports


def test_the_first_value_of_a_keyword_counts(tmp_path: Path) -> None:
    config = files(tmp_path, "MaxStartups 5:30:20\nMaxStartups 10\nLoginGraceTime 1m30s\nLogLevel VERBOSE\n")
    assert (config.startups(), config.grace(), config.values["loglevel"]) == ((5, 20), 90, "VERBOSE")


@pytest.mark.parametrize(("text", "startups"), [("", (10, 100)), ("MaxStartups 7", (7, 7)), ("MaxStartups 3:50:9", (3, 9))])
def test_max_startups(tmp_path: Path, text: str, startups: tuple[int, int]) -> None:
    assert files(tmp_path, text).startups() == startups


@pytest.mark.parametrize(("text", "grace"), [("", 120), ("LoginGraceTime 0", 0), ("LoginGraceTime 2m", 120), ("LoginGraceTime 1h", 3600)])
def test_login_grace_time(tmp_path: Path, text: str, grace: int) -> None:
    assert files(tmp_path, text).grace() == grace


def test_included_files_are_read_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path, "Port 2201\n", "conf.d/b.conf")
    write(tmp_path, "Port 2202\nMatch User anna\nPort 9\n", "conf.d/a.conf")
    write(tmp_path, "Port 2203\n", "conf.d/a.txt")
    write(tmp_path, "Port 2204\n", "more")
    config = files(tmp_path, f'Include conf.d/*.conf "{tmp_path}/more" nowhere/*\nPort 22\n')
    assert config.ports == (22, 2201, 2202, 2204)


def test_files_that_include_each_other_come_to_an_end(tmp_path: Path) -> None:
    write(tmp_path, f"Include {tmp_path}/sshd_config\nPort 2205\n", "other")
    assert files(tmp_path, f"Port 22\nInclude {tmp_path}/other\n").ports == (22, 2205)


def test_a_configuration_that_cannot_be_read_is_the_default(tmp_path: Path) -> None:
    assert sshd_config._config(read_config(tmp_path / "none")).ports == (22,)
    assert sshd_config._config(read_config(tmp_path)).ports == (22,)
    assert files(tmp_path, "\0\udcff".encode("utf-8", "surrogatepass").decode("latin-1") + "\nPort 2222").ports == (2222,)


# -- sshd itself


@pytest.mark.skipif(SSHD is None, reason="no sshd here")
def test_sshd_itself_is_asked_and_knows_more_than_the_files(tmp_path: Path) -> None:
    key = host_key(tmp_path)
    path = write(tmp_path, f"HostKey {key}\nPort 2222\nMatch User anna\nX11Forwarding no\n")
    config = effective(("-f", str(path), "-o", "MaxStartups=4:30:8"))
    assert config.ports == (2222,)
    assert config.startups() == (4, 8)
    assert "ciphers" in config.values, "sshd -T answered"


@pytest.mark.skipif(SSHD is None, reason="no sshd here")
def test_without_host_keys_the_files_are_read(tmp_path: Path) -> None:
    """Before its first boot an image has none, and `sshd -T` refuses to answer."""
    path = write(tmp_path, f"HostKey {tmp_path}/none\nPort 2222\nListenAddress 0.0.0.0\nMaxStartups 6\n")
    config = effective(("-f", str(path)))
    assert "ciphers" not in config.values, "sshd -T refused"
    assert (config.ports, config.startups()) == ((2222,), (6, 6))


@pytest.mark.skipif(SSHD is None, reason="no sshd here")
def test_options_count_even_where_sshd_refuses(tmp_path: Path) -> None:
    path = write(tmp_path, f"HostKey {tmp_path}/none\n")
    assert effective(("-f", str(path), "-p", "2200")).ports == (2200,)
    assert effective(("-f", str(path), "-o", "Port=2201", "-p2202")).ports == (2201, 2202)
    assert effective((f"-f{path}", "-oPort 2203")).ports == (2203,)


def host_key(place: Path) -> Path:
    import subprocess

    key = place / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    return key


# -- the title of a process


@pytest.mark.parametrize(
    ("title", "startups", "arguments"),
    [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", (0, 10, 100), ("-D",)),
        (
            "sshd: /usr/sbin/sshd -D -f /etc/ssh/x -o Port=2 [listener] 93 of 10-100 startups",
            (93, 10, 100),
            ("-D", "-f", "/etc/ssh/x", "-o", "Port=2"),
        ),
        ("sshd: sshd [listener] 1 of 5-5 startups", (1, 5, 5), ()),
        ("/usr/sbin/sshd -D", None, ("-D",)),  # before 8.2, and in the first moment
        ("sshd: /usr/sbin/sshd [listener]", None, ()),
        ("sshd: anna [priv]", None, None),
        ("sshd: root@pts/0", None, None),
        ("", None, None),
    ],
)
def test_the_title(title: str, startups: tuple[int, int, int] | None, arguments: tuple[str, ...] | None) -> None:
    found = sshd_config._TITLE.match(title)
    if arguments is None:
        assert found is None or found[4] is None
        return
    assert found is not None
    assert tuple(found[2].split()) == arguments
    assert (tuple(int(n) for n in found.groups()[2:]) if found[4] else None) == startups


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("-D", "-e"), ()),
        (("-D", "-f", "/x", "-E", "/log"), ("-f", "/x")),
        (("-f/x", "-p2222", "-oPort=1"), ("-f/x", "-p2222", "-oPort=1")),
        (("-o",), ("-o", "")),
    ],
)
def test_of_a_daemons_arguments_those_are_kept_that_change_its_configuration(arguments: tuple[str, ...], kept: tuple[str, ...]) -> None:
    assert sshd_config._kept(arguments) == kept


# -- ssh.socket


@pytest.mark.parametrize(
    ("shown", "ports"),
    [
        ("Listen=0.0.0.0:22 (Stream)\nListen=[::]:22 (Stream)\nActiveState=active\nUnitFileState=enabled\n", (22,)),
        ("Listen=[::]:2222 (Stream)\nActiveState=inactive\nUnitFileState=enabled\n", (2222,)),  # from the next boot on
        ("Listen=22 (Stream)\nListen=192.0.2.1:2200 (Stream)\nActiveState=active\n", (22, 2200)),
        ("Listen=/run/ssh-unix-local/socket (Stream)\nListen=vsock::22 (Stream)\nActiveState=active\n", ()),
        ("Listen=[::]:22 (Datagram)\nActiveState=active\n", ()),
        ("Listen=[::]:99999 (Stream)\nActiveState=active\n", ()),
        ("Listen=[::]:22 (Stream)\nActiveState=inactive\nUnitFileState=disabled\n", ()),
        ("", ()),
    ],
)
def test_what_systemctl_says_of_ssh_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, ports: tuple[int, ...]) -> None:
    """A real program in systemctl's place prints what systemd 252 to 257 prints; systemd itself is in tests/boot."""
    program = write(tmp_path, f"#!/bin/sh\n[ \"$2\" = ssh.socket ] && printf '%s' '{shown}'\nexit 0\n", "systemctl")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sshd_config, "_PATH", f"{tmp_path}{os.pathsep}/usr/bin")
    monkeypatch.setattr(Path, "is_dir", lambda path: str(path) == "/run/systemd/system")
    assert sshd_config._systemd_sockets() == ports
