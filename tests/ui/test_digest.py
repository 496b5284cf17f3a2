"""The digest: complete, harmless whatever it is made of, and one page that needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from quietgate.alerts.notifier import due_since
from quietgate.hindsight.digest import Change, Digest, Source
from quietgate.inspect.doctor import Finding
from quietgate.net import parse_address, parse_prefix
from quietgate.ui import digest as show
from quietgate.values import Ban, Login, Noted, Scope
from tests.guard.script import A

HOSTILE = "</table><script src=//x>alert(1)</script>\r\nBcc: all@example.net\x1b[2J\u202e'\" onload=x"
BEGIN = 1_790_000_000.0
NOTED = Noted(3, "break_in", A, "page", "root logged in from there", ("12 failed",), "nothing", "quietgate ban --evict", False, BEGIN, BEGIN, 2, 2,
              1, BEGIN, "", False, False)  # fmt: skip


def example(evil: str = "server") -> Digest:
    return Digest(
        host=evil, since=BEGIN, until=BEGIN + 86400, attempts=4312, sources=87, made={"burst": 40, "names": 12, evil: 1}, bans=61,
        bars=tuple((n * 37) % 250 for n in range(24)),
        busiest=(Source(parse_address(A), 900, BEGIN, BEGIN + 60, ("root", evil), 41, Ban(parse_address(A), Scope.SSH, BEGIN, BEGIN + 1e5)),
                 Source(parse_prefix("2001:db8:5::/64"), 12, BEGIN, BEGIN + 60, (), 1, None)),
        names=(("root", 700), (evil, 3)), unknown=3100, logins=(Login(evil, parse_address(A), BEGIN + 5, "journal"),),
        changes=(Change(4, BEGIN + 7, (22, 2222)),), alerts=(NOTED,), look=(Finding("alert", "page", evil, evil),),
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


def test_text_and_page_tell_everything() -> None:
    for said in (show.text(example()), Page(show.page(example())).said):
        for wanted in ("4,312", "87", "53", A, "2001:db8:5::/64", "root", "41 that do not exist here", "1 that does not exist here", "3,100",
                       "2222", "root logged in from there", "burst"):  # fmt: skip
            assert wanted in said, wanted


def test_a_quiet_day_says_so() -> None:
    empty = Digest("server", BEGIN, BEGIN + 86400)
    assert "a quiet time: nothing wants you" in show.text(empty)
    assert "a quiet time: nothing wants you" in show.page(empty)
    assert show.subject(empty) == "[quietgate server] the day: 0 attempts, 0 bans"


def test_hostile_text_escapes_nowhere() -> None:
    d = example(HOSTILE)
    page = Page(show.page(d))
    plain = Page(show.page(example()))
    assert [t for t, _ in page.tags] == [t for t, _ in plain.tags], "no tag more than without it"
    assert [sorted(a) for _, a in page.tags] == [sorted(a) for _, a in plain.tags], "no attribute either"
    for said in (show.page(d), show.text(d), show.subject(d)):
        assert "\x1b" not in said
        assert "\u202e" not in said
    assert "\n" not in show.subject(d)
    assert show.subject(d).isascii()
    assert not re.search("^Bcc:", show.text(d), re.MULTILINE)


def test_the_page_needs_nothing_from_outside_and_runs_nothing() -> None:
    page = Page(show.page(example()))
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {t for t, _ in page.tags}
    assert not any({"src", "href", "srcset", "action"} & set(a) for _, a in page.tags)
    assert not re.search(r"url\(|@import|https?:", show.page(example()))
    assert ("meta", "default-src 'none';style-src 'unsafe-inline'") in [(t, a.get("content")) for t, a in page.tags]


@pytest.mark.parametrize(
    ("every", "now", "due"),
    [
        ("daily", "2026-11-25 07:00", "2026-11-25 07:00"),
        ("daily", "2026-11-25 06:59", "2026-11-24 07:00"),
        ("weekly", "2026-11-25 12:00", "2026-11-23 07:00"),
        ("weekly", "2026-11-23 06:59", "2026-11-16 07:00"),
        ("daily", "2026-03-29 12:00", "2026-03-29 07:00"),
    ],
)
def test_when_it_was_due_last(every: str, now: str, due: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            wall = time.mktime(time.strptime(now, "%Y-%m-%d %H:%M"))
            assert time.strftime("%Y-%m-%d %H:%M", time.localtime(due_since(every, "07:00", wall))) == due
        finally:
            monkeypatch.undo()
            time.tzset()
