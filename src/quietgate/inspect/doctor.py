"""What on this host would keep quietgate from doing its work, or an administrator from getting in; each with a remedy.

Only looks. What needs guessing says so. `status` shows the short form of the same findings.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from quietgate.clock import format_duration
from quietgate.daemon.guard_state import UNIT, guard_state, is_expected, missing_log
from quietgate.errors import QuietgateError
from quietgate.firewall import names
from quietgate.generations.deciding import Deciding, deciding
from quietgate.generations.installation import Parts
from quietgate.generations.plan import Prepared
from quietgate.guard.alerts import utc
from quietgate.host import other_firewalls, sockets
from quietgate.host.files import aside_in
from quietgate.host.greeting import speaks_ssh
from quietgate.host.reading import read_text
from quietgate.host.sshd_config import SshPorts
from quietgate.host.surroundings import surroundings
from quietgate.host.systemd import ssh_unit, start_words
from quietgate.inspect.doctor_log import of_log
from quietgate.inspect.recent import recent_visitors
from quietgate.net import AddressError, Prefix, PrefixSet, parse_address
from quietgate.pages import page
from quietgate.people import known
from quietgate.policy.model import Policy, Resolved, Rule, prefixes_of
from quietgate.rollout.after_floor import leaving
from quietgate.rollout.neighbours import neighbours
from quietgate.values import Scope

SYSCTL = Path("/proc/sys/net")
# sslh, haproxy and the like take connections and make new ones: sshd sees the proxy's address only.
PROXIES = {"sslh", "sslh-fork", "sslh-ev", "sslh-select", "haproxy", "nginx", "traefik", "envoy", "frps", "caddy"}
# net.ipv4.tcp_fastopen (ip-sysctl.rst): data in a SYN without a cookie, for all listeners
TFO_NO_COOKIE, TFO_ALL = 0x200, 0x400
ALIKE = 0.9  # of the logins of several users from one address: that is a proxy or a NAT, and counts as one source
MOST = 8
PROTOCOLS = {"tcp": 6, "udp": 17}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: a stable id, how bad (`problem`: something does not work; `advice`: it could be better), the remedy."""

    id: str
    severity: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """The findings under the policy that decides (`told`); `new` and `gone`: those that the policy on disk would bring and take away."""

    told: Deciding
    findings: tuple[Finding, ...]
    new: tuple[Finding, ...] = ()
    gone: tuple[Finding, ...] = ()


def checkup(parts: Parts) -> Checkup:
    """Examine this host under what is in force, and say what `up` would change. Raises QuietgateError."""
    told = deciding(parts)
    found = examine(parts, told.prepared)
    # Only for who asks for it: one reads logs, the other knocks at containers' ports, and `status` runs each minute somewhere.
    found += _visitors(parts, told.prepared)
    found += _ssh_inside(told.prepared.policy, other_firewalls.published())
    if told.wrong:
        found.insert(0, Finding("policy", "problem", f"the policy on disk has a mistake, and `quietgate up` would refuse it: {told.wrong}",
                                "correct it, then: quietgate check" if told.mistakes else "quietgate init"))  # fmt: skip
    if not told.differs or told.written is None or told.written is told.prepared:
        return Checkup(told, tuple(found))
    after = examine(parts, told.written)
    return Checkup(told, tuple(found), tuple(f for f in after if f not in found), tuple(f for f in found if f not in after))


def examine(parts: Parts, prepared: Prepared) -> list[Finding]:
    """Everything that can be found without changing anything."""
    policy, ports = prepared.policy, prepared.ports
    found = [Finding("policy", "advice", f"{w.origin}: {w.what}", w.remedy) for w in prepared.warnings]
    found += _tables(policy, ports)
    found += _guard(parts, policy)
    found += [Finding(*row) for row in of_log(parts)]
    found += [Finding(*row) for row in neighbours(parts.paths, ports.ports)]
    found += _lost(parts)
    found += _broken(parts)
    found += _needed(parts)
    found += _blockers(parts, policy)
    found += _published(prepared)
    found += _sshd(ports)
    found += _kernel(ports)
    found += _proxy(parts, policy, ports)
    found += _limited(parts, policy)
    found += _after_floor(parts, prepared)
    return found


