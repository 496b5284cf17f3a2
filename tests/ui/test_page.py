"""The digest's page in headless Chromium: light and dark, wide and phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from quietgate.ui import digest as show
from tests.ui.pictures import PHONE, SCHEMES, WIDE, asked, chromium, picture, shown

pytestmark = pytest.mark.long
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 31)"}


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_it_fits_its_window_in_the_readers_colours(scheme: str, size: tuple[int, int]) -> None:
    found = asked(show.page(shown()), scheme, size)
    assert found["back"] == PAPER[scheme]
    assert isinstance(found["wide"], int)
    assert isinstance(found["window"], int)
    assert found["wide"] <= found["window"], "nothing is cut off at the side"
    assert isinstance(found["rows"], int)
    assert found["rows"] > 20


def test_it_asks_for_nothing_but_itself(tmp_path: Path) -> None:
    _, requests = chromium(show.page(shown()), f"--screenshot={tmp_path}/x.png", scheme="light", size=WIDE)
    assert {r.rpartition("/")[2] for r in requests} <= {"page.html"}
    evil = show.page(shown()).replace("</main>", "<img src=http://example.net/x.png></main>")
    _, requests = chromium(evil, f"--screenshot={tmp_path}/x.png", scheme="light", size=WIDE)
    assert not any("example.net/x.png" in r for r in requests), "its policy forbids it"


def test_the_pictures_of_the_docs_can_be_made(tmp_path: Path) -> None:
    picture(show.page(shown()), tmp_path / "x.png", "dark", PHONE)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (Path(__file__).parents[2] / "docs").glob("digest-*.png")) == [
        "digest-dark.png", "digest-light.png", "digest-phone-dark.png", "digest-phone.png"]  # fmt: skip
