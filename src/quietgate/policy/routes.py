"""`[[alerts.route]]`: where messages go, and what a way needs so that it can be one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from quietgate.errors import Origin, Problem
from quietgate.policy.given import Given, RawRule
from quietgate.policy.model import Policy, Route
from quietgate.policy.readers import quoted

MOST = 32
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z"
)  # RFC 5321, without quotes
_LIKE = {
    "webhook": 'write a URL, like "https://example.net/hook"',
    "mail": 'write a mail address, or the server as well: "smtp://mail.example.net:587/ops@example.net"',
    "apprise": 'put the URL into a file: secret = "file:/etc/quietgate/apprise.url"',
}


def is_address(text: str) -> bool:
    """True for a mail address that needs no quoting anywhere."""
    return _ADDRESS.match(text) is not None and ".." not in text


def recipients(url: str) -> tuple[str, ...]:
    """Who gets the mail that `url` of a mail route names; empty where it names nobody, or something else."""
    found = unquote(_split(url).path).lstrip("/").split(",") if "://" in url else url.removeprefix("mailto:").split(",")
    return tuple(found) if all(is_address(f) for f in found) else ()


def for_digest(policy: Policy) -> Route | None:
    """The way of the digest: by the first mail server that a route names, else by this host's. None if nobody gets it."""
    to = cast("tuple[str, ...]", policy.values["digest.to"])
    if not to:
        return None
    origin = policy.origins.get("digest.to", (Origin("default", 0),))[0]
    server = next((r for r in policy.routes if r.to == "mail" and "://" in r.url), None)
    if server is None:
        return Route("mail", ",".join(to), "", "all", origin)
    parts = _split(server.url)
    return Route(
        "mail",
        urlunsplit((parts.scheme, parts.netloc, "/" + quote(",".join(to), safe="@,"), parts.query, "")),
        server.secret,
        "all",
        origin,
    )


def routes(given: Given) -> tuple[Route, ...]:
    """The routes, and every mistake in them."""
    found = []
    for raw in given.routes[:MOST]:
        before = len(given.problems)
        route = _route(raw, given)
        if raw.whole and len(given.problems) == before:
            given.problems += _problems(route, raw)
            found.append(route)
    if len(given.routes) > MOST:
        given.problem(given.routes[MOST].origin, f"more than {MOST} routes", "one route may name several mail addresses, with commas")
    return tuple(found)


def key(route: Route) -> str:
    """What a route is called where its messages wait: the same while it leads to the same place."""
    return f"{route.to}-{hashlib.sha256(f'{route.to} {route.url} {route.secret}'.encode()).hexdigest()[:12]}"


def _route(raw: RawRule, given: Given) -> Route:
    def value(key: str, default: Any) -> Any:
        return raw.values[key][0] if key in raw.values else default

    if "to" not in raw.values and "to" not in raw.broken:
        given.problem(raw.origin, "the route does not say which way", 'write to = "webhook", "mail" or "apprise"')
    return Route(value("to", ""), value("url", ""), value("secret", ""), value("severity", "page"), raw.origin)


def _problems(route: Route, raw: RawRule) -> Iterator[Problem]:
    at = raw.values["url"][1] if "url" in raw.values else raw.origin
    if route.to == "apprise":
        if route.url and route.secret:
            yield Problem(at, "the route has a url and a secret, and apprise takes one of them", _LIKE["apprise"])
        elif not route.url and not route.secret:
            yield Problem(at, "the route has no url", _LIKE["apprise"])
        return
    if not route.url:
        yield Problem(at, "the route has no url", _LIKE[route.to])
        return
    parts = _split(route.url)
    if parts.password is not None:
        yield Problem(at, "a password must not stand in the policy itself", 'put it in a file: secret = "file:/etc/quietgate/mail.key"')
    elif route.to == "webhook":
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield Problem(at, f"{quoted(route.url)} is no web address", _LIKE["webhook"])
    elif "://" in route.url and (parts.scheme not in ("smtp", "smtps") or not parts.hostname):
        yield Problem(at, f"{quoted(route.url)} is no mail server", _LIKE["mail"])
    elif not recipients(route.url):
        yield Problem(at, f"{quoted(route.url)} names nobody who could get a mail", _LIKE["mail"])
    elif route.secret and not parts.username:
        yield Problem(at, "the route has a secret, and no user whose it would be",
                      'name the user: "smtp://USER@mail.example.net:587/ops@example.net"')  # fmt: skip


def _split(url: str) -> SplitResult:
    """The parts of a URL; those of an empty one where it cannot be read."""
    try:
        found = urlsplit(url)
        found.port  # noqa: B018  it is read here, and may be no number
    except ValueError:
        return urlsplit("")
    return found