def _tables(policy: Policy, ports: SshPorts) -> Iterator[Finding]:
    for table in other_firewalls.tables():
        missing = [p for p in ports.ports if p not in table.opens]
        if table.closes and missing:
            named = ", ".join(map(str, missing))
            yield Finding("closed-by-other", "problem",
                          f"table {table.name}{_of(table.owner)} drops what its own rules do not accept, and names no port {named}: "
                          "SSH may not get in there, whatever this policy says", _open(table.owner, missing))  # fmt: skip
    wide = [r for r in policy.firewall.rules if r.direction == "in" and r.action == "accept" and r.protocol == 6]
    for table in other_firewalls.tables():
        for rule in wide if table.closes else []:
            shut = [str(p) for p in rule.ports or () if p.low not in table.opens]
            if shut:
                yield Finding("closed-by-other", "advice", f"table {table.name}{_of(table.owner)} may drop port {', '.join(shut)}, which "
                              f"rule {rule.name} accepts: a packet must pass both", _open(table.owner, [int(s.split("-")[0]) for s in shut]))  # fmt: skip
    for program in other_firewalls.legacy():
        yield Finding("legacy", "advice", f"{program} holds rules as well: nft does not show them, and they may drop what we accept",
                      f"see them with {program}-save; move them to nft, or take them out")  # fmt: skip


def _of(owner: str) -> str:
    return f" (of {owner})" if owner else ""


def _open(owner: str, ports: list[int]) -> str:
    port = ports[0]
    return {
        "firewalld": f"firewall-cmd --permanent --add-port={port}/tcp && firewall-cmd --reload",
        "ufw": f"ufw allow {port}/tcp",
    }.get(owner, f"accept TCP port {port} there too, or take that table out of use")


def _guard(parts: Parts, policy: Policy) -> Iterator[Finding]:
    """A guard that is off or silent, where one is to run; and a host without a log that it could read."""
    if not is_expected(parts.paths):
        return
    if policy.values["guard.enabled"] and (error := missing_log(policy.values["guard.sources"], parts.paths)) is not None:
        yield Finding("no-log", "problem", f"{error.message}: the guard has nothing to read, so nobody new is banned",
                      f"{error.hint}; then: {start_words(UNIT, 'restart')}")  # fmt: skip
    if parts.generations.newest() is None:
        return  # nothing was put in force yet, and the guard comes after that
    found = guard_state(parts.paths, policy)
    because = f": {found.why}" if found.why else ""
    if found.state == "disabled":
        yield Finding("guard-off", "advice", f"{found.why}: nobody new is banned", "write enabled = true in [guard], then: quietgate up")
    elif found.state == "off":
        yield Finding("guard-off", "problem", f"the guard does not run, so nobody new is banned{because}",
                      f"{start_words(UNIT)}; its output: {start_words(UNIT, 'log')}")  # fmt: skip
    elif found.state == "silent":
        yield Finding("guard-silent", "problem", f"the guard runs, but does not answer{because}",
                      f"{start_words(UNIT, 'restart')}; its output: {start_words(UNIT, 'log')}")  # fmt: skip


def _lost(parts: Parts) -> Iterator[Finding]:
    if other_firewalls.flushes(parts.paths.root):
        yield Finding("flush", "advice", "nftables.service takes every table out, ours too, whenever it is started, stopped or reloaded: "
                      "/etc/nftables.conf begins with `flush ruleset`. The guard puts ours back, without one the next refresh does",
                      "write `table inet filter` and `delete table inet filter` there instead, for the tables that it makes; "
                      f"or, after each of these: {start_words('quietgate', 'restart')}")  # fmt: skip
    held = parts.paths.held_down.exists()
    if not held and parts.generations.newest() is not None and parts.nft.structure() is None:
        yield Finding("lost", "problem", "our table is not in the kernel, though nobody took it down with `quietgate down`: another tool flushed "
                      "all tables (`nft flush ruleset`), or the boot unit failed", "quietgate up")  # fmt: skip


def _needed(parts: Parts) -> Iterator[Finding]:
    """What this host lives from, and is banned: a list was loaded, or a network changed, since."""
    now = time.time()
    with contextlib.suppress(QuietgateError), parts.look() as store:
        for what, address in surroundings(parts.paths.root).needed:
            for ban in store.covering(address, now):
                if ban.scope is Scope.HOST:
                    yield Finding("needed-banned", "problem", f"{address} is {what} of this host, and the ban of {ban.prefix} drops what it sends",
                                  f"quietgate unban {ban.prefix}")  # fmt: skip


