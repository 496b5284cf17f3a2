"""Figures as Prometheus reads them (text format 0.0.4). No address and no user is in a label.

prometheus-client, since it is the format's own library: families, escaping and the server are its.
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from quietgate import __version__
from quietgate.daemon.measure import Measures
from quietgate.errors import HostError
from quietgate.guard.alerts import Topic
from quietgate.host.files import write_where_told
from quietgate.ui.text import safe

FRESH = 1.0  # seconds for which figures are not asked for again: several may scrape


def families(m: Measures) -> Iterator[Metric]:
    """Every metric, with what it means."""
    yield InfoMetricFamily("quietgate_build", "The version of quietgate", value={"version": __version__})
    if not m.denied:  # else nobody knows: a 0 would be a false alarm
        yield _gauge("quietgate_guard_up", "1 if the guard answers", 1.0 if m.guard is not None else 0.0)
    if m.generation is not None:
        yield _gauge("quietgate_firewall_up", "1 if a generation of the ruleset decides in the kernel", float(bool(m.generation)))
        yield _gauge("quietgate_firewall_generation", "Number of the generation that decides, 0 for none", m.generation)
        yield _gauge("quietgate_firewall_held_down", "1 if it was taken down by hand", float(m.held))
        yield _gauge("quietgate_trial_remaining_seconds", "Seconds that a trial still runs, 0 for none", m.trial or 0.0)
        packets = CounterMetricFamily(
            "quietgate_packets", "Packets by the named counter of the ruleset that counted them", labels=["counter"]
        )
        for name, count in sorted(m.counters.items()):
            packets.add_metric([safe(name)], count)
        yield packets
    if m.bans is not None:
        yield _gauge("quietgate_bans", "Bans in force", m.bans)
    if m.alerts is not None:
        standing = GaugeMetricFamily("quietgate_alerts_standing", "Things that want a person, by topic", labels=["topic"])
        for topic in Topic:
            standing.add_metric([topic.value], m.alerts.get(topic.value, 0))
        yield standing
    if m.waiting is not None:
        yield _gauge("quietgate_messages_waiting", "Messages that have not arrived yet", m.waiting)
    if m.conntrack is not None:
        yield _gauge("quietgate_conntrack_entries", "Connections that the kernel tracks", m.conntrack[0])
        yield _gauge("quietgate_conntrack_limit", "Connections that the kernel can track", m.conntrack[1])
    if m.guard is not None:
        yield from _guard(m.guard)


def _guard(g: Any) -> Iterator[Metric]:
    yield _gauge("quietgate_guard_start_time_seconds", "When the guard began, in seconds since 1970", float(g["since"]))
    yield _gauge("quietgate_guard_trouble", "1 if something of the guard's does not work", float(bool(g["trouble"])))
    yield _counter("quietgate_bans_made", "Bans that the guard has made", int(g["bans"]))
    heard = CounterMetricFamily("quietgate_attempts", "What the log told of, by outcome", labels=["outcome"])
    for outcome in ("failed", "unsure", "noise", "penalty", "excused"):
        heard.add_metric([outcome], int(g["heard"].get(outcome, 0)))
    yield heard
    yield _counter("quietgate_logins", "Logins that the guard has seen", int(g["heard"].get("logins", 0)))
    figures = g["figures"]
    yield _gauge("quietgate_sources_watched", "Sources of which attempts are remembered", int(figures["sources"]))
    yield _gauge("quietgate_sources_known", "Sources that count as known", int(figures["known"]))
    yield _counter("quietgate_sources_forgotten", "Sources that were forgotten for want of room", int(figures["sources_forgotten"]))
    yield _counter("quietgate_lines_unclear", "Lines that could be read in two ways, so that nobody was blamed", int(figures["unclear"]))
    last = GaugeMetricFamily(
        "quietgate_log_last_line_time_seconds", "When the log last told of sshd, in seconds since 1970, 0 for never", labels=["log"]
    )
    failing = GaugeMetricFamily("quietgate_log_failing", "1 if the log cannot be read", labels=["log"])
    events = CounterMetricFamily("quietgate_log_events", "Events that were read", labels=["log"])
    for source in g["sources"]:
        name = [safe(str(source["name"]))]
        last.add_metric(name, float(source["last"]))
        failing.add_metric(name, float(bool(source["trouble"])))
        events.add_metric(name, int(source["events"]))
    yield from (last, failing, events)
    if g["startups"]:
        now, begin, _ = max(g["startups"], key=lambda s: s[0] / max(1, s[1]))
        yield _gauge("quietgate_sshd_startups", "Connections to sshd that have not logged in yet", int(now))
        yield _gauge("quietgate_sshd_startups_limit", "From how many on sshd refuses at random (MaxStartups)", int(begin))


def _gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(name, doc, value=value)


def _counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(name, doc, value=value)


class _Collector:
    """Measures when it is scraped, at most once in FRESH seconds."""

    def __init__(self, measured: Callable[[], Measures]) -> None:
        self._measured, self._lock = measured, threading.Lock()
        self._at, self._found = float("-inf"), list[Metric]()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._at > FRESH:
                self._found = list(families(self._measured()))
                self._at = time.monotonic()
            yield from self._found


def registry(measured: Callable[[], Measures]) -> CollectorRegistry:
    """For whatever prints or serves it."""
    found = CollectorRegistry(auto_describe=False)
    found.register(_Collector(measured))
    return found


def text(found: CollectorRegistry) -> bytes:
    """The text format."""
    return bytes(generate_latest(found))


def write(found: CollectorRegistry, file: Path) -> None:
    """For node_exporter's textfile collector: whole or not at all, and readable by whoever runs it. Raises HostError, InputError."""
    write_where_told(file, text(found), 0o644)


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for a request: who sends none is hung up on

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of scrapes."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Unix(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        link, _ = super().get_request()
        return link, ("local", 0)


def server(found: CollectorRegistry, listen: str) -> WSGIServer:
    """Listens at "127.0.0.1:9911", "[::1]:9911" or a socket's path. Raises HostError."""
    try:
        if listen.startswith("/"):
            Path(listen).unlink(missing_ok=True)
            mask = os.umask(0o117)  # a chmod afterwards would follow a link that somebody puts there
            try:
                made: WSGIServer = _Unix(listen, _Quiet)  # type: ignore[arg-type]
            finally:
                os.umask(mask)
        else:
            host, _, port = listen.rpartition(":")
            kind = _Server6 if host.startswith("[") else _Server
            made = kind((host.strip("[]"), int(port)), _Quiet)
    except OSError as error:
        raise HostError(f"metrics cannot be served at {listen}: {error.strerror}", "name another place: listen in [metrics]") from None
    made.set_app(make_wsgi_app(found))
    return made
