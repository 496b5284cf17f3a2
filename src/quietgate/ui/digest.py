"""The digest as people read it: a text for terminals and mail, and one self-contained page of HTML, light and dark, wide and narrow.

No script, nothing from outside. All that the page says goes through `ui/text.html`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from quietgate.clock import format_duration
from quietgate.hindsight.digest import Digest, Source
from quietgate.ui.terminal import PLAIN, Row, Screen, Tone
from quietgate.ui.text import header, html, moment, plural

SHOWN = 50  # logins and alerts
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--dim:#5b6472;--paper:#fff;--card:#f5f7fa;--line:#dde2e9;--bar:#3b6fb6;--bad:#b3261e;--good:#1d7a46}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#9aa4b2;--paper:#14181f;--card:#1c222c;--line:#2c3440;--bar:#6f9fe0;--bad:#f2877f;--good:#6cc493}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:56rem;margin:0 auto;padding:1.5rem 1rem 3rem}h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.dim{color:var(--dim)}.bad{color:var(--bad)}.good{color:var(--good)}
.figures{display:flex;flex-wrap:wrap;gap:.6rem;margin:1.2rem 0}.figures div{background:var(--card);border-radius:.6rem;padding:.7rem 1rem;flex:1 1 7rem}
.figures b{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:7rem}svg rect{fill:var(--bar)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th{text-align:left;font-weight:600;color:var(--dim)}th,td{padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.a{white-space:nowrap}td.t{min-width:9.5rem}code{font:.9em ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
ul{padding:0;margin:0;list-style:none}li{background:var(--card);border-left:.25rem solid var(--bad);border-radius:.3rem;padding:.6rem .9rem;margin:.5rem 0}
@media(max-width:34rem){.many tr{display:flex;flex-wrap:wrap;border-bottom:1px solid var(--line);padding:.35rem 0}.many tr:first-child{display:none}
.many td{border:0;padding:0;flex:1 1 50%;text-align:left}.many td:first-child{font-weight:600}.many td.t{flex-basis:100%}
.many td.n::before,.many td.t::before{content:attr(data-of)" ";color:var(--dim)}}
footer{margin-top:2.5rem;color:var(--dim);font-size:.85rem}
"""


def subject(d: Digest) -> str:
    """For the mail."""
    span = "day" if d.until - d.since <= 2 * 86400 else "week"
    look = f", {plural(len(d.look), 'thing')} to look at" if d.look else ""
    return header(f"[quietgate {d.host}] the {span}: {plural(d.attempts, 'attempt')}, {plural(sum(d.made.values()), 'ban')}{look}")


def _name(d: Digest) -> str:
    return "quietgate, looking back" if d.of else f"quietgate on {d.host}"


def _headline(d: Digest) -> str:
    if d.of:
        return f"{plural(d.attempts, 'attempt')} from {plural(d.sources, 'source')}"
    if d.look:
        return f"{plural(len(d.look), 'thing')} to look at"
    return "a quiet time: nothing wants you"


def _span(d: Digest) -> str:
    return f"{moment(d.since)[:16]} to {moment(d.until)[:16]}"


def _of(shown: int, there: int) -> str:
    """How many of a thing are listed."""
    return f"{there:,}" if shown == there else f"{shown:,} of {there:,}"


def _from(d: Digest) -> str:
    return f"{_of(len(d.busiest), d.sources)} source{'' if d.sources == 1 else 's'}"


def _rest(d: Digest) -> tuple[str, int] | None:
    """What the sources that are not listed have to be called, and their attempts."""
    sources, attempts = d.other_sources
    return (f"{sources:,} other source{'' if sources == 1 else 's'}", attempts) if sources else None


def _names(d: Digest) -> list[tuple[str, int]]:
    """Every attempt, by the name that it tried."""
    rest = ((f"{d.more_names:,} more that exist{'s' if d.more_names == 1 else ''} here", d.more_tried if d.more_names else 0),
            ("names that do not exist here", d.unknown), ("no name", d.nameless))  # fmt: skip
    return [*d.names, *((what, count) for what, count in rest if count)]


def _tried(s: Source) -> str:
    more = f"{s.more:,} more that exist{'s' if s.more == 1 else ''} here" if s.more else ""
    others = f"{s.others:,} that {'does' if s.others == 1 else 'do'} not exist here" if s.others else ""
    return ", ".join(filter(None, (*s.existing, more, others))) or "-"


