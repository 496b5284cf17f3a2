"""Where the documentation lies on a host: messages name a page by its path there.

install.sh puts `docs/` and the README there (a test compares the two); without an installation the same page is in `docs/` of the
checkout.
"""

from __future__ import annotations

PLACE = "/usr/local/share/doc/quietgate"


def page(name: str) -> str:
    """The path of a page: `page("limiter")`."""
    return f"{PLACE}/{name}.md"
