"""Real syslog daemons write what glibc's syslog(3) sends in sshd's name, and every form of theirs is read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietgate.sshlog.lines import Event, Reader, Stamps

pytestmark = [pytest.mark.long]
PACKAGES = ("busybox-static", "inetutils-syslogd", "socklog", "runit", "syslog-ng-core", "libivykis0", "libpcre3", "libnet1")
PLACE = Path("/var/cache/quietgate-tests/syslog")
SAID = "Failed password for root from 203.0.113.9 port 40000 ssh2"
SENDER = f"""
import syslog, sys
syslog.openlog("sshd", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
syslog.syslog(syslog.LOG_INFO, {SAID!r})
"""
RSYSLOG = {
    "traditional": 'action(type="omfile" file="{file}" template="RSYSLOG_TraditionalFileFormat")',
    "file-format": 'action(type="omfile" file="{file}" template="RSYSLOG_FileFormat")',
    "protocol23": 'action(type="omfile" file="{file}" template="RSYSLOG_SyslogProtocol23Format")',
    "priority-first": 'template(name="t" type="string" string="%timestamp:::date-rfc3339% %syslogseverity-text% %hostname% %syslogtag%%msg%\\n")\n'
                      'action(type="omfile" file="{file}" template="t")',
    "mysql-date": 'template(name="t" type="string" string="%timestamp:::date-year%-%timestamp:::date-month%-%timestamp:::date-day% '
                  '%timestamp:::date-hour%:%timestamp:::date-minute%:%timestamp:::date-second% %hostname% %syslogtag%%msg%\\n")\n'
                  'action(type="omfile" file="{file}" template="t")',
}  # fmt: skip
SYSLOG_NG = {
    "default": "", "iso": "ts-format(iso)", "full": "ts-format(full)", "fractions": "frac-digits(3)",
    "facility": 'template("$DATE $HOST $FACILITY.$LEVEL $MSGHDR$MSG\\n")', "protocol": "flags(syslog-protocol)",
}  # fmt: skip


@pytest.fixture(scope="module")
def unpacked() -> Path:
    root = PLACE / "root"
    if len(list(PLACE.glob("*.deb"))) < len(PACKAGES):
        PLACE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=PLACE, check=True, capture_output=True)
        for package in PLACE.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="qg-syslog-", dir="/run") as name:
        dev = Path(name) / "dev"
        dev.mkdir()
        for node, minor in (("null", 3), ("zero", 5), ("urandom", 9), ("random", 8)):
            os.mknod(dev / node, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        yield Path(name)


def written(place: Path, daemon: str, file: Path, env: dict[str, str] | None = None) -> list[Event]:
    """Run a daemon whose /dev is that place's, send one line in sshd's name, and read what it wrote."""
    (place / "send.py").write_text(SENDER)
    (place / "run.sh").write_text(
        f"mount --bind {place}/dev /dev\n({daemon}) >{place}/out 2>&1 &\n"
        f"for n in $(seq 50); do [ -S /dev/log ] && {sys.executable} {place}/send.py; sleep 0.2; grep -qs Failed {file} && break; done\n"
    )
    subprocess.run(
        ["unshare", "-m", "-p", "-f", "--kill-child", "sh", str(place / "run.sh")],
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )
    reader = Reader(Stamps(time.time()))
    assert file.exists(), (place / "out").read_text()
    text = file.read_text()
    found = reader.read(text)
    assert not reader.unread.counts, text
    assert found, text
    return found


def right(found: list[Event], *, host: bool = True, pid: bool = True) -> None:
    event = found[0]
    assert (str(event.said.address), event.said.port, event.message) == ("203.0.113.9", 40000, SAID)
    assert abs(event.at - time.time()) < 120
    assert bool(event.pid) is pid
    assert bool(event.host) is host


@pytest.mark.parametrize("form", RSYSLOG)
def test_rsyslog(place: Path, form: str) -> None:
    file = place / "log"
    (place / "conf").write_text(f'module(load="imuxsock")\n{RSYSLOG[form].format(file=file)}\n')
    right(written(place, f"exec rsyslogd -n -f {place}/conf -i {place}/pid", file))


@pytest.mark.parametrize("small", [False, True])
def test_busybox(place: Path, unpacked: Path, small: bool) -> None:
    file = place / "log"
    right(written(place, f"exec {unpacked}/bin/busybox syslogd -n {'-S ' if small else ''}-O {file}", file), host=not small)


def test_inetutils(place: Path, unpacked: Path) -> None:
    file = place / "log"
    (place / "conf").write_text(f"*.*\t{file}\n")
    right(written(place, f"exec {unpacked}/usr/sbin/syslogd -n --rcfile={place}/conf --socket=/dev/log --pidfile={place}/pid", file))


@pytest.mark.parametrize("stamp", ["", "-t", "-tt", "-ttt"])
def test_socklog(place: Path, unpacked: Path, stamp: str) -> None:
    (place / "logs").mkdir()
    right(
        written(
            place, f"{unpacked}/usr/sbin/socklog unix /dev/log | {unpacked}/usr/bin/svlogd {stamp} {place}/logs", place / "logs/current"
        ),
        host=False,
    )


@pytest.mark.parametrize("form", SYSLOG_NG)
def test_syslog_ng(place: Path, unpacked: Path, form: str) -> None:
    file = place / "log"
    (place / "conf").write_text(
        f'@version: 3.38\nsource s {{ unix-dgram("/dev/log"); }};\n'
        f'destination d {{ file("{file}" {SYSLOG_NG[form]}); }};\nlog {{ source(s); destination(d); }};\n'
    )
    libs = [p for p in (unpacked / "usr/lib").rglob("syslog-ng") if p.is_dir()]
    modules = ":".join(str(m) for lib in libs for m in (lib, *lib.iterdir()) if m.is_dir())
    path = ":".join(str(p) for p in {f.parent for f in unpacked.rglob("*.so*")})
    daemon = (f"exec {unpacked}/usr/sbin/syslog-ng -F --no-caps -f {place}/conf --persist-file={place}/persist --pidfile={place}/pid "
              f"--control={place}/ctl --module-path={modules}")  # fmt: skip
    right(written(place, daemon, file, {"LD_LIBRARY_PATH": path}))