def _until(s: Source) -> str:
    return "no" if s.ban is None else "for ever" if s.ban.until is None else f"until {moment(s.ban.until)[:16]}"


def _lasted(d: Digest) -> str:
    if d.of:
        return f"as {d.of} tell it, and whom the guard would have banned"
    if d.guard is None:
        return "the guard does not run"
    trouble = f"; trouble: {d.guard.trouble}" if d.guard.trouble else ""
    return f"the guard runs for {format_duration(max(1.0, d.until - d.guard.since))}{trouble}"


def text(d: Digest, screen: Screen = PLAIN) -> str:
    """For a terminal, or the text part of a mail."""
    lines = [screen.line(f"{_name(d)}: {_headline(d)}", Tone.BAD if d.look else Tone.GOOD),
             screen.line(f"{_span(d)}; {_lasted(d)}", Tone.DIM), ""]  # fmt: skip
    if d.look:
        lines.append(screen.line(f"WHAT DESERVES A LOOK ({len(d.look):,})", Tone.BAD))
        for f in d.look:
            lines += [screen.line(f"  {f.what}"), screen.line(f"    next: {f.remedy}")]
        lines.append("")
    by = ", ".join(f"{name} {count:,}" for name, count in sorted(d.made.items(), key=lambda x: -x[1]))
    figures = [("attempts", f"{d.attempts:,} from {plural(d.sources, 'source')}"), ("banned", f"{sum(d.made.values()):,}" + (f": {by}" if by else "")),
               *([] if d.of else [("in force", plural(d.bans, "ban"))])]  # fmt: skip
    if any(d.bars):
        figures.append(("over time", _spark(d.bars)))
    lines += [screen.table(figures), ""]
    if d.busiest:
        lines.append(_title(screen, "MOST ATTEMPTS FROM", _from(d)))
        rows: list[Row] = [("SOURCE", "ATTEMPTS", "BANNED", "NAMES TRIED")]
        rows += [(str(s.source), f"{s.attempts:,}", _until(s), _tried(s)) for s in d.busiest]
        rest = _rest(d)
        lines += [screen.table([*rows, *([(rest[0], f"{rest[1]:,}", "", "")] if rest else [])], head=True, indent=2), ""]
    if d.attempts:
        lines += [
            _title(screen, "NAMES TRIED", f"{plural(d.attempts, 'attempt')}"),
            screen.table([(n, f"{c:,}") for n, c in _names(d)], free=(0,), indent=2),
            "",
        ]
    if d.logins:
        shown = [(x.user, str(x.address), moment(x.at)[:16]) for x in d.logins[:SHOWN]]
        lines += [_title(screen, "LOGINS", f"the last of each user from each address: {_of(len(shown), len(d.logins))}"),
                  screen.table(shown, free=(0,), indent=2), ""]  # fmt: skip
    if d.changes:
        lines.append(_title(screen, "CHANGES", f"{len(d.changes):,}"))
        lines += [screen.line(f"  generation {c.number}, {moment(c.at)[:16]}, SSH on {', '.join(map(str, c.ports))}") for c in d.changes]
        lines.append("")
    if d.alerts:
        told = [(moment(a.first)[:16], a.what + (f" ({a.count:,} times)" if a.count > 1 else "")) for a in d.alerts[:SHOWN]]
        lines += [_title(screen, "ALERTS", _of(len(told), len(d.alerts))), screen.table(told, indent=2), ""]
    return "\n".join(lines)


def _title(screen: Screen, what: str, many: str) -> str:
    return screen.line(f"{what} ({many})", Tone.DIM)


def _spark(bars: Sequence[int]) -> str:
    most = max(bars)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-b * 8 // most)] for b in bars)


