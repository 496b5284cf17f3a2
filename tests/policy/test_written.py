"""A value written as TOML is read as the same value."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from quietgate.policy import schema
from quietgate.policy.load import load
from quietgate.policy.terms import Addresses
from quietgate.policy.written import raw, toml
from quietgate.values import File

TOP = Path(__file__).parents[2]
ODD = """
[ssh]
ports = "auto"
known = "off"
limit = "off"
on_full = "drop"
trusted = ["192.0.2.7", "2001:db8::/32", "bastion.example.net", "@office"]
[groups]
office = ["198.51.100.0/24"]
[firewall]
ping = "accept"
[bans]
steps = ["90s", "forever"]
[bans.manual]
for = "forever"
[store]
size = "3kB"
[alerts]
new_network = "digest"
[digest]
to = ["ops@example.net"]
[control]
group = 'o "ö😀" \\ x'
[guard]
sources = ["journal", "-", "/var/log/auth.log"]
"""


@pytest.mark.parametrize("text", ["", ODD, (TOP / "tests/policy/all-defaults.toml").read_text(), (TOP / "examples/init-script.toml").read_text()],
                         ids=["empty", "odd", "defaults", "init-script"])  # fmt: skip
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    loaded = load([File("a.toml", text.encode())])
    assert not loaded.problems, loaded.problems
    lines = [f"{path} = {toml(raw(path, value))}" for path, value in loaded.policy.values.items()]
    assert {line.split(" = ")[0] for line in lines} == set(schema.BY_PATH)
    parsed = tomllib.loads("\n".join(lines))
    again = load([File("b.toml", "\n".join(lines).encode())])
    assert parsed["version"] == 1
    assert not again.problems, again.problems
    for path, value in loaded.policy.values.items():
        other = again.policy.values[path]
        if isinstance(value, Addresses):
            assert isinstance(other, Addresses)
            assert (other.anywhere, [e.target for e in other.entries]) == (value.anywhere, [e.target for e in value.entries])
        else:
            assert other == value, path
