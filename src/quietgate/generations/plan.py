"""From the files on disk to a ruleset for this host: the one path of `check`, `show`, `diff`, `why` and `up`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quietgate.errors import InputError, Origin, PolicyError, Problem, QuietgateError
from quietgate.firewall.compile import Facts, compile_policy
from quietgate.firewall.limiter import Door
from quietgate.firewall.render import Generation, render
from quietgate.firewall.rules import Ruleset
from quietgate.host.files import policy_files, read_policy
from quietgate.host.paths import Paths
from quietgate.host.resolve import resolve
from quietgate.host.sight import find_ports
from quietgate.host.sshd_config import SshPorts
from quietgate.net import Prefix, parse_address
from quietgate.policy.check import conflicts, lost_ports, lost_problems, ssh_rules, unresolved
from quietgate.policy.load import load
from quietgate.policy.model import Policy
from quietgate.state.database import Store
from quietgate.values import File


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy without mistakes and the ruleset it means here. `digest` does not depend on the generation's number."""

    policy: Policy
    ruleset: Ruleset
    ports: SshPorts
    resolved: dict[str, tuple[Prefix, ...]]
    warnings: tuple[Problem, ...]
    contents: tuple[File, ...]
    digest: str

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files it was made from."""
        return tuple(f.name for f in self.contents)

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """Name and text of each file, as a record keeps them."""
        return tuple((f.name, f.content.decode()) for f in self.contents)

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
        raise InputError(f"{paths.policy}: there is no policy", "write one that fits this host: quietgate init")
    contents, problems = [], []
    for path in chosen:
        content, found = read_policy(path, installed=installed)
        contents.append(content)
        problems += found
    return prepare_from(paths, contents, problems)


def prepare_from(
    paths: Paths, contents: Sequence[File], problems: Sequence[Problem] = (), *, ask: bool = True, ports: tuple[int, ...] = ()
) -> Prepared:
    """The same, from files that were read before. `ask` False takes the last addresses of host names, and asks no resolver. `ports`:
    those that count as sshd's, as in a ruleset that was loaded with them, whatever sshd listens on now.
    """
    loaded = load(contents)
    policy = loaded.policy
    resolved, stale = _resolve(policy, paths, ask=ask)
    mistakes = [*problems, *loaded.problems, *conflicts(policy, resolved), *unresolved(policy, resolved)]
    if mistakes:
        raise PolicyError(mistakes)
    found = find_ports(policy.ssh.ports)
    lost = lost_ports(policy, found.ports, found.listening)
    if lost and policy.firewall.default == "drop":  # the door stays a door
        found = replace(found, ports=tuple(sorted({*found.ports, *lost})))
    if ports:
        found = replace(found, ports=ports)
    warnings = (*loaded.warnings, *stale, *ssh_rules(policy, found.ports), *lost_problems(policy, lost))
    ruleset = compile_policy(policy, Facts(Door(found.ports, found.bound, found.begin, found.grace), resolved))
    digest = hashlib.sha256(render(Generation(1, ruleset)).encode()).hexdigest()
    return Prepared(policy, ruleset, found, resolved, warnings, tuple(contents), digest)


def _resolve(policy: Policy, paths: Paths, *, ask: bool) -> tuple[dict[str, tuple[Prefix, ...]], list[Problem]]:
    """Addresses of all names; one that fails now keeps its last addresses, with a warning."""
    places: dict[str, Origin] = {}
    for name, origin in policy.names():
        places.setdefault(name.text, origin)
    resolved: dict[str, tuple[Prefix, ...]] = resolve(places, paths.resolver) if ask else dict.fromkeys(places, ())
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