def page(d: Digest) -> str:
    """One page of HTML."""
    out = ["<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>",
           "<meta http-equiv=Content-Security-Policy content=\"default-src 'none';style-src 'unsafe-inline'\">",
           f"<title>{html(subject(d) if not d.of else f'quietgate: {_headline(d)}')}</title><style>{_STYLE}</style><main>",
           f"<h1>{html(_name(d))}</h1><p class={'bad' if d.look else 'good'}>{html(_headline(d))}</p>",
           f"<p class=dim>{html(_span(d))}; {html(_lasted(d))}</p>"]  # fmt: skip
    if d.look:
        out.append(f"<h2>What deserves a look: {len(d.look):,}</h2><ul>")
        out += [f"<li>{html(f.what)}<br><code>{html(f.remedy)}</code></li>" for f in d.look]
        out.append("</ul>")
    figures = (
        ("attempts", d.attempts),
        ("sources", d.sources),
        ("banned", sum(d.made.values())),
        *(() if d.of else (("bans in force", d.bans),)),
        ("users and addresses logged in", len(d.logins)),
    )
    out.append("<div class=figures>" + "".join(f"<div><b>{n:,}</b>{html(what)}</div>" for what, n in figures) + "</div>")
    if any(d.bars):
        out.append(f"<h2>Attempts over time</h2>{_picture(d.bars)}<p class=dim>at most {max(d.bars):,} in {html(_part(d))}</p>")
    if d.busiest:
        rows = [(str(s.source), f"{s.attempts:,}", _until(s), _tried(s)) for s in d.busiest]
        rest = _rest(d)
        rows += [(rest[0], f"{rest[1]:,}", "", "")] if rest else []
        out.append(_table(f"Most attempts from: {_from(d)}", ("Source", "#Attempts", "Banned", "Names tried"), rows))
    if d.attempts:
        out.append(_table(f"Names tried: {plural(d.attempts, 'attempt')}", ("Name", "#Attempts"), [(n, f"{c:,}") for n, c in _names(d)]))
    if d.made:
        out.append(
            _table(
                f"Banned for: {plural(sum(d.made.values()), 'ban')}",
                ("Detector", "#Bans"),
                [(n, f"{c:,}") for n, c in sorted(d.made.items(), key=lambda x: -x[1])],
            )
        )
    if d.logins:
        shown = [(x.user, str(x.address), moment(x.at)[:16]) for x in d.logins[:SHOWN]]
        out.append(
            _table(f"Logins, the last of each user from each address: {_of(len(shown), len(d.logins))}", ("User", "From", "Last"), shown)
        )
    if d.changes:
        out.append(
            _table(
                f"Changes: {len(d.changes):,}",
                ("Generation", "When", "SSH on"),
                [(str(c.number), moment(c.at)[:16], ", ".join(map(str, c.ports))) for c in d.changes],
            )
        )
    if d.alerts:
        told = [(moment(a.first)[:16], a.what, f"{a.count:,}") for a in d.alerts[:SHOWN]]
        out.append(_table(f"Alerts: {_of(len(told), len(d.alerts))}", ("When", "What", "#Times"), told))
    out.append("<footer>Names of users that do not exist here are not in this page: some are mistyped passwords. "
               "The story of an address: <code>quietgate why ADDRESS</code></footer></main></html>")  # fmt: skip
    return "\n".join(out)


def _part(d: Digest) -> str:
    return format_duration((d.until - d.since) / len(d.bars))


def _picture(bars: Sequence[int]) -> str:
    most, wide = max(bars), 100.0 / len(bars)
    rects = "".join(
        f"<rect x={n * wide:.3f} y={100 - 100 * b / most:.2f} width={wide * 0.8:.3f} height={100 * b / most:.2f} rx=.4 />"
        for n, b in enumerate(bars)
    )
    said = html(f"attempts over time, at most {most:,}")
    return f'<svg viewBox="0 0 100 100" preserveAspectRatio=none role=img aria-label="{said}">{rects}</svg>'


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    number = [h.startswith("#") for h in heads]
    top = "".join(f"<th{' class=n' if n else ''}>{html(h.lstrip('#'))}" for h, n in zip(heads, number, strict=True))
    names = [h.lstrip("#") for h in heads]
    body = "".join("<tr>" + "".join(f"<td class={'n' if n else 'a' if i == 0 else 't'} data-of='{html(name)}'>{html(c)}"
                                    for i, (c, n, name) in enumerate(zip(row, number, names, strict=True))) for row in rows)  # fmt: skip
    many = " class=many" if len(heads) > 3 else ""  # on a phone a row is a block of lines
    return f"<h2>{html(title)}</h2><div class=scroll><table{many}><tr>{top}{body}</table></div>"


def message(d: Digest, name: str) -> dict[str, Any]:
    """For the queue of messages."""
    return {"form": "quietgate/digest", "version": 1, "id": name, "host": d.host, "sent": d.until, "severity": "info", "test": False,
            "subject": subject(d), "text": text(d), "html": page(d)}  # fmt: skip
