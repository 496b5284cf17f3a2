"""Whatever is in policy files: mistakes with file and line, or a policy that compiles and renders. Nothing else, and not slowly.

An input is the files' text; a line that is `#---` begins the next file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import atheris

with atheris.instrument_imports(include=["quietgate"]):
    from quietgate.errors import PolicyError
    from quietgate.firewall.render import Generation, sets_only
    from quietgate.generations.plan import prepare_from
    from quietgate.host.paths import Paths
    from quietgate.host.sshd_config import SshPorts
    from quietgate.net import parse_address
    from quietgate.policy import schema
    from quietgate.values import File

from fuzz.run import fuzz

TESTS = Path(__file__).parents[1] / "tests"
NEXT = b"\n#---\n"
NOWHERE = Paths(Path("/nonexistent"))
HOST = SshPorts((22,), "sshd listens on 22", bound=False)
LONGEST = 1000  # characters of one mistake
FOUND = {"four.example.net": ("198.51.100.4",), "six.example.net": ("2001:db8::6",)}  # the others have one of each


def _resolved(names: object, _resolver: object = None) -> dict[str, tuple[object, ...]]:
    assert isinstance(names, dict)
    return {n: tuple(parse_address(a) for a in FOUND.get(n, ("198.51.100.20", "2001:db8:20::1"))) for n in names}


def one(data: bytes) -> None:
    """These files, the whole way to nft's text."""
    contents = [File(f"{n}.toml", content) for n, content in enumerate(data.split(NEXT))]
    lines = {file.name: file.content.count(b"\n") + 1 for file in contents}
    with (
        mock.patch("quietgate.generations.plan.resolve", _resolved),
        mock.patch("quietgate.generations.plan.find_ports", return_value=HOST),
    ):
        try:
            prepared = prepare_from(NOWHERE, contents)
        except PolicyError as error:
            problems = error.problems
        else:
            problems = prepared.warnings
            policy = prepared.policy
            assert policy.ssh.sources or policy.ssh.trusted or policy.firewall.allow, "nobody could reach SSH"
            text = prepared.text(7)
            sets_only(Generation(7, prepared.ruleset))
            assert all(c.isprintable() or c in "\n\t" for c in text), "somebody's control characters reach nft"
            text = re.sub(r'"[^"\n]*"', "", text)  # the words of a log's prefix are not nft's
            for used, declared in ((r"@(\w+)", r"\bset (\w+) \{"), (r"(?:goto|jump) (\w+)", r"\bchain (\w+) \{")):
                assert set(re.findall(used, text)) <= set(re.findall(declared, text)), "a rule asks for what is not there"
    for problem in problems:
        assert 1 <= problem.origin.line <= lines[problem.origin.file], problem
        assert problem.what, "a mistake says what is wrong"
        assert problem.remedy, "and what to do"
        assert len(str(problem)) < LONGEST, problem


def seeds() -> Iterator[bytes]:
    """Every policy that the tests know, whole and broken."""
    for path in sorted(TESTS.glob("**/*.toml")):
        if path.parent.parent.name != "broken":
            yield path.read_bytes()
    for path in sorted(TESTS.glob("policy/broken/*/")):
        yield NEXT.join(p.read_bytes() for p in sorted(path.glob("*.toml")))


def words() -> Iterator[bytes]:
    """The names of settings, and what their values are made of."""
    for setting in (*schema.SETTINGS, *schema.RULE):
        yield setting.path.encode()
        yield setting.path.rpartition(".")[2].encode() + b" = "
    for path in sorted(TESTS.glob("**/*.toml")):
        yield from re.findall(rb'"[^"\n\\]{1,30}"', path.read_bytes())
    yield from (
        NEXT,
        b"[[firewall.rule]]\n",
        b"[groups]\n",
        b'"""',
        b"'''",
        b"\\u0000",
        b"= [",
        b"= {",
        b"0x",
        b"1e9",
        b"inf",
        b"nan",
        b"1979-05-27",
        b"07:32:00",
    )


if __name__ == "__main__":
    fuzz("policy", one, seeds(), words())
