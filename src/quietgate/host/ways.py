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
import os
import pwd
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from quietgate.host.deliver import LONGEST, Job

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


def carry(job: Job, letter: Letter) -> None:
    """Send it. Raises Failed. Gives this process's privileges up, for good."""
    ways: dict[str, Callable[[Job, Letter], Callable[[], None]]] = {"webhook": _webhook, "mail": _mail, "apprise": _apprise}
    send = ways[job.to](job, letter)
    _nobody()
    try:
        send()
    except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
        raise Failed(_said(error)) from None


def _nobody() -> None:
    """From now on this process is nobody in particular."""
    if os.geteuid() != 0:
        return
    nobody = pwd.getpwnam("nobody")
    try:
        os.setgroups([])
        os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
        os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    except OSError as error:
        raise Failed(f"it cannot give its privileges up ({error.strerror}): start quietgate-deliver.socket") from None


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


def _webhook(job: Job, _letter: Letter) -> Callable[[], None]:
    parts = urlsplit(job.url)
    body = json.dumps(job.message).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "quietgate", "X-Quietgate-Id": str(job.message["id"])}
    if job.secret:
        headers["X-Quietgate-Signature"] = signature(job.secret, body)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    host = parts.hostname or ""

    def send() -> None:
        link = (http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=context) if context is not None
                else http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT))  # fmt: skip
        with contextlib.closing(link):
            link.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = link.getresponse()
            answer.read(LONGEST)
        if not 200 <= answer.status < 300:
            raise Failed(
                f"the receiver answers {answer.status}" + (", a redirection, which is not followed" if 300 <= answer.status < 400 else "")
            )

    return send


def _mail(job: Job, letter: Letter) -> Callable[[], None]:
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

    def send() -> None:
        if not local:
            _smtp(parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 25), mail, sender, to, context,
                  tls=parts.scheme == "smtps", user=unquote(parts.username or ""), password=job.secret)  # fmt: skip
            return
        program = next((p for p in SENDMAIL if Path(p).exists()), None) or shutil.which("sendmail")
        try:
            # A mail server of this host's own listens on the loopback interface, as a rule; its `sendmail` often needs privileges.
            _smtp("localhost", 25, mail, sender, to, context, tls=False)
        except ConnectionRefusedError:
            if program is None:
                raise Failed("this host has no mail server: nothing listens on port 25, and there is no sendmail") from None
            done = subprocess.run(
                [program, "-oi", "-f", sender, "--", *to], input=mail.as_bytes(), capture_output=True, timeout=TIMEOUT * 2, check=False
            )
            if done.returncode:
                raise Failed(f"sendmail ends with {done.returncode}: {ascii(done.stderr.decode(errors='replace'))[1:-1]}"[:300]) from None

    return send


def _smtp(host: str, port: int, mail: EmailMessage, sender: str, to: list[str], context: ssl.SSLContext, *, tls: bool, user: str = "",
          password: str = "") -> None:  # fmt: skip
    link = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context) if tls else smtplib.SMTP(host, port, timeout=TIMEOUT)
    with link:
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


def _apprise(job: Job, letter: Letter) -> Callable[[], None]:
    try:
        import apprise
    except ImportError:
        raise Failed("apprise is not installed: /opt/quietgate/venv/bin/pip install apprise") from None
    ways = apprise.Apprise()
    if not ways.add(job.secret or job.url):
        raise Failed("apprise does not know such a URL")
    kind = apprise.NotifyType.FAILURE if job.message["severity"] == "page" else apprise.NotifyType.WARNING

    def send() -> None:
        if not ways.notify(body=letter.text, title=letter.subject, notify_type=kind):
            raise Failed("apprise could not deliver it")

    return send


def _domain(host: str) -> str:
    """A host name as the right side of a mail address."""
    kept = "".join(c for c in host if (c.isascii() and c.isalnum()) or c in "-.").strip("-.")
    return kept or "localhost"


def _date(wall: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(wall))
