"""A message as a mail, and what it must not carry out of the house."""

from __future__ import annotations

from email.message import EmailMessage

from quietgate.alerts import messages
from quietgate.guard.alerts import Raise, Topic
from quietgate.guard.pacing import Told
from quietgate.ui.messages import letter
from quietgate.ui.text import header, html

HOSTILE = "evil\r\nBcc: all@example.net\r\n\r\n\x1b[2J<script>\u202e\u2028=?utf-8?q?x?="


def told(text: str, count: int = 1, over: str = "") -> Told:
    return Told(Raise(Topic.BREAK_IN, text, 1e9, text, (text,), text, text), count, 1e9, 1e9 + 60, over)


def test_a_letter_says_what_when_what_was_done_and_what_to_type() -> None:
    found = letter(messages.form("1", 1e9, [told("root logged in", 3)], 7))
    assert found.subject.endswith("root logged in (and 7 more)")
    for wanted in ("PAGE      root logged in", "3 times until", "done      ", "next      ", "and 7 things more: quietgate alerts"):
        assert wanted in found.text


def test_what_is_over_is_said_in_the_subject() -> None:
    found = letter(messages.form("1", 1e9, [told("x", over="journal tells of sshd again")]))
    assert "over: journal tells of sshd again" in found.subject
    assert "lasted    1m" in found.text


def test_hostile_text_begins_no_header_and_moves_no_cursor() -> None:
    form = messages.form("1", 1e9, [told(HOSTILE)])
    form["host"] = HOSTILE
    found = letter(form)
    mail = EmailMessage()
    mail["Subject"] = found.subject
    mail.set_content(found.text)
    assert mail["Bcc"] is None
    assert found.subject.isascii()
    assert "\r" not in found.subject + found.text
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text
    assert all(not line.startswith("Bcc") for line in found.text.splitlines())


def test_each_way_out_has_its_own_escaping() -> None:
    assert header("a\r\nb: ü") == "a\\x0d\\x0ab: ?"
    assert html("<b>\x1b&\"'") == "&lt;b&gt;\\x1b&amp;&quot;&#x27;"