def _broken(parts: Parts) -> Iterator[Finding]:
    """Files of state that cannot be used, in place or set aside."""
    place = parts.paths.generations
    broken = parts.generations.broken()
    newest = parts.generations.newest() if broken else None
    last = newest.number if newest is not None else 0
    for one in broken:
        path = place.with_name(one.name) if one.number is None and not one.aside else place / one.name
        if one.number is None or one.number > last:
            loads = f"generation {last}" if last else "the policy on disk"
            yield Finding("damaged", "problem", f"{path} cannot be used ({one.why}): a boot would load {loads}", "quietgate up")
        elif one.aside:
            yield Finding("damaged", "advice", f"{path} was damaged, and set aside", f"look at the disk, then: rm -r {path}")
        else:
            yield Finding(
                "damaged",
                "advice",
                f"{path} cannot be used ({one.why}): nobody can go back to it",
                "look at the disk; the next change sets it aside",
            )
    for directory in (parts.paths.state, parts.paths.guard_state):
        with contextlib.suppress(OSError):
            for name in aside_in(directory):
                yield Finding(
                    "damaged",
                    "advice",
                    f"{directory / name} was damaged, and set aside",
                    f"look at the disk, then: rm -r {directory / name}",
                )


def _blockers(parts: Parts, policy: Policy) -> Iterator[Finding]:
    for name in other_firewalls.at_work(parts.paths.root):
        if name in ("firewalld", "ufw"):
            yield Finding("other-firewall", "advice", f"{name} filters here too: a packet must pass both, and its reload touches nothing of ours",
                          f"keep the open ports of both alike, or let one do it: {start_words(name, 'disable')}")  # fmt: skip
        else:
            observed = "" if policy.ssh.observe else '; to compare first, write mode = "observe" in [ssh]'
            yield Finding("other-blocker", "advice", f"{name} bans here too: who it bans is shut out whatever we decide, and its log of bans is its own",
                          f"two blockers do no harm, but one is easier to understand: {start_words(name.lower(), 'disable')}{observed}")  # fmt: skip


def _published(prepared: Prepared) -> Iterator[Finding]:
    sent = other_firewalls.published()
    if prepared.policy.firewall.forward == "leave":
        if sent:
            yield Finding("bypass", "advice", f"published ports go past every inbound rule: {_named(sent)}",
                          'to decide about them, write forward = "drop" in [firewall] and a rule with direction = "forward" for each '
                          "(`quietgate init --closed --print` writes them)")  # fmt: skip
        return
    shut = [p for p in sent if not any(_passes(rule, p, prepared.resolved) for rule in prepared.policy.firewall.rules)]
    if shut:
        yield Finding("unpublished", "advice", f'published ports that no rule with direction "forward" accepts, and so nobody reaches: {_named(shut)}',
                      "write such a rule for each, with the port and address inside (`quietgate init --closed --print` writes them)")  # fmt: skip


def _ssh_inside(policy: Policy, sent: list[other_firewalls.Published]) -> Iterator[Finding]:
    """SSH servers of containers at published ports, which the policy does not name."""
    doors = [p for p in sent if p.protocol == "tcp" and p.port not in policy.ssh.published and speaks_ssh(p.address, p.inside)]
    if doors:
        ports = ", ".join(map(str, sorted({*policy.ssh.published, *(p.port for p in doors)})))
        yield Finding("published-ssh", "advice", f"SSH servers in containers or guests, for which neither limit nor bans of SSH hold: {_named(doors)}",
                      f"write published = [{ports}] in [ssh], and where they log as a source of [guard] ({page('guard')}, SSH in containers)")  # fmt: skip


def _visitors(parts: Parts, prepared: Prepared) -> Iterator[Finding]:
    """Peers that the limit would shut out though they never ask for anything: balancers, monitors."""
    policy = prepared.policy
    limit = policy.ssh.limit
    spared = PrefixSet((*prefixes_of(policy.ssh.trusted, prepared.resolved), *prefixes_of(policy.firewall.allow, prepared.resolved)))
    for v in recent_visitors(parts.paths):
        if limit is None or v.address in spared or limit.window / max(v.every, 0.1) <= limit.count:
            continue
        yield Finding("visitor", "advice", f"{v.address} connects every {format_duration(max(1, round(v.every)))} and never logs in, as a balancer's "
                      f"or monitor's check does: {limit} shuts it out, with all who come through it",
                      f'if it is yours: trusted = ["{v.address}"] in [ssh] ({page("guard")}, Balancers and monitors)')  # fmt: skip


def _named(sent: list[other_firewalls.Published]) -> str:
    more = f" and {len(sent) - MOST} more" if len(sent) > MOST else ""
    return ", ".join(f"{p.protocol} {p.port} to {p.address}:{p.inside}" for p in sent[:MOST]) + more


