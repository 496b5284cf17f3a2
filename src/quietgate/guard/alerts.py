"""What deserves a person's attention: with what showed it, what was done already, and the one command to run next. Pure.

An attack that is being handled is not news; a break-in is. Each kind, and why it is not raised for nothing:

    break_in     a login from a source that is not known here, after 10 failures within 30 days or after 3 other user names;
                 or from a banned prefix. Three mistypes and a success are silence
    blind        a source of lines that fails for a minute; one that is silent though the kernel counts connections, or (where
                 the kernel cannot tell) for twice this host's longest silence of two weeks; our table flushed; bans or limit
                 without effect, which shows where the log tells of strangers whom the kernel did not count
    strain       MaxStartups, conntrack or a set at 90 %, at two looks one after the other
    reverted     a trial that nobody confirmed; over when a later change was kept
    refused      a ban that would have hit somebody who must get in
    new_network  a login from a network from which this user never came (off unless asked for)

Nothing here names a user that does not exist on this host: some such names are mistyped passwords. Times are monotonic where
they are compared; what a person reads bears wall seconds.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from quietgate.clock import Instant, format_duration
from quietgate.guard.detect import Finding
from quietgate.net import Prefix, is_loopback

FAILURES, OTHERS = 10, 3  # failed attempts, other user names: what makes a login of a stranger's a break-in
HORIZON = 30 * 86400.0  # seconds in which they count
FAILING = 60.0  # seconds for which something is in trouble before a person is told
DISK = 300.0  # a full disk harms nothing at once: what could not be written is kept
SILENT_LEAST = 6 * 3600.0  # seconds; less silence is never remarkable where the kernel cannot tell
SILENT_COUNTED, LEAST_COUNTED = 600.0, 10  # silence while so many connections were counted: sshd writes of each
LEARNED = 7  # days in which a source was heard before its silence can be unusual: a week has a weekend
DAYS = 14  # whose longest silences are kept
UNSEEN = 20  # attempts of strangers, while the kernel counted none, after which the limit has no effect
_TRIAL = "generation {}"  # the subject of an alert about a trial
# What helps where all clients have one address: the same words in docs/guard.md.
REAL_ADDRESSES = (
    "if it is a balancer or proxy: let it keep the client's address (transparent mode, or PROXY protocol to a helper before sshd)",
    "if it is a container's bridge: publish the port without the userland proxy, or with host networking",
    "if all behind it are yours: trusted in [ssh]",
)
FULL, ENOUGH = 0.9, 0.8  # of a limit: told above the one, over below the other


class Topic(StrEnum):
    """What an alert is about; the names are the policy's."""

    BREAK_IN = "break_in"
    BLIND = "blind"
    STRAIN = "strain"
    REVERTED = "reverted"
    REFUSED = "refused"
    NEW_NETWORK = "new_network"


class Severity(StrEnum):
    """How bad: `page` wakes somebody, `warn` can wait for the morning, `info` is for whoever wants to read everything."""

    PAGE = "page"
    WARN = "warn"
    INFO = "info"


SEVERITIES = {Topic.BREAK_IN: Severity.PAGE, Topic.BLIND: Severity.PAGE}


@dataclass(frozen=True, slots=True)
class Raise:
    """Something that a person should know. `topic` and `subject` say which thing it is; the same again is the same thing.

    `at` wall seconds. `lasting`: it goes on until a `Clear`; else it happened, and is over.
    """

    topic: Topic
    subject: str
    at: float
    what: str
    evidence: tuple[str, ...]
    done: str
    next: str
    lasting: bool = False

    @property
    def severity(self) -> Severity:
        """How bad this kind is."""
        return SEVERITIES.get(self.topic, Severity.WARN)


@dataclass(frozen=True, slots=True)
class Clear:
    """It is over. `at` wall seconds."""

    topic: Topic
    subject: str
    at: float
    what: str


