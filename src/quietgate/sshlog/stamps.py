"""The moment that a line's header names, in whatever of the usual ways -> wall seconds.

A month's name in another language than C's is no date here: taken for now, an old file would count as of today.
"""

from __future__ import annotations

import datetime
import re

MONTHS = {m: n for n, m in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)}
WEEKDAYS = frozenset({"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"})
FUTURE = 86400.0  # a stamp without a year that would lie further ahead than this is of last year
MOST_REMEMBERED = 4096
_TAI64 = 1 << 62  # external TAI64: seconds since 1970 in TAI, plus 2^62 (https://cr.yp.to/libtai/tai64.html)
_TAI_BEGINS = 10  # the seconds by which those of the tools in use (multilog, s6-log, svlogd) are ahead of UTC's count
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ")
_BSD = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (?:(\d{4}) )?(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?: (\d{4}))?", re.ASCII)
_UTC = frozenset({"UTC", "GMT", "Z"})


class Stamps:
    """Reads stamps. The same second again is taken from memory; a year that is missing is inferred from `now` (wall seconds).

    Stamps without a zone, or with a zone's name that is neither UTC nor GMT, are local time. Across a year's end the year is the one
    that puts a stamp no more than a day into the future.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self._memory: dict[str, float] = {}

    def read(self, text: str) -> float | None:
        """Wall seconds; None for what is no date."""
        found = self._memory.get(text)
        if found is None:
            found = self._parse(text)
            if found is not None:
                if len(self._memory) > MOST_REMEMBERED:
                    self._memory.clear()
                self._memory[text] = found
        return found

    def _parse(self, text: str) -> float | None:
        try:
            head = text[0]
            if head == "@":
                return int(text[1:17], 16) - _TAI64 - _TAI_BEGINS + int(text[17:25], 16) / 1e9
            text = _WEEKDAY.sub("", text, count=1) if not head.isdigit() else text
            if text[4:5] == "-":
                return self._iso(text)
            if text[4:5] == " " and text[:4].isdigit():
                return self._bsd(f"{text[5:]} {text[:4]}")
            return float(text) if text[0].isdigit() else self._bsd(text)
        except (KeyError, ValueError, OverflowError, OSError, IndexError):
            return None

    @staticmethod
    def _iso(text: str) -> float:
        date, clock = text[:10], text[11:].replace(",", ".")
        clock, gap, zone = clock.partition(" ")
        if zone in _UTC:
            zone = "+00:00"
        elif gap and zone[:1] not in ("+", "-"):
            zone = ""  # a name such as CET: whose summer it is the name alone does not tell everywhere; the host's own zone does
        return datetime.datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp()

    def _bsd(self, text: str) -> float | None:
        found = _BSD.fullmatch(text)
        if found is None:
            return None
        month, day = MONTHS[found[1]], int(found[2])
        hour, minute, second = int(found[4]), int(found[5]), min(int(found[6]), 59)
        part = float(f"0.{found[7]}") if found[7] else 0.0
        given = found[3] or found[8]
        year = int(given) if given else datetime.datetime.fromtimestamp(self.now).year  # noqa: DTZ006  local, as the stamps are
        # 29 February exists only in some years: then the last one that had it.
        for candidate in (year,) if given else (year + 1, year, year - 1, year - 2, year - 3, year - 4):
            try:
                at = datetime.datetime(candidate, month, day, hour, minute, second).timestamp() + part  # noqa: DTZ001  local
            except ValueError:
                continue
            if given or at <= self.now + FUTURE:
                return at
        return None