def _passes(rule: Rule, sent: other_firewalls.Published, resolved: Resolved) -> bool:
    """True if the rule lets somebody reach that port; by which interface, and from where, is not asked."""
    try:
        address = parse_address(sent.address)
    except AddressError:
        return False
    return (
        rule.direction == "forward"
        and rule.action in ("accept", "rate")
        and rule.protocol in (None, PROTOCOLS[sent.protocol])
        and (rule.ports is None or any(p.low <= sent.inside <= p.high for p in rule.ports))
        and (rule.to.anywhere or any(p.covers(address) for p in prefixes_of(rule.to, resolved)))
    )


def _sshd(ports: SshPorts) -> Iterator[Finding]:
    again = start_words(ssh_unit(), "reload")
    for config in ports.configs:
        level = config.values.get("loglevel", "INFO").upper()
        if level in ("QUIET", "FATAL", "ERROR"):
            yield Finding("loglevel", "problem", f"sshd's LogLevel is {level}: it says nothing of failed logins, so the guard is blind",
                          f"write LogLevel VERBOSE in /etc/ssh/sshd_config, then: {again}")  # fmt: skip
        elif level == "INFO":
            yield Finding("loglevel", "advice", "sshd's LogLevel is INFO: guesses with keys at users that exist stay unsaid",
                          f"write LogLevel VERBOSE in /etc/ssh/sshd_config, then: {again}")  # fmt: skip
        own = {str(a) for a in sockets.own_addresses()}
        for value in (v for k, v in config.values.items() if k == "listenaddress"):
            address = value.rsplit(":", 1)[0].strip("[]") if value.startswith("[") or value.count(":") == 1 else value
            if _is_address(address) and address not in ("0.0.0.0", "::") and address not in own:  # noqa: S104
                yield Finding("listenaddress", "problem", f"sshd is to listen on {address}, which is no address of this host now: "
                              "it would not start, or not be reached there", "correct ListenAddress in /etc/ssh/sshd_config")  # fmt: skip
    if ports.bound:
        yield Finding("bound", "advice", "an sshd listens on a single address (ListenAddress): a few of the limiter's rules have to be coarser then",
                      f"nothing has to be done; {page('limiter')} tells what it costs. Better: listen on all, and limit with `from` in [ssh]")  # fmt: skip
    for daemon in ports.daemons:
        if to_stderr(daemon.arguments):
            yield Finding("stderr", "problem", f"sshd (process {daemon.pid}) logs to its standard error (-e): in the journal that could be forged by a "
                          "line break in a user name, so the guard does not read it",
                          f"take -e out of its command line ({start_words(ssh_unit(), 'edit')}), then: {start_words(ssh_unit(), 'restart')}")  # fmt: skip
        if daemon.startups and daemon.startups[0] >= 0.9 * daemon.startups[1]:
            now, begin, full = daemon.startups
            yield Finding("startups", "problem", f"sshd (process {daemon.pid}) has {now} connections that have not logged in; from {begin} on it drops "
                          f"at random, at {full} all", "keep a reserve in [ssh]; shorten LoginGraceTime; ban the worst: quietgate status shows them")  # fmt: skip
        if daemon.startups and daemon.startups[1] < 4:
            yield Finding("startups", "advice", f"sshd's MaxStartups begins at {daemon.startups[1]}: there is hardly a place to keep free",
                          f"write MaxStartups 10:30:100 in /etc/ssh/sshd_config, then: {again}")  # fmt: skip


def to_stderr(arguments: tuple[str, ...]) -> bool:
    """True if sshd(8) was started with -e. Letters may stand together (-De), and some take a value."""
    for word in arguments:
        for letter in word[1:] if word.startswith("-") else "":
            if letter == "e":
                return True
            if letter in "bCcEfghkoPpu":
                break
    return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _kernel(ports: SshPorts) -> Iterator[Finding]:
    fast = _sysctl("ipv4/tcp_fastopen")
    if fast is not None and fast & (TFO_NO_COOKIE | TFO_ALL):
        yield Finding("fastopen", "problem", f"net.ipv4.tcp_fastopen is {fast:#x}: a forged SYN with data reaches sshd without a handshake",
                      "sysctl -w net.ipv4.tcp_fastopen=1, and the same in /etc/sysctl.d")  # fmt: skip
    life = _sysctl("netfilter/nf_conntrack_tcp_timeout_established")
    if ports.bound and life is not None and life <= 125:
        yield Finding("conntrack", "problem", f"conntrack forgets open connections after {life} s: with ListenAddress live sessions would be dropped",
                      "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=432000")  # fmt: skip
    used, most = _sysctl("netfilter/nf_conntrack_count"), _sysctl("netfilter/nf_conntrack_max")
    if used is not None and most and used >= 0.9 * most:
        yield Finding("conntrack", "problem", f"conntrack holds {used:,} of {most:,} connections: when it is full, nobody new gets in",
                      f"sysctl -w net.netfilter.nf_conntrack_max={most * 4}")  # fmt: skip


