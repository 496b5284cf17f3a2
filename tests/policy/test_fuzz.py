"""Whatever is in the files: `load` never raises, and each problem has a line of the file and a remedy."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from quietgate.policy import schema
from quietgate.policy.load import load
from quietgate.values import File
from tests.policy.documents import documents, nearly_toml

ALL = (Path(__file__).parent / "all-defaults.toml").read_bytes()
VALUES = st.one_of(
    st.sampled_from(
        [
            '""',
            '"off"',
            '"5 per 60s"',
            '"0 per 1s"',
            '"10m"',
            '"anywhere"',
            '"@a"',
            '"::/0"',
            '"1.2.3.4/8"',
            "[]",
            "{}",
            "0",
            "-1",
            "65536",
            "true",
            "1.5",
            "nan",
            "07:00:00",
            '["@a"]',
            "[22]",
            "[[22]]",
            '["a.example"]',
            "{ a = 1 }",
            "0xffffffff",
            '["\\u0000"]',
            "'''\n'''",
        ]
    ),
    st.integers().map(str),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'")).map(lambda t: f"'{t}'"),
)
KEYS = st.sampled_from([*(s.path for s in schema.SETTINGS), *(f"firewall.{s.path}" for s in schema.RULE), "groups.a", "groups.b", "x.y"])
RULE_KEYS = st.sampled_from([s.path for s in schema.RULE])


def loads(*contents: bytes) -> None:
    files = [File(f"{n}.toml", content) for n, content in enumerate(contents)]
    loaded = load(files)
    lines = {f"{n}.toml": content.count(b"\n") + 1 for n, content in enumerate(contents)}
    for problem in (*loaded.problems, *loaded.warnings):
        assert 1 <= problem.origin.line <= lines[problem.origin.file]
        assert problem.what
        assert problem.remedy
        assert len(str(problem)) < 1000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    loads(content)


@settings(max_examples=400, deadline=None)
@given(st.one_of(nearly_toml(), documents().map(lambda d: d[0])), nearly_toml())
def test_documents_that_are_nearly_toml(first: str, second: str) -> None:
    loads(first.encode(), second.encode())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=8), max_size=2), st.lists(st.dictionaries(RULE_KEYS, VALUES), max_size=3))
def test_any_value_of_any_key(files: list[dict[str, str]], rules: list[dict[str, str]]) -> None:
    contents = ["".join(f"{key} = {value}\n" for key, value in file.items()) for file in files]
    contents.append("".join("[[firewall.rule]]\n" + "".join(f"{k} = {v}\n" for k, v in rule.items()) for rule in rules))
    loads(*(c.encode() for c in contents))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(ALL)), st.integers(0, 12), st.sampled_from(["", '"', "]", "[", "\n", "=", "x", "é", "0"])), max_size=4
    )
)
def test_a_policy_with_slips_of_the_pen(slips: list[tuple[int, int, str]]) -> None:
    content = ALL
    for at, length, put in slips:
        content = content[:at] + put.encode() + content[at + length :]
    loads(content)


def test_groups_in_groups_neither_recurse_nor_explode() -> None:
    doubling = "".join(f'g{n} = ["@g{n - 1}", "@g{n - 1}"]\n' for n in range(1, 30))
    chain = "".join(f'c{n} = ["@c{n - 1}"]\n' for n in range(1, 3000))
    loads(f'[groups]\ng0 = ["192.0.2.1"]\nc0 = ["192.0.2.1"]\n{doubling}{chain}[ssh]\ntrusted = ["@g29", "@c2999"]\n'.encode())


def test_a_hundred_thousand_rules_and_too_large_files_are_refused_at_once() -> None:
    loads(b"[[firewall.rule]]\n" * 100_000)
    loads(b"#" * (5 << 20))
