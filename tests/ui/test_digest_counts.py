"""Each count of the digest is that of what stands below it, or says of how many that is: in the text at every width, and in the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quietgate.hindsight.digest import Change, Digest, Source
from quietgate.inspect.doctor import Finding
from quietgate.net import Prefix
from quietgate.ui import digest as show
from quietgate.ui.terminal import PLAIN, Screen
from quietgate.values import Login, Noted
from tests.ui.test_digest import BEGIN

COUNT = st.integers(1, 9_999)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """Any that may come of a store: every attempt has one source, and one name or none."""
    busiest = tuple(Source(Prefix(4, 0xC6120000 + n, 32), draw(COUNT), BEGIN, BEGIN, tuple(f"u{i}" for i in range(draw(st.integers(0, 3)))),
                           draw(st.integers(0, 2)), None, draw(st.integers(0, 2))) for n in range(draw(st.integers(0, 10))))  # fmt: skip
    other_sources = draw(st.integers(0, 3)) if len(busiest) == 10 else 0
    attempts = sum(s.attempts for s in busiest) + (other_sources and other_sources * draw(st.integers(1, 5)))
    left, names = attempts, []
    for n in range(draw(st.integers(0, 10))):
        if left:
            names.append((f"u{n}", draw(st.integers(1, left))))
            left -= names[-1][1]
    more_names = draw(st.integers(0, 2)) if len(names) == 10 and left > 2 else 0
    more_tried = draw(st.integers(more_names, left)) if more_names else 0
    unknown = draw(st.integers(0, left - more_tried))
    logins = tuple(Login(f"u{n}", Prefix(4, 0xC6130000 + n, 32), BEGIN, "journal") for n in range(draw(st.integers(0, 3) | st.just(120))))
    noted = tuple(Noted(n, "blind", "x", "page", f"thing-{n}", (), "nothing", "see", False, BEGIN, BEGIN, draw(COUNT), 1, 1, 0.0, "", False, False)
                  for n in range(draw(st.integers(0, 3)))) * draw(st.sampled_from([1, 1, 40]))  # fmt: skip
    return Digest(
        "server", BEGIN, BEGIN + 86400, attempts, len(busiest) + other_sources, draw(st.dictionaries(st.sampled_from(["burst", "slow", "root"]), COUNT)),
        draw(COUNT), (), busiest, tuple(names), unknown, logins, tuple(Change(n + 1, BEGIN, (22,)) for n in range(draw(st.integers(0, 3)))), noted,
        tuple(Finding("x", "problem", f"trouble-{n}", "mend") for n in range(draw(st.integers(0, 3)))), None, more_names, more_tried,
    )  # fmt: skip


def number(text: str) -> int:
    return int(text.replace(",", ""))


def numbers(text: str) -> list[int]:
    return [number(n) for n in re.findall(r"\d[\d,]*", text)]


class Page(HTMLParser):
    """The tables, lists and tiles of a page: title to rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.parts: dict[str, list[list[str]]] = {}
        self.figures: dict[str, int] = {}
        self._tag, self._title, self._figure = "", "", -1
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._tag = tag
        if tag in ("tr", "li") and self._title:
            self.parts[self._title].append([])
        elif tag == "td":
            self.parts[self._title][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("b", "h2", "table", "ul", "div"):
            self._tag = {"b": "figure"}.get(tag, "")

    def handle_data(self, data: str) -> None:
        if self._tag == "h2":
            self._title = data
            self.parts[data] = []
        elif self._tag == "td":
            self.parts[self._title][-1][-1] += data
        elif self._tag == "b":
            self._figure = number(data)
        elif self._tag == "figure":
            self.figures[data] = self._figure

    def rows(self, title: str) -> tuple[list[int], list[list[str]]]:
        """Of the part whose title begins so: the numbers in its title, its rows without the heads."""
        found = [(t, [r for r in rows if r or "look" in t]) for t, rows in self.parts.items() if t.startswith(title)]
        return (numbers(found[0][0]), found[0][1]) if found else ([], [])


def section(text: str, title: str) -> tuple[list[int], list[str]]:
    found = re.search(rf"^{title} \((.*?)\)\n((?:  .*\n)*)", text, re.MULTILINE)
    return (numbers(found[1]), found[2].splitlines()) if found else ([], [])


def shown_of(said: list[int], shown: int, there: int) -> bool:
    return said == ([there] if shown == there else [shown, there])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(digests())
def test_the_text(d: Digest) -> None:
    text = show.text(d) + "\n"
    head = re.search(r"^attempts +(\S+) from (\S+) source", text, re.MULTILINE)
    assert head is not None
    assert (number(head[1]), number(head[2])) == (d.attempts, d.sources)
    banned = re.search(r"^banned +([\d,]+)(?:: (.*))?$", text, re.MULTILINE)
    assert banned is not None
    assert number(banned[1]) == sum(d.made.values()) == sum(numbers(banned[2] or ""))

    said, rows = section(text, "MOST ATTEMPTS FROM")
    if d.busiest:
        sources = [r for r in rows[1:] if "other source" not in r]
        assert len(sources) == len(d.busiest)
        assert shown_of(said, len(sources), d.sources)
        rest = [numbers(r) for r in rows[1:] if "other source" in r]
        assert sum(r[0] for r in rest) == d.sources - len(sources)
        assert sum(number(r.split()[1]) for r in sources) + sum(r[1] for r in rest) == d.attempts
        for row, s in zip(sources, d.busiest, strict=True):
            tried = row.partition(" no ")[2]
            assert len(re.findall(r"u\d", tried)) + sum(numbers(re.sub(r"u\d", "", tried))) == len(s.existing) + s.more + s.others
    said, rows = section(text, "NAMES TRIED")
    assert sum(number(r.split()[-1]) for r in rows) == sum(said) == d.attempts
    for title, there, most in (("LOGINS", len(d.logins), 50), ("ALERTS", len(d.alerts), 50), ("CHANGES", len(d.changes), 10)):
        said, rows = section(text, title)
        assert len(rows) == min(there, most)
        assert shown_of(said, len(rows), there) or not there
    said, rows = section(text, "WHAT DESERVES A LOOK")
    assert sum(said) == len([r for r in rows if "trouble-" in r]) == len(d.look)
    assert numbers(show.subject(d))[:2] == [d.attempts, sum(d.made.values())]
    assert numbers(text.split("\n")[0]) == ([len(d.look)] if d.look else [])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(digests())
def test_the_page(d: Digest) -> None:
    page = Page(show.page(d))
    assert page.figures == {"attempts": d.attempts, "sources": d.sources, "banned": sum(d.made.values()), "bans in force": d.bans,
                            "users and addresses logged in": len(d.logins)}  # fmt: skip
    said, rows = page.rows("Most attempts from")
    if d.busiest:
        sources, rest = rows[: len(d.busiest)], rows[len(d.busiest) :]
        assert shown_of(said, len(sources), d.sources)
        assert sum(number(r[1]) for r in rows) == d.attempts
        assert sum(numbers(r[0])[0] for r in rest) == d.sources - len(sources)
        for row, s in zip(sources, d.busiest, strict=True):
            assert len(re.findall(r"u\d", row[3])) + sum(numbers(re.sub(r"u\d", "", row[3]))) == len(s.existing) + s.more + s.others
    said, rows = page.rows("Names tried")
    assert sum(number(r[1]) for r in rows) == sum(said) == d.attempts
    said, rows = page.rows("Banned for")
    assert sum(number(r[1]) for r in rows) == sum(said) == sum(d.made.values())
    for title, there, most in (("Logins", len(d.logins), 50), ("Alerts", len(d.alerts), 50), ("Changes", len(d.changes), 10)):
        said, rows = page.rows(title)
        assert len(rows) == min(there, most)
        assert shown_of(said, len(rows), there) or not there
    said, rows = page.rows("What deserves a look")
    assert sum(said) == len(rows) == len(d.look)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(digests(), st.integers(20, 200))
def test_a_narrow_screen_says_the_same(d: Digest, width: int) -> None:
    """The heads of a table are left out, or stand in each row, where rows become blocks."""
    heads = {"source", "attempts", "banned", "names", "tried"}
    wide, narrow = ([w for w in show.text(d, s).lower().split() if w not in heads] for s in (PLAIN, Screen(width)))
    assert sorted(wide) == sorted(narrow)


@pytest.mark.parametrize(("existing", "more", "others", "said"), [((), 0, 0, "-"), (("root",), 1, 0, "root, 1 more that exists here"),
                                                                  (("root",), 2, 3, "root, 2 more that exist here, 3 that do not exist here")])  # fmt: skip
def test_the_names_of_one_source(existing: tuple[str, ...], more: int, others: int, said: str) -> None:
    d = Digest("server", BEGIN, BEGIN + 86400, 1, 1, busiest=(Source(Prefix(4, 1, 32), 1, BEGIN, BEGIN, existing, others, None, more),))
    assert said in show.text(d)
