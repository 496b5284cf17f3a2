"""Metrics: their text is what Prometheus reads, the dashboard and the rules ask for nothing that there is not, and no address is in a label."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quietgate.daemon.measure import Measures
from quietgate.errors import HostError
from quietgate.guard.alerts import Topic
from quietgate.ui import metrics

PACKAGING = Path(__file__).parents[2] / "packaging/monitoring"
CACHE = Path("/var/tmp/quietgate-trees")
HOSTILE = 'x"} 1\nquietgate_up 0 # \\ \x1b[2J\u202e'
GUARD: dict[str, Any] = {
    "since": 1.79e9, "trouble": "", "bans": 7, "heard": {"failed": 40, "noise": 3, "logins": 2}, "mode": "enforce",
    "figures": {"sources": 5, "known": 2, "sources_forgotten": 0, "unclear": 1}, "startups": [[3, 10, 100]], "alerts": {},
    "sources": [{"name": "journal", "last": 1.79e9, "trouble": "", "events": 99}, {"name": HOSTILE, "last": 0, "trouble": "gone", "events": 0}],
}  # fmt: skip
ALL = Measures(1.79e9, GUARD, "", 3, 12.5, False, {"ssh_counted": 5, "ban_ssh": 9}, 4, {"break_in": 1}, 2, (100, 1000))


def exposed(m: Measures = ALL) -> str:
    return metrics.text(metrics.registry(lambda: m)).decode()


def samples(m: Measures = ALL) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(exposed(m)):
        for s in family.samples:
            yield s.name, s.labels, s.value


def test_every_figure_is_there_with_its_name_and_unit() -> None:
    found = {name: value for name, labels, value in samples() if not labels}
    assert found["quietgate_firewall_up"] == 1
    assert found["quietgate_bans"] == 4
    assert found["quietgate_bans_made_total"] == 7
    assert found["quietgate_trial_remaining_seconds"] == 12.5
    assert {(labels["topic"], value) for name, labels, value in samples() if name == "quietgate_alerts_standing"} == {
        (t.value, float(t is Topic.BREAK_IN)) for t in Topic
    }
    assert all(name.startswith("quietgate_") for name, _, _ in samples())


def test_what_cannot_be_seen_is_missing_and_not_zero() -> None:
    names = {name for name, _, _ in samples(Measures(0.0, None, "no guard"))}
    assert names == {"quietgate_build_info", "quietgate_guard_up"}


def test_who_may_not_ask_does_not_read_that_the_guard_is_down() -> None:
    names = {name for name, _, _ in samples(Measures(0.0, None, "may not ask", denied=True))}
    assert names == {"quietgate_build_info"}


def test_hostile_text_in_a_label_stays_in_its_label() -> None:
    text = exposed()
    assert "\x1b" not in text
    assert "\u202e" not in text
    names = {labels["log"] for name, labels, _ in samples() if name == "quietgate_log_failing"}
    assert len(names) == 2
    assert sum(1 for line in text.splitlines() if line.startswith("quietgate_up")) == 0


def test_no_label_is_unbounded() -> None:
    """An address or a user in a label would make a series for each attacker, and tell the monitoring who logs in."""
    assert {key for _, labels, _ in samples() for key in labels} == {"version", "counter", "topic", "outcome", "log"}


def used(expression: str) -> set[str]:
    return set(re.findall(r"quietgate_[a-z_]+", expression))


def test_dashboard_and_rules_ask_for_nothing_that_is_not_there() -> None:
    there = {name for name, _, _ in samples()}
    board = json.loads((PACKAGING / "quietgate.grafana.json").read_text())
    asked = {name for panel in board["panels"] for t in panel["targets"] for name in used(t["expr"])}
    asked |= used(board["templating"]["list"][1]["query"])
    rules = set().union(*(used(line) for line in (PACKAGING / "quietgate.rules.yml").read_text().splitlines() if "expr:" in line))
    assert asked
    assert rules
    assert asked | rules <= there, sorted((asked | rules) - there)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_file_for_node_exporter_is_whole_and_readable(tmp_path: Path) -> None:
    file = tmp_path / "quietgate.prom"
    metrics.write(metrics.registry(lambda: ALL), file)
    assert list(text_string_to_metric_families(file.read_text()))
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file], "nothing else is left there"
    with pytest.raises(HostError, match="No such file"):
        metrics.write(metrics.registry(lambda: ALL), tmp_path / "missing" / "quietgate.prom")


@pytest.fixture(scope="module")
def prometheus() -> Path:
    """Debian's Prometheus, unpacked, not installed; fetched once."""
    place = CACHE / "prometheus"
    if not (place / "usr/bin/promtool").exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run("apt-get update -q >/dev/null; apt-get download -q prometheus && dpkg -x prometheus_*.deb .", shell=True, check=True,
                       cwd=place, capture_output=True, timeout=300)  # fmt: skip
    return place / "usr/bin"


@pytest.mark.kernel
def test_promtool_finds_nothing_to_say(prometheus: Path) -> None:
    done = subprocess.run([prometheus / "promtool", "check", "metrics"], input=exposed(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = subprocess.run(
        [prometheus / "promtool", "check", "rules", PACKAGING / "quietgate.rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "SUCCESS: 8 rules found" in done.stdout
    done = subprocess.run(
        [prometheus / "promtool", "test", "rules", "quietgate.rules.test.yml"], capture_output=True, text=True, cwd=PACKAGING, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
