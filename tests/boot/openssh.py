"""What Debian 11's, 12's and 13's OpenSSH write of what people and attackers do, and what the guard counts of it.

    python -m tests.boot.openssh > docs/counting.md

Each sshd runs in a fresh tree of its release, with that release's PAM, as root's own daemon would; clients are real.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from tests.boot.tree import copy, minimal
from tests.kernel.clients import keys, leave_at_the_prompt, offer
from tests.kernel.guarded import Guarded, syslogged
from tests.kernel.lab import SERVER4, Pair, Sshd, make_pair, wait_for
from tests.kernel.pam_lab import EXPIRED, HASHED, RIGHT, USUAL, WRONG, People

RELEASES = ("bullseye", "bookworm", "trixie")
LEVELS = ("ERROR", "INFO", "VERBOSE")
GRACE = 15  # seconds until sshd ends who does not log in
PLACES = """set -e
t={tree}
mount --bind {tree} {tree}
mount -t tmpfs none $t/dev
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/tty $t/dev
mkdir $t/dev/pts && mount -t devpts devpts $t/dev/pts && ln -s pts/ptmx $t/dev/ptmx
touch $t/dev/log && mount --bind {log} $t/dev/log
mount -t proc proc $t/proc
exec chroot $t /usr/sbin/sshd -D -f /lab/config
"""


class Server(People):
    """A server of that release, and its guard."""

    def __init__(self, pair: Pair, sshd: Sshd, guard: Guarded) -> None:
        super().__init__(pair, sshd)
        self.guard = guard

    def counted(self, source: str) -> Fraction:
        """Guesses, as the guard weighs them."""
        rows = [json.loads(line) for line in self.pair.quietgate("why", source, "--json").splitlines()]
        weights = {"failed": Fraction(1), "excused": Fraction(-1), "unsure": Fraction(1, 3)}
        return sum((h["times"] * weights.get(h["outcome"], Fraction(0)) for r in rows for h in r["history"]), Fraction(0))

    def by_key(self, source: str, user: str, *more: str) -> None:
        """One ssh with the key that sshd knows."""
        words = [w for w in self.sshd.arguments(source, SERVER4, 20)[:-1] if w not in more]
        self.pair.client.sh(*words, *more, f"{user}@{SERVER4}", "true", check=False)


@contextlib.contextmanager
def server(release: str, level: str) -> Iterator[Server]:
    """sshd of that release at that LogLevel; users anna, emil (expired), otto (shut out by DenyUsers), ida (key and password)."""
    with tempfile.TemporaryDirectory(prefix="qg-openssh-", dir="/var/tmp") as place, make_pair(Path(place) / "root") as pair:
        tree = Path(place) / "tree"
        copy(minimal(release, "openssh-server"), tree)
        pair.root.mkdir(exist_ok=True)
        dev_log, log = syslogged(pair)
        sshd = Sshd.__new__(Sshd)
        # GSSAPI and reverse names would only wait here.
        sshd.prepare(pair, 22, (f"LogLevel {level}", "UsePAM yes", "PasswordAuthentication yes", "KbdInteractiveAuthentication yes"
                                if release != "bullseye" else "ChallengeResponseAuthentication yes", f"LoginGraceTime {GRACE}", "PermitRootLogin no",
                                "DenyUsers otto", "MaxAuthTries 6"))  # fmt: skip
        _people(tree, sshd)
        sshd.log = log
        sshd.process = pair.start(pair.server, "unshare", "-m", "sh", "-c", PLACES.format(tree=tree, log=dev_log))
        wait_for(lambda: pair.server.sh("ss", "-Htln", "sport = :22"), "sshd listens", 20)
        pair.up('[ssh]\nports = [22]\nlimit = "off"\n')
        guard = Guarded(pair, sshd, log)
        guard.start()
        try:
            yield Server(pair, sshd, guard)
        finally:
            guard.stop()


def _people(tree: Path, sshd: Sshd) -> None:
    lab = tree / "lab"
    lab.mkdir(mode=0o755)
    text = sshd.config.read_text()
    for name, source in re.findall(r"^(HostKey|AuthorizedKeysFile) (\S+)$", text, re.MULTILINE):
        shutil.copy(source, lab / name)
        text = text.replace(source, f"/lab/{name}")
    text = re.sub(r"(?m)^(PidFile|SetEnv) .*\n", "", text)
    (lab / "config").write_text(text + "Match User ida\nAuthenticationMethods publickey,keyboard-interactive:pam\n")
    (tree / "run/sshd").mkdir(exist_ok=True)
    users = {"anna": f"{HASHED}:{USUAL}", "emil": f"{HASHED}:{EXPIRED}", "otto": f"{HASHED}:{USUAL}", "ida": f"{HASHED}:{USUAL}"}
    with (tree / "etc/passwd").open("a") as passwd, (tree / "etc/shadow").open("a") as shadow:
        for number, (name, rest) in enumerate(users.items()):
            passwd.write(f"{name}:x:{5001 + number}:100::/tmp:/bin/sh\n")
            shadow.write(f"{name}:{rest}\n")
    auth = tree / "etc/pam.d/common-auth"
    auth.write_text(auth.read_text().replace("pam_unix.so nullok", "pam_unix.so nullok nodelay"))


def _silent(s: Server, source: str) -> None:
    with s.pair.client.connect(source, SERVER4, 22) or contextlib.nullcontext() as opened:
        if opened is not None:
            opened.settimeout(GRACE + 10)
            with contextlib.suppress(OSError):
                while opened.recv(4096):
                    pass


def _says(text: bytes) -> Callable[[Server, str], None]:
    def does(s: Server, source: str) -> None:
        opened = s.pair.client.connect(source, SERVER4, 22)
        assert opened is not None
        with opened, contextlib.suppress(OSError):
            opened.settimeout(5)
            opened.sendall(text)
            while text and opened.recv(4096):
                pass

    return does


def _types(user: str, *words: str, method: str = "password", stays: bool = False) -> Callable[[Server, str], None]:
    return lambda s, source: void(s.types(source, user, *words, method=method, stays=stays))


def void(_: object) -> None:
    """For what is done for its effect."""


def _offers(user: str, count: int) -> Callable[[Server, str], None]:
    def does(s: Server, source: str) -> None:
        with tempfile.TemporaryDirectory(dir=s.pair.root) as place:
            offer(s.pair, source, keys(s.pair, count, Path(place)), user)

    return does


def _keyscan(s: Server, source: str) -> None:
    s.pair.client.sh("ip", "addr", "add", f"{source}/32", "dev", "lo", check=False)
    s.pair.client.sh("ip", "route", "replace", SERVER4, "dev", "eth0", "src", source)
    s.pair.client.sh("ssh-keyscan", "-T", "3", SERVER4, check=False)
    s.pair.client.sh("ip", "route", "del", SERVER4, check=False)


CHAT = "keyboard-interactive"
# What is done, how many guesses that is, and how.
DEEDS: tuple[tuple[str, int, Callable[[Server, str], None]], ...] = (
    ("connects, and says nothing until LoginGraceTime", 0, _silent),
    ("a wrong password, and nothing more until LoginGraceTime", 1, _types("anna", WRONG, stays=True)),
    ("a wrong password", 1, _types("anna", WRONG)),
    ("the same over keyboard-interactive", 1, _types("anna", WRONG, method=CHAT)),
    ("three wrong passwords in one ssh", 3, _types("anna", WRONG, WRONG, WRONG)),
    ("the same over keyboard-interactive", 3, _types("anna", WRONG, WRONG, WRONG, method=CHAT)),
    ("a mistype, then the right password", 1, _types("anna", WRONG, RIGHT)),
    ("the same over keyboard-interactive", 1, _types("anna", WRONG, RIGHT, method=CHAT)),
    ("a name that does not exist, one password", 1, _types("nobody-here", WRONG)),
    ("the same over keyboard-interactive", 1, _types("nobody-here", WRONG, method=CHAT)),
    ("a name that does not exist, three passwords", 3, _types("nobody-here", WRONG, WRONG, WRONG)),
    ("the same over keyboard-interactive", 3, _types("nobody-here", WRONG, WRONG, WRONG, method=CHAT)),
    ("root, whom PermitRootLogin refuses, one password", 1, _types("root", WRONG)),
    ("a user whom DenyUsers refuses, one password", 1, _types("otto", WRONG)),
    ("the right password of an account that is over", 0, _types("emil", RIGHT)),
    ("the same over keyboard-interactive", 0, _types("emil", RIGHT, method=CHAT)),
    ("the right key, then a wrong second factor", 1, lambda s, a: void(s.types(a, "ida", WRONG, method=f"publickey,{CHAT}"))),
    ("the right key, then the right second factor", 0, lambda s, a: void(s.types(a, "ida", RIGHT, method=f"publickey,{CHAT}"))),
    ("a wrong key", 1, _offers("anna", 1)),
    ("a wrong key for a name that does not exist", 1, _offers("nobody-here", 1)),
    ("an agent with eight keys, none of them right", 1, _offers("anna", 8)),
    ("a login by key", 0, lambda s, a: s.by_key(a, "anna")),
    ("Ctrl-C at the password", 0, lambda s, a: leave_at_the_prompt(s.pair, a, "anna")),
    ("connects and leaves", 0, _says(b"")),
    ("ssh-keyscan", 0, _keyscan),
    ("speaks HTTP", 0, _says(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")),
    ("names no cipher that sshd has", 0, lambda s, a: s.by_key(a, "anna", "-c", "3des-cbc")),
)


def measure(release: str, level: str) -> list[Fraction]:
    """Guesses counted of each deed."""
    with server(release, level) as s:
        sources = [f"198.19.70.{n + 1}" for n in range(len(DEEDS))]
        waiting = []
        for (_, _, does), source in zip(DEEDS, sources, strict=True):
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    does(s, source)
                os._exit(0)
            waiting.append(child)
            if len(waiting) > 2:  # the first two only wait
                os.waitpid(waiting.pop(), 0)
        for child in waiting:
            os.waitpid(child, 0)
        # Lines of PAM alone count when nobody has taken them for 15 seconds; one more line lets the guard look.
        before: list[Fraction] = []

        def settled() -> bool:
            nonlocal before
            now = [s.counted(source) for source in sources]
            same, before = now == before, now
            return same

        subprocess.run(["sleep", "20"], check=True)
        wait_for(settled, "nothing is counted any more", 60)
        if os.environ.get("SHOW_LOG"):
            print(s.guard.log.read_text(), file=sys.stderr)
        return before


def version(release: str) -> str:
    """As sshd says it."""
    tree = minimal(release, "openssh-server")
    done = subprocess.run(["chroot", tree, "/usr/bin/ssh", "-V"], capture_output=True, text=True, check=True)
    found = re.match(r"OpenSSH_([0-9.]+)", done.stderr)
    assert found is not None
    return found[1]


def page() -> str:
    """docs/counting.md."""
    columns = [(release, level) for release in RELEASES for level in LEVELS]
    found = [measure(*column) for column in columns]
    names = {release: f"Debian {number}, OpenSSH {version(release)}" for release, number in zip(RELEASES, (11, 12, 13), strict=True)}
    head = f"| what was done | guesses | {' | '.join(f'{names[r]}, {level}' for r, level in columns)} |"
    rows = [head, "|---" * (len(columns) + 2) + "|"]
    rows += [f"| {deed} | {truth} | {' | '.join(str(f[n]) for f in found)} |" for n, (deed, truth, _) in enumerate(DEEDS)]
    return "\n".join(rows)


if __name__ == "__main__":
    print(page())