Alert: TypeAlias = Raise | Clear


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of a source and a user before a login: failures within `HORIZON` (with the wall seconds of the first and
    the last), how many user names other than this one were tried, those of them that exist here; whether somebody has logged in
    from the source before; whether this user has from this network, and anywhere.
    """

    failures: int = 0
    first: float = 0.0
    last: float = 0.0
    others: int = 0
    existing: tuple[str, ...] = ()
    before: bool = False
    network_before: bool = True
    user_before: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """A login, and what the engine knows of where it came from.

    `known`: within the policy's time, by an earlier login; `banned`: by a ban that is in force and should have kept it out. `witness`:
    "session" where the kernel has shown it; else a line alone tells of it, sshd's own ("log") or one in a file that others can write.
    """

    user: str
    address: Prefix
    source: Prefix
    at: float
    known: bool
    banned: bool
    witness: str = "session"


@dataclass(slots=True)
class Usual:
    """How long a source of lines is silent as a rule. `gaps`: the longest silence that ended on each day (of wall time)."""

    last: Instant
    gaps: dict[int, float] = field(default_factory=dict)

    def heard(self, at: Instant) -> None:
        """A line of it, which is of this moment."""
        day = int(at.wall // 86400)
        self.gaps[day] = max(self.gaps.get(day, 0.0), at.mono - self.last.mono)
        if len(self.gaps) > DAYS:
            # Days to come are of a clock that was ahead: kept, they would push out each new day.
            del self.gaps[max(self.gaps) if max(self.gaps) > day else min(self.gaps)]
        self.last = at

    def longest(self) -> float | None:
        """Seconds, or None while too little was heard of it."""
        return max(self.gaps.values()) if len(self.gaps) >= LEARNED else None


@dataclass(slots=True)
class Alerts:
    """What stands now, and what is usual here. `on`: the kinds that anybody wants to hear of."""

    on: frozenset[Topic] = frozenset(Topic)
    usual: dict[str, Usual] = field(default_factory=dict)
    _standing: dict[tuple[Topic, str], bool] = field(default_factory=dict)  # True: it ends as soon as its trouble does
    _since: dict[str, float] = field(default_factory=dict)  # what is in trouble, and since which monotonic second
    _unseen: int = 0

    # -- who came in

    def login(self, login: Login, history: History) -> list[Raise]:
        """A login: is it a break-in, or from a new network?"""
        found = []
        guessed = history.failures >= FAILURES or history.others >= OTHERS
        stranger = not (login.known or history.before)
        if Topic.BREAK_IN in self.on and ((guessed and stranger) or login.banned):
            found.append(_break_in(login, history))
        if Topic.NEW_NETWORK in self.on and login.witness == "session" and not history.network_before:
            place = network(login.address)
            came = "never logged in here before" if not history.user_before else "always came from elsewhere before"
            found.append(Raise(Topic.NEW_NETWORK, f"{login.user} {place}", login.at, f"{login.user} logged in from {login.address}, a new network",
                               (f"this user {came}", f"network: {place}"), "nothing", f"quietgate why {login.address}"))  # fmt: skip
        return found

    def spared(self, source: Prefix, why: str, finding: Finding, at: float, *, many: bool = False) -> list[Raise]:
        """A ban that was not made. (A widening that was not made is no news: its members are banned.) `many`: others come in its name."""
        if Topic.REFUSED not in self.on or finding.detector == "widen":
            return []
        said = f"{finding.detector}: {finding.count} in {format_duration(finding.window)}"
        if is_loopback(source):
            return [Raise(Topic.REFUSED, str(source), at, f"somebody tries to log in from this host itself ({source.host}): who it is cannot be told apart",
                          (said, "a user of this host does, or clients that come through a tunnel or proxy of this host", *REAL_ADDRESSES),
                          "nobody is banned for it: this host reaches itself by that address", "ss -tnp 'sport = :22'")]  # fmt: skip
        if many:
            return [Raise(Topic.REFUSED, str(source), at, f"clients seem to arrive in the name of {source.host} and attack: they cannot be told apart",
                          (said, why, *REAL_ADDRESSES), "nobody is banned for it; the limit holds for all of them together",
                          f"quietgate why {source.host}")]  # fmt: skip
        return [Raise(Topic.REFUSED, str(source), at, f"{source} attacks, and was not banned, since {why}", (said,),
                      "nothing; the limit holds for it as for everyone unless it is trusted", f"quietgate why {source.host}")]  # fmt: skip

    # -- can we see

    def listen(self, names: Collection[str], now: Instant) -> list[Clear]:
        """These are the sources of lines from now on: one that is never heard is silent since now, and of others nothing is told."""
        for name in names:
            self.usual.setdefault(name, Usual(now))
        gone = [subject for topic, subject in self._standing if topic is Topic.BLIND and subject not in {*names, *_WELL, "limit"}]
        return [cleared for name in gone for cleared in self._clear(Topic.BLIND, name, now.wall, f"{name} is read no more")]

    def heard(self, name: str, at: Instant) -> list[Clear]:
        """A source of lines told something of this moment."""
        self.usual.setdefault(name, Usual(at)).heard(at)
        return self._clear(Topic.BLIND, name, at.wall, f"{name} tells of sshd again") if (Topic.BLIND, name) in self._standing else []

    def source(self, name: str, trouble: str, counted: int | None, now: Instant) -> list[Alert]:
        """How a source does. `counted`: connections that the kernel counted since it was last heard; None where it cannot tell."""
        log = "journalctl -u ssh -n 5" if name == "journal" else f"tail -n 5 {name}"
        if trouble:
            if not self._lasts(name, now, FAILING):
                return []
            return self._stand(Raise(Topic.BLIND, name, now.wall, f"the guard cannot read {name}, so it bans nobody who attacks now", (trouble,),
                                     "it is tried again every few seconds; limit and bans in the kernel hold", log, lasting=True), ends=True)  # fmt: skip
        self._since.pop(name, None)
        if self._standing.get((Topic.BLIND, name)):
            return [*self._clear(Topic.BLIND, name, now.wall, f"{name} can be read again")]
        usual = self.usual.setdefault(name, Usual(now))
        silent = now.mono - usual.last.mono
        longest = usual.longest()
        if counted is not None and counted >= LEAST_COUNTED and silent >= SILENT_COUNTED:
            why = f"the kernel counted {counted} new SSH connections meanwhile: sshd writes of each, unless its LogLevel is below INFO"
        elif counted is None and longest is not None and silent > max(SILENT_LEAST, 2 * longest):
            why = f"the longest silence of the last {DAYS} days was {format_duration(longest)}"
        else:
            return []
        return self._stand(Raise(Topic.BLIND, name, now.wall, f"{name} has told nothing of sshd for {format_duration(silent)}", (why,),
                                 "limit and bans in the kernel hold; nobody new is banned", log, lasting=True))  # fmt: skip

    def unread(self, name: str, lines: int, why: str, example: str, now: Instant) -> list[Alert]:
        """So many lines of a source name an SSH server and could not be read since the last look, and none could; `example` is safe to show."""
        return self._stand(Raise(Topic.BLIND, name, now.wall, f"the guard does not understand {name}, so it bans nobody who attacks now",
                                 (f"{lines} lines name an SSH server; {why}", f"one of them: {example}"),
                                 "limit and bans in the kernel hold; nobody new is banned", f"tail -n 1 {name} | quietgate parse", lasting=True))  # fmt: skip

    def table(self, done: str, at: float) -> list[Raise]:
        """Somebody else changed our table, and it was put back."""
        if Topic.BLIND not in self.on:
            return []
        return [Raise(Topic.BLIND, "table", at, "another program changed quietgate's table in the kernel", (),
                      done, "quietgate doctor")]  # fmt: skip

    def trouble(self, what: str, said: str, now: Instant) -> list[Alert]:
        """Something of the guard's own does not work (`said` empty: it does)."""
        if not said:
            self._since.pop(what, None)
            return [*self._clear(Topic.BLIND, what, now.wall, _WELL[what])] if what in _WELL else []
        if what not in _WELL or not self._lasts(what, now, DISK if what == "store" else FAILING):
            return []
        return self._stand(
            Raise(Topic.BLIND, what, now.wall, _TROUBLES[what], (said,), "it is tried again", "quietgate status", lasting=True)
        )

    def uncounted(self, attempts: int, moved: bool, now: Instant, *, forgeable: bool = False) -> list[Alert]:
        """The log told of so many new attempts of strangers since the last time; `moved`: the kernel has counted as many connections as that takes;
        `forgeable`: users of this host can write that log.
        """
        if moved:
            self._unseen = 0
            return [*self._clear(Topic.BLIND, "limit", now.wall, "the limit counts again")]
        self._unseen += attempts
        if self._unseen < UNSEEN:
            return []
        return self._stand(Raise(Topic.BLIND, "limit", now.wall, "the limit has no effect: strangers reach sshd, and the kernel counts none of them",
                                 (f"{self._unseen} attempts in the log, no connection counted, or hardly any",
                                  *(["users of this host can write into that log"] if forgeable else [])), "nothing",
                                 "quietgate doctor", lasting=True))  # fmt: skip

    def unshut(self, source: Prefix, at: float) -> list[Raise]:
        """A source that the kernel shuts out still reaches sshd."""
        if Topic.BLIND not in self.on:
            return []
        return [Raise(Topic.BLIND, "bans", at, "a ban has no effect: a banned source still reaches sshd", (f"source: {source}",),
                      "its element is in the kernel's set", f"quietgate why {source.host} --prove")]  # fmt: skip

    # -- is there room

    def pressure(self, what: str, used: int, of: int, now: Instant) -> list[Alert]:
        """How full something is; `what` one of `PRESSURES`."""
        share = used / of if of else 0.0
        key = f"full:{what}"
        if share >= FULL:
            if key not in self._since:  # one look: perhaps a moment's
                self._since[key] = now.mono
                return []
            said, following = PRESSURES[what]
            return self._stand(Raise(Topic.STRAIN, what, now.wall, said, (f"{used:,} of {of:,}",), "nothing", following, lasting=True))
        self._since.pop(key, None)
        if share <= ENOUGH:
            return [*self._clear(Topic.STRAIN, what, now.wall, f"{what}: {used:,} of {of:,} again")]
        return []

    # -- what became of a change

    def reverted(self, number: int, then: str, at: float) -> list[Alert]:
        """A trial ended, and nobody had confirmed it: that lasts until a later change is kept. `then`: what is in force now."""
        return self._stand(Raise(Topic.REVERTED, _TRIAL.format(number), at, f"nobody confirmed generation {number}, so it is out of force",
                                 (f"now: {then}",), "it went away by itself at the end of its trial", "quietgate diff", lasting=True))  # fmt: skip

    def in_force(self, number: int, at: float) -> list[Alert]:
        """A confirmed generation decides: every earlier trial that lapsed is settled by it."""
        lapsed = [s for t, s in self._standing if t is Topic.REVERTED and s.removeprefix(_TRIAL.format("")).isdecimal()]
        return [one for s in lapsed if int(s.removeprefix(_TRIAL.format(""))) < number
                for one in self._clear(Topic.REVERTED, s, at, f"generation {number} was kept later, and is in force")]  # fmt: skip

    # -- for a restart

    def stood(self, topic: Topic, subject: str) -> None:
        """This was told of before, and nobody has said that it is over."""
        self._standing[topic, subject] = False

    def snapshot(self) -> dict[str, Any]:
        """What is usual here, as plain values."""
        return {name: {str(day): round(gap) for day, gap in u.gaps.items()} for name, u in self.usual.items()}

    def restore(self, kept: Any, now: Instant) -> None:
        """What `snapshot` gave before. While nobody listened is no silence. Anything else is passed over."""
        for name, gaps in kept.items() if isinstance(kept, dict) else ():
            self.usual[str(name)] = Usual(now, {int(day): float(gap) for day, gap in gaps.items()})

    # -- inside

    def _lasts(self, what: str, now: Instant, least: float) -> bool:
        return now.mono - self._since.setdefault(what, now.mono) >= least

    def _stand(self, found: Raise, *, ends: bool = False) -> list[Alert]:
        """Once while it lasts."""
        key = (found.topic, found.subject)
        if found.topic not in self.on or key in self._standing:
            return []
        self._standing[key] = ends
        return [found]

    def _clear(self, topic: Topic, subject: str, at: float, what: str) -> list[Clear]:
        if (topic, subject) not in self._standing:
            return []
        del self._standing[topic, subject]
        return [Clear(topic, subject, at, what)]