def _after_floor(parts: Parts, prepared: Prepared) -> Iterator[Finding]:
    try:
        with parts.look() as store:
            for one in leaving(prepared, store, time.time()):
                yield Finding("after-floor", "problem", f"{one.address} (an address of {one.user}'s) gets in only because an administrator's address is kept "
                              f"open: from {utc(one.until)} on it is shut out by {one.rule}",
                              f"add {one.address} to ssh.from or ssh.trusted, then: quietgate up")  # fmt: skip
    except QuietgateError:
        return  # no store yet, or not ours to read


def _sysctl(name: str) -> int | None:
    try:
        return int((SYSCTL / name).read_text())
    except (OSError, ValueError):
        return None


def _proxy(parts: Parts, policy: Policy, ports: SshPorts) -> Iterator[Finding]:
    listening = sockets.listeners()
    ssh = [x for x in listening if x.port in ports.listening]
    if ssh and not any(x.wildcard or (x.address is not None and not str(x.address).startswith(("127.", "::1"))) for x in ssh):
        inodes = frozenset(x.inode for x in listening if x.wildcard)
        programs = sorted({_comm(pid) for pid in sockets.holders(inodes)} & PROXIES)
        if programs:
            yield Finding("proxy", "problem", f"sshd listens on loopback only, behind {', '.join(programs)}: it sees one address for everybody, "
                          "so nobody can be told apart, limited or banned",
                          "let sshd listen itself, or use a transparent proxy that keeps the source address")  # fmt: skip
    logins = Counter()  # type: Counter[str]
    users: dict[str, set[str]] = {}
    for user, address in _logins(parts, policy):
        logins[address] += 1
        users.setdefault(address, set()).add(user)
    if logins:
        address, count = logins.most_common(1)[0]
        if len(users[address]) >= 5 and count >= ALIKE * logins.total():
            yield Finding("proxy", "advice", f"{len(users[address])} users log in from {address} and hardly anyone from elsewhere: that is a NAT or a "
                          "proxy, and counts as one source", f'if it is yours, write trusted = ["{address}"] in [ssh]')  # fmt: skip


def _comm(pid: int) -> str:
    try:
        return read_text(f"/proc/{pid}/comm", 64).strip()
    except OSError:
        return ""


def _logins(parts: Parts, policy: Policy) -> Iterable[tuple[str, str]]:
    try:
        since = time.time() - policy.lockout.history
        with parts.look() as store:
            return [(x.user, str(x.address)) for x in (*store.logins(since), *store.remembered(since))]
    except QuietgateError:
        return []


def limited_now(parts: Parts, policy: Policy) -> list[Prefix]:
    """Sources that met their limit within the last minute, as far as the log's set holds them."""
    if policy.ssh.log.rate is None or not policy.ssh.log.to:
        return []
    counting = policy.ssh.counting
    found = [text for version in (4, 6) for text in parts.nft.elements(names.said(version, counting))]
    return [counting.source_of(parse_address(text)) for text in found]  # of an IPv6 network the set holds the first address


def _limited(parts: Parts, policy: Policy) -> Iterator[Finding]:
    sources, friends = limited_now(parts, policy), _known(parts, policy)
    for who, here in (("as strangers", [s for s in sources if s not in friends]), ("though known", [s for s in sources if s in friends])):
        if not here:
            continue
        trust = f'write trusted = ["{here[0]}"] in [ssh]'
        if who == "though known":
            limit = policy.ssh.known_limit
            remedy = f"raise known_limit in [ssh], which is {limit} now, or {trust}" if limit else trust
        elif policy.ssh.known:
            remedy = f"log in once from there with a key or password (then it is known for {format_duration(policy.ssh.known)}) or {trust}"
        else:
            remedy = trust
        more = f" and {len(here) - MOST} more" if len(here) > MOST else ""
        yield Finding("limited", "advice", f"limited within the last minute, {who}: {', '.join(map(str, here[:MOST]))}{more}",
                      f"if one is yours (ansible, a monitor, an office): {remedy}, then quietgate up; else nothing has to be done")  # fmt: skip


def _known(parts: Parts, policy: Policy) -> frozenset[Prefix]:
    try:
        with parts.look() as store:
            return frozenset(known.sources(store, policy.ssh, time.time()))
    except QuietgateError:
        return frozenset()
