"""The process that sends a message, against real servers of this host: over TLS too, and with its doors shut."""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from quietgate.alerts import messages
from quietgate.guard.alerts import Raise, Topic
from quietgate.guard.pacing import Told

SAID = Raise(Topic.BREAK_IN, "test", 0.0, "this is a test", (), "nothing", "quietgate alerts")
MESSAGE = json.loads(messages.text(messages.form("1", 0.0, [Told(SAID, 1, 0.0, 0.0)], test=True)))
# A way that tries what a process which was taken over would: another server, once it has its own.
PROBE = """
import socket, sys
from quietgate.host import senders
from quietgate.host.deliver import Job
own, other = map(int, sys.argv[1:])
def may(do):
    try:
        do()
    except PermissionError:
        return "no"
    return "yes"
def send(link):
    link.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(bool(link.recv(10)), may(lambda: socket.create_connection(("127.0.0.1", other), 2)), may(lambda: socket.socket(socket.AF_UNIX)))
senders._webhook = lambda job, letter: senders.Way(send, "localhost", own)
senders.carry(Job("webhook", "", "", {}), senders.Letter("", ""))
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))  # type: ignore[attr-defined]
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.got = []  # type: ignore[attr-defined]
    yield made
    made.shutdown()
    made.server_close()


def serves(server: http.server.HTTPServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    words = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key -out cert"
    )
    subprocess.run(words.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    return tmp_path / "cert", context


def delivered(to: str, url: str, trusted: Path | None = None, secret: str = "") -> str:
    job = {"to": to, "url": url, "secret": secret, "message": MESSAGE}
    environment = {**os.environ, **({"SSL_CERT_FILE": str(trusted)} if trusted is not None else {})}
    done = subprocess.run([sys.executable, "-m", "quietgate", "deliver"], input=json.dumps(job), capture_output=True, text=True, check=False,
                          env=environment)  # fmt: skip
    return str(json.loads(done.stdout)["failed"])


def test_once_it_has_its_server_it_reaches_no_other(server: http.server.HTTPServer) -> None:
    serves(server)
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = (str(server.server_port), str(other.getsockname()[1]))
        done = subprocess.run([sys.executable, "-c", PROBE, *ports], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("True no no\n", "")


def test_a_webhook_over_tls_and_one_whose_certificate_is_not_trusted(
    server: http.server.HTTPServer, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    server.socket = certificate[1].wrap_socket(server.socket, server_side=True)
    serves(server)
    url = f"https://localhost:{server.server_port}/hook"
    assert delivered("webhook", url, certificate[0]) == ""
    assert json.loads(server.got[0])["id"] == "1"  # type: ignore[attr-defined]
    assert "certificate verify failed" in delivered("webhook", url)
    assert "certificate verify failed" in delivered("webhook", url.replace("localhost", "127.0.0.1"), certificate[0]), "another name"


def test_a_mail_over_tls(certificate: tuple[Path, ssl.SSLContext]) -> None:
    got = []

    class Keep(Message):
        def handle_message(self, message: object) -> None:
            got.append(message)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Keep(), hostname="127.0.0.1", port=port, ssl_context=certificate[1])
    os.environ["SSL_CERT_FILE"] = str(certificate[0])  # the controller looks at itself, too
    try:
        controller.start()
        assert delivered("mail", f"smtps://localhost:{port}/ops@example.net", certificate[0]) == ""
    finally:
        del os.environ["SSL_CERT_FILE"]
        controller.stop()
    assert len(got) == 1


def test_a_name_that_does_not_resolve_is_said() -> None:
    assert delivered("webhook", "http://no-such-name.invalid/") == "the name no-such-name.invalid does not resolve"