_TROUBLES = {
    "kernel": "the kernel takes no bans",
    "table": "quietgate's table in the kernel is not what it should be",
    "store": "the database cannot be written",
    "task": "a part of the guard has stopped",
    "tick": "the guard cannot look after itself: windows, sessions and what this host is watched for",
}
_WELL = {
    "kernel": "the kernel takes bans again",
    "table": "quietgate's table is whole again",
    "store": "the database can be written again",
    "task": "all parts of the guard run again",
    "tick": "the guard looks after itself again",
}
PRESSURES = {
    "MaxStartups": ("sshd is about to refuse connections: too many have not logged in", "quietgate status"),
    "conntrack": ("the connection tracking table is nearly full: then no new connection of anybody's comes through",
                  "sysctl net.netfilter.nf_conntrack_max=262144"),
    "bans": ("the set of bans is nearly full: when it is, those that end soonest leave first", "quietgate bans --json | wc -l"),
    "slots": ("the limiter remembers as many sources as it can: new ones share one rate", "quietgate status"),
}  # fmt: skip


def _break_in(login: Login, history: History) -> Raise:
    evidence = []
    if history.failures:
        span = f"between {utc(history.first)} and {utc(history.last)}"
        evidence.append(f"{history.failures} failed attempts from {login.source} {span}")
    if history.others:
        exist = f"; of these exist here: {', '.join(history.existing)}" if history.existing else "; none of them exists here"
        evidence.append(f"{history.others} other user names were tried from there{exist}")
    if login.banned:
        evidence.append("it is banned")
    if not (login.known or history.before):
        evidence.append("nobody had logged in from there before")
    if login.witness == "log":
        evidence.append("sshd's own line tells of it; its session was over before it could be looked at")
    elif login.witness == "file":
        evidence.append("only a line in a log file tells of it, and its session was not found: it was over at once, or a user of this host "
                        "wrote that line")  # fmt: skip
    return Raise(Topic.BREAK_IN, str(login.source), login.at, f"{login.user} logged in from {login.address}, which had guessed passwords here"
                 if not login.banned else f"{login.user} logged in from {login.address}, which is banned",
                 tuple(evidence), "nothing: whoever has logged in is not cut off unasked", f"quietgate ban --evict {login.address}")  # fmt: skip


def network(address: Prefix) -> Prefix:
    """What counts as one network of a user's: an IPv4 /24, an IPv6 /48."""
    return Prefix.of(address.version, address.value, 24 if address.version == 4 else 48)


def utc(wall: float) -> str:
    """A wall second for evidence: the reader may sit in another zone than the host."""
    return datetime.datetime.fromtimestamp(wall, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
