"""Whether others changed nf_tables: asked, not listened to.

Listening (the multicast group of `nft monitor`) would make the kernel write a message of a page for every element that
anybody adds or removes, in whatever namespace: restoring 300,000 bans took 2.0 s and 2.3 GB of kernel memory while somebody
listened, 0.5 s and 61 MB while nobody did (bench/bans.py). The number of the ruleset's generation costs 15 µs to ask for.
"""

from __future__ import annotations

from collections.abc import Callable

from quietgate.host.netlink import SetWriter


class Changes:
    """Compares the kernel's count of commits with our own. Raises KernelError."""

    def __init__(self, sets: SetWriter, more: Callable[[], int] = lambda: 0) -> None:
        """`sets` asks, and its commits are no news; nor are those that `more` counts, of this process's other writer."""
        self._sets, self._more = sets, more
        self._seen = self._others()

    def new(self) -> bool:
        """True if there was a commit of somebody else's since the last time. (A commit of our own that changed nothing says so, too.)"""
        before, self._seen = self._seen, self._others()
        return self._seen != before

    def _others(self) -> int:
        return (self._sets.generation() - self._sets.made - self._more()) & 0xFFFFFFFF
