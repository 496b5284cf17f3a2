"""The golden pairs of the policy and the ruleset: how each answer is made, and `python -m tests.policy.regenerate`.

Regenerate, then look at `git diff`: every changed line is something an administrator will read.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.host.sshd_config import SshPorts
from quietgate.net import Prefix, parse_address
from quietgate.policy.load import load
from quietgate.ui.cli import main as command
from quietgate.values import File

BROKEN = Path(__file__).parent / "broken"
GOLDEN = Path(__file__).parents[1] / "firewall" / "golden"
# What the names in golden policies resolve to; every other name has no address.
NAMES = {
    "vpn.example.net": ("198.51.100.20", "2001:db8:20::1"),
    "four.example.net": ("198.51.100.4",),
    "six.example.net": ("2001:db8::6",),
}


def broken_cases() -> list[Path]:
    """Policies with mistakes: a file each, or a directory of several that are merged."""
    return sorted(p for p in BROKEN.iterdir() if p.is_dir() or p.suffix == ".toml")


def golden_cases() -> list[Path]:
    return sorted(GOLDEN.glob("*.toml"))


def resolve(names: object, _unit: Path | None = None) -> dict[str, tuple[Prefix, ...]]:
    assert not isinstance(names, str)
    return {n: tuple(parse_address(a) for a in NAMES.get(n, ())) for n in names}  # type: ignore[attr-defined]


@contextlib.contextmanager
def same_everywhere(directory: Path) -> Iterator[None]:
    """File names as an administrator in that directory would write them; a host with sshd on port 22; no DNS."""
    home = Path.cwd()
    os.chdir(directory)
    ports = SshPorts((22,), "sshd listens on 22", bound=False)
    try:
        with (
            mock.patch("quietgate.generations.plan.find_ports", return_value=ports),
            mock.patch("quietgate.generations.plan.resolve", resolve),
        ):
            yield
    finally:
        os.chdir(home)


def check(directory: Path, files: list[Path]) -> str:
    """What `quietgate check FILE...` prints, and the code it ends with."""
    out = io.StringIO()
    words = ["quietgate", "--root", "/nonexistent", "check", *(str(f.relative_to(directory)) for f in files)]
    code: object = 0
    with same_everywhere(directory), mock.patch.object(sys, "argv", words):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                command()
            except SystemExit as end:
                code = end.code
    return f"{out.getvalue()}exit {int(str(code))}\n"


def broken(case: Path) -> str:
    files = sorted(case.glob("*.toml")) if case.is_dir() else [case]
    return check(BROKEN, files)


def ruleset(case: Path) -> str:
    """The ruleset of a policy, on a host with sshd on port 22."""
    loaded = load([File(case.name, case.read_bytes())])
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    names = {name.text for name, _ in loaded.policy.names()}
    ports = loaded.policy.ssh.ports or (22,)
    facts = Facts(Door(ports, bound=case.stem.startswith("bound")), resolve(names))
    return render(Generation(1, compile_policy(loaded.policy, facts)))


def main() -> None:
    for case in broken_cases():
        case.with_suffix(".expected").write_text(broken(case))
    for case in golden_cases():
        case.with_suffix(".nft").write_text(ruleset(case))


if __name__ == "__main__":
    main()
