"""Who is told of bans: programs and receivers that `bans.notify` names.

A process of its own listens to the guard's events and tells them, so that no ban waits for one of them and none has the guard's rights. A
program is started with two words (the event and its source), one JSON object on standard input, and no shell. What it may be told
is what `quietgate events --json` prints; a source is a prefix, never text of a stranger's. What fails is said, and not tried again.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from quietgate.control.client import connected
from quietgate.errors import QuietgateError
from quietgate.host.paths import Paths
from quietgate.hostile_text import safe

TOLD = frozenset({"ban", "unban"})
WITHIN = 20.0  # seconds that one of them may take
AGAIN = 900.0  # seconds in which the same is not told again
REMEMBERED, WAITING = 4096, 1000
RETRY = 5.0  # seconds until the guard is looked for again
SAID = 500  # characters of what a program complains that are logged

Log = Callable[[str], None]


@dataclass(slots=True)
class Receiver:
    """One program or URL: what waits for it, and what it was told. `rate`: so many in so many seconds; None: always."""

    target: str
    rate: tuple[int, float] | None
    log: Log
    clock: Callable[[], float] = time.monotonic
    left_out: int = 0
    _waiting: queue.Queue[dict[str, Any]] = field(default_factory=lambda: queue.Queue(WAITING))
    _times: deque[float] = field(default_factory=deque)
    _told: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)

    def put(self, event: dict[str, Any]) -> None:
        """Never waits: who is too slow is not told of what is more than a thousand."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._leave_out()

    def work(self) -> None:
        """Tell it, one after the other; never returns."""
        while True:
            self.tell(self._waiting.get())

    def tell(self, event: dict[str, Any]) -> bool:
        """Tell it of one, if it may be told now; False where it was not."""
        now = self.clock()
        key = (str(event["event"]), str(event["source"]))
        if now - self._told.get(key, -AGAIN) < AGAIN:
            return False
        if self.rate is not None:
            while self._times and now - self._times[0] >= self.rate[1]:
                self._times.popleft()
            if len(self._times) >= self.rate[0]:
                self._leave_out()
                return False
            self._times.append(now)
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if self.left_out:
            self.log(f"{self.target}: {self.left_out} before this were left out (bans.notify_rate, or it was too slow)")
            self.left_out = 0
        wrong = _post(self.target, event) if "://" in self.target else _run(self.target, event)
        if wrong:
            self.log(f"{self.target}: {key[0]} of {key[1]}: {wrong}")
        return not wrong

    def _leave_out(self) -> None:
        self.left_out += 1
        if self.left_out == 1:
            self.log(
                f"{self.target}: more comes than it may be told of (bans.notify_rate), or than it takes: the rest is counted and left out"
            )


def serve(paths: Paths, wanted: dict[str, Any], log: Log) -> None:
    """Listen and tell; never returns. A guard that stops is waited for."""
    rate = wanted["rate"]
    receivers = [Receiver(str(t), None if rate is None else (int(rate[0]), float(rate[1])), log) for t in wanted["receivers"]]
    for receiver in receivers:
        threading.Thread(target=receiver.work, daemon=True).start()
    said = ""
    while True:
        try:
            for event in events(paths):
                if event.get("event") in TOLD:
                    for receiver in receivers:
                        receiver.put(event)
                said = ""
            why = "the guard ended the stream"
        except QuietgateError as error:
            why = error.message
        if why != said:
            log(f"{why}; it is looked for every {RETRY:.0f} seconds")
        said = why
        time.sleep(RETRY)


def events(paths: Paths) -> Iterator[dict[str, Any]]:
    """What the guard tells, until it stops. Raises QuietgateError."""
    with connected(paths.control, None) as stream:
        stream.write(b'{"ask": "events"}\n')
        stream.flush()
        for line in stream:
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def _run(program: str, event: dict[str, Any]) -> str:
    """What went wrong; "" if nothing did."""
    if wrong := _not_ours(program):
        return wrong
    try:
        child = subprocess.Popen([program, str(event["event"]), str(event["source"])], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, start_new_session=True)  # fmt: skip
    except OSError as error:
        return f"it cannot be started ({error.strerror or error})"
    assert child.stdin is not None
    assert child.stderr is not None
    said: list[bytes] = []
    reader = threading.Thread(target=_hear, args=(child.stderr, said), daemon=True)
    reader.start()
    try:
        with suppress(OSError), child.stdin:  # it need not read; a form is far less than a pipe holds
            child.stdin.write(json.dumps(event).encode() + b"\n")
        child.wait(WITHIN)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return f"it was ended: it took more than {WITHIN:.0f} seconds"
    reader.join(1.0)  # what it has left running may hold the pipe
    return f"it ended with {child.returncode}: {safe(b''.join(said).decode(errors='replace').strip())}" if child.returncode else ""


def _hear(stream: IO[bytes], said: list[bytes]) -> None:
    """Keep the beginning of what it complains, and let the rest pass."""
    left = SAID
    with stream:
        while chunk := os.read(stream.fileno(), 65536):
            said.append(chunk[:left])
            left -= len(said[-1])


def _not_ours(program: str) -> str:
    """Why a program is not started: whoever could write it would decide what this user does."""
    place = os.path.realpath(program)
    try:
        found = os.stat(place)
        above = [p for p in Path(place).parents if (d := p.stat()).st_uid != 0 or (d.st_mode & 0o022 and not d.st_mode & stat.S_ISVTX)]
    except OSError as error:
        return f"it is not started: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        return "it is not started: it must be a file of root's that nobody else may write (chown root, chmod 755)"
    if above:
        return f"it is not started: others than root may change what lies in {above[0]} (chown root, chmod 755)"
    return ""


def _post(url: str, event: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(event).encode(), {"Content-Type": "application/json", "User-Agent": "quietgate"})  # noqa: S310  the policy names it
    try:
        with _OPENER.open(request, timeout=WITHIN) as answer:
            answer.read1(4096)
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return safe(str(getattr(error, "reason", error)) or type(error).__name__)[:SAID]
    return ""


class _NoDetours(urllib.request.HTTPRedirectHandler):
    """The policy names the receiver, and nobody else does."""

    def redirect_request(self, *_: object) -> None:
        """None: an error."""


_OPENER = urllib.request.build_opener(_NoDetours, urllib.request.ProxyHandler({}))
