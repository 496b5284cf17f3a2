"""Every setting: its path, how it is read, its default and what it means.

The table is the single source of the loader, of the reference page (`docs/policy.md`) and of "did you mean".
"""

from __future__ import annotations

from dataclasses import dataclass

from quietgate.policy import readers as t


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `default` is the TOML value; `append` is True where lists of several files are joined."""

    path: str
    read: t.Reader
    default: object
    doc: str
    append: bool = False


def _addresses(path: str, default: list[str], doc: str) -> Setting:
    return Setting(path, t.listed(t.address, "addresses"), default, doc, append=True)


SECTIONS: dict[str, str] = {
    "ssh": "Who may reach sshd, and how often.",
    "firewall": "Everything else that comes in, goes out or passes through.",
    "lockout": "How a change proves that it locks nobody out.",
    "guard": "The reader of sshd's log.",
    "bans": "How long, how wide.",
    "store": "What is remembered.",
    "alerts": "When a person must act.",
    "digest": "A summary by mail.",
    "metrics": "For monitoring.",
    "control": "Who may ask the guard.",
}

SETTINGS: tuple[Setting, ...] = (
    Setting("version", t.integer(1, 1), 1, "The form of this file."),
    # ssh
    Setting("ssh.ports", t.listed(t.single_port, "ports"), "auto",
            'The ports sshd listens on: "auto" finds them, or a list like [22, 2222].'),
    Setting("ssh.published", t.listed(t.single_port, "ports"), [],
            "Ports of this host that lead into an SSH server in a container or guest (docker -p 2222:22): the limit and the bans of SSH "
            "hold there too. `from` does not: who may reach them is the forward rules' to say."),
    _addresses("ssh.from", ["anywhere"], "Who may reach SSH at all. `trusted` and `allow` always may."),
    Setting("ssh.interfaces", t.listed(t.interface, "interfaces"), [],
            'SSH may be reached over these from any address, whatever `from` says: ["wg0", "tailscale0"]; with from = [] over these alone.'),
    _addresses("ssh.trusted", [], "Never limited and never banned on the SSH ports."),
    Setting("ssh.limit", t.rate(32, 86400), "5 per 60s",
            "New connections of one source: an exact sliding window, counted on completed handshakes. "
            'N from 1 to 32, window from 1s to 1d, or "off".'),
    Setting("ssh.known", t.duration(words=("off",)), "30d",
            'A source with a successful login in this time counts as known; "off": nobody does.'),
    Setting("ssh.known_limit", t.rate(10_000), "60 per 60s",
            'The limit of known sources, a token bucket; "off": not limited.'),
    Setting("ssh.reserve", t.integer(0, 90), 40,
            "Per cent of sshd's MaxStartups that strangers together can never take; 0: none, and no share for networks and exempt sources."),
    Setting("ssh.strict", t.boolean, False,
            "A blocked source that retries starts its block anew, as the old script's did."),
    Setting("ssh.mode", t.choice("enforce", "observe"), "enforce",
            '"observe": at the SSH ports count and log what would be dropped, and drop nothing.'),
    Setting("ssh.source4", t.integer(8, 32), 32, "Leading bits of an IPv4 address that count as one source."),
    Setting("ssh.source6", t.integer(16, 128), 64,
            "Leading bits of an IPv6 address that count as one source. Link-local, NAT64 and Teredo addresses "
            "always count singly."),
    Setting("ssh.wide6", t.rate(10_000), "20 per 60s",
            "Per IPv6 /48 in which many fail, as the guard sees it: a token bucket, so that one customer's prefix is not 65,536 sources; \"off\"."),
    Setting("ssh.slots", t.integer(16, 1 << 22), 65536, "Sources remembered per IP version."),
    Setting("ssh.on_full", t.rate(100_000, words=("drop",)), "30 per 1s",
            'When `slots` sources are remembered, new ones pass at this rate in all; or "drop".'),
    Setting("ssh.log.prefix", t.log_prefix, "SSH Brute Force Attempt: ", "What a log line begins with."),
    Setting("ssh.log.rate", t.rate(10_000), "10 per 1m",
            'Log lines in all; one source is logged at most once a minute. "off": no log.'),
    Setting("ssh.log.to", t.listed(t.choice("kernel", "nflog"), "words"), ["kernel", "nflog"],
            "The kernel's log, NFLOG (for ulogd and the guard), or both."),
    Setting("ssh.log.group", t.integer(0, 65535), 5, "The NFLOG group."),
    # firewall
    Setting("firewall.default", t.choice("accept", "drop"), "accept", "Inbound packets that nothing matched."),
    Setting("firewall.output", t.choice("accept", "drop"), "accept",
            "Outbound packets that nothing matched. Replies, DNS, DHCP and neighbour discovery always pass."),
    Setting("firewall.forward", t.choice("leave", "drop"), "leave",
            'Forwarded packets: left to Docker and others, or "drop", where published ports need a rule with '
            'direction "forward".'),
    _addresses("firewall.allow", [], "May do anything; never limited, never banned."),
    _addresses("firewall.deny", [], "May do nothing, not even go on with an established session."),
    Setting("firewall.ping", t.rate(1_000_000, words=("accept", "drop")), "2 per 1s",
            'Echo requests of all sources together, with a burst of 5; or "accept", "drop".'),
    Setting("firewall.other_icmp", t.choice("accept", "drop"), "drop",
            "ICMP kinds beyond those that must pass, where no rule decides."),
    Setting("firewall.dhcp", t.boolean, True, "Replies to this host's DHCP clients pass."),
    Setting("firewall.names_refresh", t.duration(10, 86400), "5m",
            "How often host names are looked up; one that fails keeps its last addresses."),
    Setting("firewall.marks", t.listed(t.mark_bit, "mark bits"), [0x10000000, 0x20000000],
            "No effect: the rules mark nothing. Two different bits, so that older policies stay right."),
    # lockout
    Setting("lockout.trial", t.duration(10, 3600), "60s", "How long an unconfirmed change lives."),
    Setting("lockout.keep", t.duration(), "24h",
            "An administrator's address stays open on SSH this long after his session."),
    Setting("lockout.admins", t.listed(t.text, "users"), ["root", "%sudo", "%wheel"],
            "Whose sessions are protected; % names a group."),
    Setting("lockout.rehearse", t.boolean, True, "Try real connections before a change."),
    Setting("lockout.history", t.duration(), "30d", "Remembered logins that are tried."),
    # guard
    Setting("guard.enabled", t.boolean, True, "Read sshd's log and ban who attacks."),
    Setting("guard.mode", t.choice("enforce", "observe"), "enforce",
            '"observe": say what would be banned, ban nothing.'),
    Setting("guard.sources", t.listed(t.source, "sources"), "auto",
            'Where SSH servers\' lines come from: "auto" finds what tells of them, the journal first; or a list like '
            '["journal", "/var/log/auth.log", "-"]. A log whose lines name no program (sshd -e, a container) is declared: '
            '{ path = "/var/log/gitea-sshd.log", program = "sshd" }, program sshd or dropbear.'),
    _addresses("guard.never_ban", [], "Limited like everyone, never banned."),
    Setting("guard.units", t.listed(t.text, "units"), ["ssh.service", "sshd.service"], "More units whose lines in the journal are sshd's, besides those of the sshd that listen now. `NAME.service` stands for its instances too."),
    Setting("guard.patience", t.integer(1, 1000), 5, "Thresholds times this for known sources."),
    *(
        Setting(f"guard.detect.{name}", t.rate(100_000, 30 * 86400), default, doc)
        for name, default, doc in (
            ("burst", "5 per 10m", "Failed attempts."),
            ("slow", "10 per 1d", "Failed attempts, slowly."),
            ("names", "4 per 1h", "Distinct user names that do not exist here."),
            ("root", "3 per 10m", "root, where sshd refuses root."),
            ("noise", "30 per 10m", "Broken handshakes and timeouts."),
            ("penalty", "2 per 10m", "sshd's own penalties."),
        )
    ),
    Setting("guard.max_sources", t.integer(100, 10_000_000), 200000, "Sources watched at most."),
    Setting("guard.max_open", t.integer(10, 1_000_000), 10000, "Connections joined at most."),
    # bans
    Setting("bans.steps", t.listed(t.duration(words=("forever",)), "durations"), ["10m", "1h", "1d", "7d", "30d"],
            "Each repeat goes one further."),
    Setting("bans.forget", t.duration(), "30d", "Good behaviour that takes one step back."),
    Setting("bans.jitter", t.integer(0, 50), 10, "Per cent by which a ban's length varies."),
    Setting("bans.scope", t.choice("ssh", "host"), "ssh", "What automatic bans shut."),
    Setting("bans.manual.for", t.duration(words=("forever",)), "forever", "Length of a ban made by hand."),
    Setting("bans.manual.scope", t.choice("ssh", "host"), "host", "What a ban made by hand shuts."),
    Setting("bans.cut", t.boolean, True, "End the unauthenticated connections of a banned source."),
    Setting("bans.widen.sources", t.integer(2, 1000), 4, "So many banned neighbours ban their whole prefix, though never over known sources."),
    Setting("bans.widen.within", t.duration(), "1d", "The time in which these neighbours must have been banned."),
    Setting("bans.widen.v4", t.integer(8, 31), 24, "Leading bits of the IPv4 prefix that is banned then."),
    Setting("bans.widen.v6", t.integer(16, 63), 56, "Leading bits of the IPv6 prefix that is banned then."),
    Setting("bans.notify", t.listed(t.receiver, "programs or URLs"), [],
            "Who is told of each ban and each lifted one: a program by its path, which gets one JSON object on standard input, or the URL "
            "of a receiver, which gets it by POST."),
    Setting("bans.notify_rate", t.rate(10_000), "60 per 1h", 'How often each of them is told; what is more is counted and left out. "off": always.'),
    Setting("bans.max", t.integer(1000, 4_000_000), 1000000,
            "Bans held at most. Full: the newest still get in, the soonest to end leave."),
    # store
    Setting("store.events", t.duration(), "90d", "How long attempts and the history are kept."),
    Setting("store.logins", t.duration(), "400d", "How long logins are kept."),
    Setting("store.size", t.size, "500MB", "The oldest events go first."),
    Setting("store.users", t.choice("known", "all", "none"), "known", "Whose names are kept in clear: users that exist here, all, none. Others are kept as a keyed hash: some are "
            "mistyped passwords."),
    # alerts
    *(
        Setting(f"alerts.{name}", t.alert, default, doc)
        for name, default, doc in (
            ("break_in", True, "A login after failed attempts from the same source."),
            ("blind", True, "A log source is silent or failing, the table was flushed, limit or bans have no effect."),
            ("strain", True, "MaxStartups, conntrack or a set is at 90 %."),
            ("reverted", True, "A trial that nobody confirmed."),
            ("refused", True, "A ban that would hit a known-good address."),
            ("new_network", False, "A login from where this user never came from."),
        )
    ),
    Setting("alerts.group_for", t.duration(), "5m", "One message per thing in this time; repeats back off to a day."),
    Setting("alerts.at_most", t.rate(10_000), "3 per 1h", "Messages in all; `break_in` counts, and is not held back."),
    Setting("alerts.quiet", t.hours, "", "Held back in these hours (local time), unless the severity is page."),
    Setting("digest.every", t.choice("off", "daily", "weekly"), "off", "How often the summary is sent."),
    Setting("digest.at", t.time_of_day, "07:00", "When it is sent, in local time."),
    Setting("digest.to", t.listed(t.text, "mail addresses"), [], "Who gets it."),
    Setting("metrics.textfile", t.textfile, "", "A file for node_exporter's textfile collector; \"\": none."),
    Setting("metrics.listen", t.listen, "", "An address with a port, like \"127.0.0.1:9911\", or a socket's path, to serve metrics on; \"\": none."),
    Setting("control.group", t.text, "quietgate", "The group that may read status and events; changes need root."),
)  # fmt: skip

RULE_DOC = (
    "In the order they stand, the first that matches decides. They see what the sections above have not decided: "
    "established connections, `allow`, `deny` and the SSH ports come before them."
)
RULE: tuple[Setting, ...] = (
    Setting("name", t.rule_name, None, "Unique, 1 to 32 of a-z, 0-9 and -; shown by `why`, `diff` and the counters."),
    Setting("direction", t.choice("in", "out", "forward"), "in", "Which way the packet goes."),
    Setting("protocol", t.protocol, "tcp", "tcp, udp, icmp, icmpv6, any, or a protocol number."),
    Setting("ports", t.listed(t.port, "ports"), None, 'Destination ports: [80, 443, "8000-8010"]; absent: all.'),
    Setting("from", t.listed(t.address, "addresses"), ["anywhere"], "Source addresses."),
    Setting("to", t.listed(t.address, "addresses"), ["anywhere"], "Destination addresses."),
    Setting("interface", t.interface, "*",
            "The interface a packet comes in by (in, forward) or goes out by (out): a name, or a prefix with a "
            "final *. It need not exist yet."),
    Setting("action", t.choice("accept", "reject", "drop", "rate"), "accept",
            '"rate": new connections or packets within `rate` are accepted, those over it dropped.'),
    Setting("rate", t.rate(1_000_000), "off", 'With action "rate".'),
    Setting("per", t.choice("source", "all"), "source", "What the rate counts."),
    Setting("reject", t.choice("icmp", "tcp-reset"), "icmp", 'What action "reject" answers.'),
)  # fmt: skip

ROUTE_DOC = "Where messages go; one table for each way."
ROUTE: tuple[Setting, ...] = (
    Setting("to", t.choice("webhook", "mail", "apprise"), None, "The way a message goes."),
    Setting(
        "url",
        t.text,
        "",
        'webhook: a URL. mail: an address (through the mail server of this host), or "smtp://HOST:PORT/ADDRESS", '
        '"smtps://USER@HOST/ADDRESS". apprise: one of its URLs.',
    ),
    Setting(
        "secret",
        t.secret,
        "",
        "What signs a webhook (HMAC-SHA256), opens a mail server, or holds an apprise URL; never the secret itself, but "
        'where it lies: "file:/PATH" (root\'s alone), or "credential:NAME" (systemd\'s LoadCredential in quietgate-helper).',
    ),
    Setting(
        "severity", t.choice("page", "warn", "all"), "page", "The least severity that goes this way: pages only, warnings too, or all."
    ),
)

# Where the list may also be one word, and the words allowed there.
WORDS: dict[str, tuple[str, ...]] = {"ssh.ports": ("auto",), "guard.sources": ("auto",)}
BY_PATH = {s.path: s for s in SETTINGS}
