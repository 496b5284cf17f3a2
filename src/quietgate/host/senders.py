"""Ways out: a webhook, mail, whatever Apprise speaks. One message each, by a process that gives its privileges up before the first byte
leaves; where it cannot, it sends nothing.

Never imported by the guard. The standard library speaks HTTP and SMTP; Apprise, for the rest, is only loaded where a route names it.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  loaded before the privileges go: afterwards this process may not see our own files
import hashlib
import hmac
import http.client
import json
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from quietgate.host import shut
from quietgate.host.deliver import LONGEST, Job
from quietgate.net import AddressError, parse_address

TIMEOUT = 20.0  # seconds for one answer of a server's
SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as a mail has it. All of it is plain text and was made safe; `html` may be ""."""

    subject: str
    text: str
    html: str = ""


class Failed(Exception):
    """It did not arrive; the text says why, and never holds a secret."""


def job_of(line: bytes) -> Job:
    """What was handed over. Raises ValueError, KeyError or TypeError for anything else."""
    raw = json.loads(line)
    return Job(str(raw["to"]), str(raw["url"]), str(raw["secret"]), dict(raw["message"]))


@dataclass(frozen=True, slots=True)
class Way:
    """How one message goes: `send` over a connection to that host and port; without a host it makes its own."""

    send: Callable[[socket.socket | None], None]
    host: str = ""
    port: int = 0


def carry(job: Job, letter: Letter) -> None:
    """Send it. Raises Failed. Gives this process's privileges up, for good; and where it talks to one server, it can talk to no other
    once that server has said its first byte.
    """
    ways: dict[str, Callable[[Job, Letter], Way]] = {"webhook": _webhook, "mail": _mail, "apprise": _apprise}
    way = ways[job.to](job, letter)
    try:
        addresses = _addresses(way.host) if way.host else []
        _nobody()
        link = _connected(addresses, way.port) if way.host else None
    except ConnectionRefusedError as error:
        if job.to != "mail" or "://" in job.url:
            raise Failed(_said(error)) from None
        link = None
    except OSError as error:
        raise Failed(_said(error)) from None
    try:
        if link is not None:
            shut.no_more_connections()
        way.send(link)
    except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
        raise Failed(_said(error)) from None


def _nobody() -> None:
    """From now on this process is nobody in particular."""
    try:
        shut.become_nobody()
    except OSError as error:
        raise Failed(f"it cannot give its privileges up ({error.strerror}): start quietgate-deliver.socket") from None


def _addresses(host: str) -> list[str]:
    """Of a host: by another process, which parses what name servers say, and knows nothing of the message. Raises OSError."""
    if host == "localhost":
        return ["127.0.0.1", "::1"]
    with contextlib.suppress(AddressError):
        parse_address(host)
        return [host]
    name = host.encode("idna").decode("ascii")
    words = (sys.executable, "-I", "-m", "quietgate", "resolve")
    try:
        done = subprocess.run(words, input=f"{name}\n".encode(), capture_output=True, timeout=TIMEOUT * 2, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"the name {name} does not resolve in time") from None
    found = done.stdout.decode("ascii", "replace").split()[1:]
    if not found:
        raise Failed(f"the name {name} does not resolve")
    return found


def _connected(addresses: list[str], port: int) -> socket.socket:
    """To the first that answers. Raises OSError: what the first one said."""
    wrong: list[OSError] = []
    for address in addresses:
        try:
            return socket.create_connection((address, port), TIMEOUT)
        except OSError as error:
            wrong.append(error)
    raise wrong[0]


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return f"the mail server refuses the recipient: {code} {ascii(text.decode(errors='replace'))[1:-1]}"[:300]
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server says: {error.smtp_code} {ascii(error.smtp_error)[1:].strip(chr(39))}"[:300]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {ascii(str(error))[1:-1]}"[:300]


