"""What is counted of each deed with each release's OpenSSH is what docs/counting.md says."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.boot.openssh import DEEDS, LEVELS, RELEASES, measure
from tests.boot.tree import CHECKOUT

pytestmark = [pytest.mark.boot, pytest.mark.long]
COLUMNS = [(release, level) for release in RELEASES for level in LEVELS]
TABLE = [
    [c.strip() for c in line.strip("|").split("|")]
    for line in (CHECKOUT / "docs/counting.md").read_text().splitlines()
    if line.startswith("| ")
]


@pytest.mark.parametrize(("release", "level"), COLUMNS)
def test_guesses_are_counted_as_the_docs_say(release: str, level: str) -> None:
    assert [row[0] for row in TABLE[1:]] == [deed for deed, _, _ in DEEDS]
    told = {row: Fraction(TABLE[1 + row][2 + COLUMNS.index((release, level))]) for row in range(len(DEEDS))}
    found = dict(enumerate(measure(release, level)))
    assert found == told, {DEEDS[n][0]: (found[n], told[n]) for n in found if found[n] != told[n]}
    assert all(found[n] <= truth for n, (_, truth, _) in enumerate(DEEDS) if DEEDS[n][0] != "Ctrl-C at the password")
