"""From the files on disk to a ruleset for this host: the one path of `check`, `show`, `diff`, `why` and `up`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quietgate.errors import InputError, Origin, PolicyError, Problem, QuietgateError
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.firewall.rules import Ruleset
from quietgate.host.files import policy_files, read_policy
from quietgate.host.paths import Paths
from quietgate.host.resolve import resolve
from quietgate.host.sshd_config import SshPorts, find_ports
from quietgate.host.store import Store
from quietgate.net import Prefix, parse_address
from quietgate.policy.check import conflicts, ssh_rules, unresolved
from quietgate.policy.load import load
from quietgate.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy without mistakes and the ruleset it means here. `digest` does not depend on the generation's number."""

    policy: Policy
    ruleset: Ruleset
    ports: SshPorts
    resolved: dict[str, tuple[Prefix, ...]]
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]
    digest: str

    def text(self, number: int) -> str:
        """The ruleset as nft text, as generation `number`."""
        return render(Generation(number, self.ruleset))


def prepare(paths: Paths, files: Sequence[Path] = ()) -> Prepared:
    """Read, merge, resolve, check and compile. Raises PolicyError with every mistake, or InputError.

    Without `files` it takes the installed policy, which must be there and must be root's.
    """
    installed = not files
    chosen = list(files) or policy_files(paths.policy, paths.drop_ins)
    if not chosen:
        raise InputError(f"{paths.policy}: there is no policy", "write one, or copy an example from examples/")
    contents, problems = [], []
    for path in chosen:
        content, found = read_policy(path, installed=installed)
        contents.append(content)
        problems += found
    loaded = load(contents)
    policy = loaded.policy
    resolved, stale = _resolve(policy, paths)
    problems += [*loaded.problems, *conflicts(policy, resolved), *unresolved(policy, resolved)]
    if problems:
        raise PolicyError(problems)
    ports = find_ports(policy.ssh.ports)
    warnings = (*loaded.warnings, *stale, *ssh_rules(policy, ports.ports))
    ruleset = compile_policy(policy, Facts(Door(ports.ports, ports.bound), resolved))
    digest = hashlib.sha256(render(Generation(1, ruleset)).encode()).hexdigest()
    return Prepared(policy, ruleset, ports, resolved, warnings, tuple(str(f) for f in chosen), digest)


def _resolve(policy: Policy, paths: Paths) -> tuple[dict[str, tuple[Prefix, ...]], list[Problem]]:
    """Addresses of all names; one that fails now keeps its last addresses, with a warning."""
    places: dict[str, Origin] = {}
    for name, origin in policy.names():
        places.setdefault(name.text, origin)
    resolved = resolve(places)
    failed = [n for n, addresses in resolved.items() if not addresses]
    if not failed:
        return resolved, []
    warnings = []
    try:
        with Store(paths.store, read_only=True) as store:
            remembered = store.names()
    except QuietgateError:
        remembered = {}  # no store yet: then there are no last addresses either
    for lost in failed:
        if lost in remembered:
            resolved[lost] = tuple(parse_address(a) for a in remembered[lost])
            last = ", ".join(remembered[lost])
            warnings.append(Problem(places[lost], f"the name {lost} does not resolve now", f"its last addresses stay: {last}"))
    return resolved, warnings
