"""Where messages arrive: a real HTTP receiver and a real SMTP server, in a host of the lab. `python -m tests.kernel.receivers` runs one."""

from __future__ import annotations

import http.server
import json
import mailbox
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.kernel.lab import Host, Pair, wait_for

HTTP, SMTP = 8099, 8025


class Receiver:
    """An HTTP receiver; `got` is everything that was posted: path, headers, body. `status`: what it answers, or "hang"."""

    def __init__(self, pair: Pair, host: Host | None = None) -> None:
        self.pair, self.host = pair, host or pair.server
        self.file = pair.root / "posted"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, status: int | str = 200) -> None:
        self.child = self.pair.start(self.host, sys.executable, "-m", "tests.kernel.receivers", str(HTTP), str(self.file), str(status))
        listens(self.host, HTTP)

    def stop(self) -> None:
        assert self.child is not None
        self.child.terminate()
        self.child.wait(10)

    @property
    def got(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies."""
        return [json.loads(one["body"]) for one in self.got]


class MailServer:
    """aiosmtpd, which puts what it gets into a maildir."""

    def __init__(self, pair: Pair, host: Host | None = None) -> None:
        self.pair, self.host = pair, host or pair.server
        self.place = pair.root / "mail"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, port: int = SMTP) -> None:
        self.child = self.pair.start(self.host, sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}", "-c",
                                     "aiosmtpd.handlers.Mailbox", str(self.place))  # fmt: skip
        listens(self.host, port)

    def stop(self) -> None:
        assert self.child is not None
        self.child.terminate()
        self.child.wait(10)

    @property
    def got(self) -> list[mailbox.MaildirMessage]:
        return list(mailbox.Maildir(self.place)) if self.place.exists() else []


def listens(host: Host, port: int) -> None:
    wait_for(lambda: host.sh("ss", "-Htln", f"sport = :{port}"), f"port {port} listens", 10)


def main(port: str, file: str, status: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if status == "hang":
                time.sleep(3600)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with Path(file).open("a") as out:
                out.write(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body.decode()}) + "\n")
            self.send_response(int(status))
            self.send_header("Location", "/elsewhere")
            self.end_headers()

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
