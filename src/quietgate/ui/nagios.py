"""`check_quietgate`: one line for Nagios, Icinga and their like (monitoring-plugins.org, development guidelines).

    QUIETGATE OK - text | 'label'=value[unit];warn;crit;min;max
Exit 0, 1, 2, 3: ok, warning, critical, unknown. Works without root for members of `control.group`, who see what the guard tells.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from quietgate import __version__
from quietgate.clock import format_duration
from quietgate.daemon.measure import Measures, measure
from quietgate.generations.installation import Parts
from quietgate.host.paths import Paths
from quietgate.ui.text import plural, safe

OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
DEFAULT_TIMEOUT = 10.0
PAGES = ("break_in", "blind")  # topics that want somebody now
_RANGE = re.compile(r"(?P<inside>@)?(?:(?P<low>~|-?\d+(?:\.\d+)?):)?(?P<high>-?\d+(?:\.\d+)?)?\Z")


class Range:
    """A threshold as the guidelines write it: `10` alerts outside 0 to 10, `10:` below 10, `~:10` above, `@5:10` inside."""

    def __init__(self, text: str) -> None:
        found = _RANGE.match(text)
        if found is None or not text.strip("@"):
            raise ValueError(f"{text!r} is no range: write it like 10, 10:, ~:10, 5:10 or @5:10")
        self.text, self._inside = text, bool(found["inside"])
        self._low = float("-inf") if found["low"] == "~" else float(found["low"] or 0)
        self._high = float(found["high"]) if found["high"] else float("inf")
        if self._low > self._high:
            raise ValueError(f"{text!r} begins above its end")

    def alerts(self, value: float) -> bool:
        """True if this value is to be told of."""
        return (self._low <= value <= self._high) is self._inside


def main() -> NoReturn:
    """Look, print one line, and exit with its state, whatever happens."""
    options = _options(sys.argv[1:])
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, options.timeout)
    try:
        found = measure(Parts.at(Paths(options.root)), max(0.5, options.timeout - 0.5))
        state, said, data = judge(found, options.warning, options.critical)
    except Exception as error:  # noqa: BLE001  a plugin ends with a line, whatever it met
        _end(UNKNOWN, f"{type(error).__name__}: {error}", "")
    _end(state, said, data)


def judge(m: Measures, warning: Range | None, critical: Range | None) -> tuple[int, str, str]:
    """State, text and performance data. The ranges are for the number of bans."""
    if m.denied and m.generation is None:
        return UNKNOWN, f"nothing can be seen: {m.why_not}; run it as root, or let its user join the group of the guard's socket", ""
    found = list(_problems(m))
    bans = m.bans
    for state, range_ in ((CRITICAL, critical), (WARNING, warning)):
        if range_ is not None and bans is not None and range_.alerts(bans):
            found.append((state, f"{plural(bans, 'ban')} (range {range_.text})"))
            break
    order = (OK, UNKNOWN, WARNING, CRITICAL)  # what is known to be wrong comes before what is not known
    worst = max((state for state, _ in found), default=OK, key=order.index)
    said = "; ".join(what for _, what in sorted(found, key=lambda p: -order.index(p[0]))) or _well(m)
    return worst, said, " ".join(_data(m, warning, critical))


def _problems(m: Measures) -> Iterable[tuple[int, str]]:
    if m.guard is None:
        yield (UNKNOWN if m.denied else CRITICAL), m.why_not
    if m.generation == 0:
        yield (WARNING, "taken down by hand") if m.held else (CRITICAL, "nothing is in force in the kernel")
    if m.trial is not None:
        yield WARNING, f"a trial runs for {format_duration(m.trial)} more"
    for topic, count in (m.alerts or {}).items():
        if count:
            yield (CRITICAL if topic in PAGES else WARNING), f"{plural(count, 'alert')} of {topic}: quietgate alerts"
    if m.guard is not None:
        yield from _of_guard(m.guard)
    if m.waiting:
        yield WARNING, f"{plural(m.waiting, 'message')} not delivered"
    if m.conntrack is not None and m.conntrack[1] and m.conntrack[0] >= 0.9 * m.conntrack[1]:
        yield WARNING, f"conntrack holds {m.conntrack[0]} of {m.conntrack[1]}"


def _of_guard(guard: Mapping[str, Any]) -> Iterable[tuple[int, str]]:
    if guard["trouble"]:
        yield CRITICAL, str(guard["trouble"])
    for source in guard["sources"]:
        if source["trouble"]:
            yield CRITICAL, f"{source['name']} cannot be read: {source['trouble']}"
    if guard["alerts"].get("failing"):
        yield WARNING, "; ".join(f"{route}: {why}" for route, why in guard["alerts"]["failing"].items())


def _well(m: Measures) -> str:
    parts = [f"generation {m.generation} in force"] if m.generation else []
    if m.bans is not None:
        parts.append(plural(m.bans, "ban"))
    if m.guard is not None:
        mode = ", observing only" if m.guard["mode"] == "observe" else ""
        parts.append(f"the guard runs for {format_duration(max(1.0, m.at - float(m.guard['since'])))}{mode}")
    return ", ".join(parts)


def _data(m: Measures, warning: Range | None, critical: Range | None) -> Iterable[str]:
    if m.bans is not None:
        yield f"'bans'={m.bans};{warning.text if warning else ''};{critical.text if critical else ''};0;"
    if m.guard is not None:
        yield f"'bans_made'={int(m.guard['bans'])}c;;;0;"
        yield f"'attempts'={int(m.guard['heard'].get('failed', 0))}c;;;0;"
        yield f"'watched'={int(m.guard['figures']['sources'])};;;0;"
        if m.guard["startups"]:
            now, begin, _ = max(m.guard["startups"], key=lambda s: s[0] / max(1, s[1]))
            yield f"'startups'={int(now)};;;0;{int(begin)}"
    for name in ("ssh_counted", "ssh_limited"):
        if name in m.counters:
            yield f"'{name}'={m.counters[name]}c;;;0;"
    if m.conntrack is not None:
        yield f"'conntrack'={m.conntrack[0]};;;0;{m.conntrack[1]}"


def _end(state: int, said: str, data: str) -> NoReturn:
    """One line. What stands after a bar is performance data, so the text has none."""
    text = safe(said).replace("|", "/")[:1000]
    print(f"QUIETGATE {WORDS[state]} - {text}" + (f" | {data}" if data else ""))
    sys.stdout.flush()
    os._exit(state)  # a thread or a child that hangs holds nobody up


def _late(_number: int, _frame: FrameType | None) -> NoReturn:
    _end(UNKNOWN, "no answer in time", "")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _end(UNKNOWN, f"{message}; see check_quietgate --help", "")


def _options(words: list[str]) -> argparse.Namespace:
    parser = _Parser("check_quietgate", description="Monitoring plugin for quietgate: is the door guarded, and does anything want a person?",
                     epilog="-w and -c are ranges for the number of bans, like 1000, ~:1000 or @5:10.")  # fmt: skip
    parser.add_argument("-V", "--version", action="version", version=f"check_quietgate {__version__}")
    parser.add_argument("-w", "--warning", metavar="RANGE", type=_range, help="warn when the number of bans is outside")
    parser.add_argument("-c", "--critical", metavar="RANGE", type=_range, help="critical when the number of bans is outside")
    parser.add_argument("-t", "--timeout", metavar="SECONDS", type=_seconds, default=DEFAULT_TIMEOUT, help="for all of it (default 10)")
    parser.add_argument("-v", "--verbose", action="count", help="has no effect: there is one line")
    parser.add_argument("--root", metavar="DIR", type=Path, default=Path(os.environ.get("QUIETGATE_ROOT", "/")), help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _range(text: str) -> Range:
    try:
        return Range(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.5 <= found <= 3600:
        raise argparse.ArgumentTypeError("write 0.5 to 3600 seconds")
    return found


if __name__ == "__main__":
    main()