def signature(secret: str, body: bytes) -> str:
    """What the header X-Quietgate-Signature holds: HMAC-SHA256 over the body, in hexadecimal (RFC 2104)."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _webhook(job: Job, _letter: Letter) -> Way:
    parts = urlsplit(job.url)
    body = json.dumps(job.message).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "quietgate", "X-Quietgate-Id": str(job.message["id"])}
    if job.secret:
        headers["X-Quietgate-Signature"] = signature(job.secret, body)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    host, port = parts.hostname or "", parts.port or (443 if context is not None else 80)

    def send(connected: socket.socket | None) -> None:
        assert connected is not None
        link = http.client.HTTPConnection(host, port) if context is None else http.client.HTTPSConnection(host, port, context=context)
        link.sock = connected if context is None else context.wrap_socket(connected, server_hostname=host)
        with contextlib.closing(link):
            link.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = link.getresponse()
            answer.read(LONGEST)
        if not 200 <= answer.status < 300:
            raise Failed(
                f"the receiver answers {answer.status}" + (", a redirection, which is not followed" if 300 <= answer.status < 400 else "")
            )

    return Way(send, host, port)


def _mail(job: Job, letter: Letter) -> Way:
    local = "://" not in job.url
    parts = urlsplit(job.url if not local else "")
    to = (unquote(parts.path).lstrip("/") if not local else job.url.removeprefix("mailto:")).split(",")
    host = socket.gethostname()
    sender = parse_qs(parts.query).get("from", [f"quietgate@{_domain(host)}"])[0]
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), letter.subject
    mail["Message-ID"] = f"<{job.message['id']}@{_domain(host)}>"
    mail["Date"] = _date(float(job.message["sent"]))
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    mail.set_content(letter.text)
    if letter.html:
        mail.add_alternative(letter.html, subtype="html")
    context = ssl.create_default_context()

    def send(connected: socket.socket | None) -> None:
        if connected is not None:
            _smtp(server, port, mail, sender, to, context, connected, tls=parts.scheme == "smtps", user=unquote(parts.username or ""),
                  password=job.secret)  # fmt: skip
            return
        program = next((p for p in SENDMAIL if Path(p).exists()), None) or shutil.which("sendmail")
        if program is None:
            raise Failed("this host has no mail server: nothing listens on port 25, and there is no sendmail")
        done = subprocess.run(
            [program, "-oi", "-f", sender, "--", *to], input=mail.as_bytes(), capture_output=True, timeout=TIMEOUT * 2, check=False
        )
        if done.returncode:
            raise Failed(f"sendmail ends with {done.returncode}: {ascii(done.stderr.decode(errors='replace'))[1:-1]}"[:300]) from None

    # A mail server of this host's own listens on the loopback interface, as a rule; its `sendmail` often needs privileges.
    server, port = ("localhost", 25) if local else (parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 25))
    return Way(send, server, port)


def _smtp(host: str, port: int, mail: EmailMessage, sender: str, to: list[str], context: ssl.SSLContext, connected: socket.socket, *, tls: bool,
          user: str = "", password: str = "") -> None:  # fmt: skip
    class Link(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
            return context.wrap_socket(connected, server_hostname=host) if tls else connected

    with Link(host, port, local_hostname=_myself(connected), timeout=TIMEOUT) as link:
        link.ehlo()
        loopback = host in ("localhost", "127.0.0.1", "::1")
        if not tls and link.has_extn("starttls") and not loopback:
            link.starttls(context=context)
            link.ehlo()
            tls = True
        if password:
            if not tls and not loopback:
                raise Failed("the mail server offers no encryption, and the password is not sent without")
            link.login(user, password)
        link.send_message(mail, sender, to)


def _myself(connected: socket.socket) -> str:
    """This host as it greets a mail server (RFC 5321, 4.1.3 and 4.1.4): by its full name, if /etc/hosts has one, or its address."""
    name = socket.getfqdn()
    if "." in name:
        return name
    address = str(connected.getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _apprise(job: Job, letter: Letter) -> Way:
    try:
        import apprise
    except ImportError:
        raise Failed("apprise is not installed: /opt/quietgate/venv/bin/pip install apprise") from None
    ways = apprise.Apprise()
    if not ways.add(job.secret or job.url):
        raise Failed("apprise does not know such a URL")
    kind = apprise.NotifyType.FAILURE if job.message["severity"] == "page" else apprise.NotifyType.WARNING

    def send(_: socket.socket | None) -> None:
        if not ways.notify(body=letter.text, title=letter.subject, notify_type=kind):
            raise Failed("apprise could not deliver it")

    return Way(send)


def _domain(host: str) -> str:
    """A host name as the right side of a mail address."""
    kept = "".join(c for c in host if (c.isascii() and c.isalnum()) or c in "-.").strip("-.")
    return kept or "localhost"


def _date(wall: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(wall))
