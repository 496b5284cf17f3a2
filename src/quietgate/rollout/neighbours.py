"""What other tools' rules do to the limiter, each with its effect and remedy; and whether the guard saw that nobody is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from quietgate.errors import QuietgateError
from quietgate.generations.installation import Parts
from quietgate.guard.alerts import Topic
from quietgate.host.others_on_ssh import Deed, Touch, touches
from quietgate.host.paths import Paths
from quietgate.state.alerts import Book

UNTRACKED = (Deed.NOTRACK, Deed.ZONE)  # what hides a handshake from conntrack


def neighbours(paths: Paths, ports: Sequence[int]) -> Iterator[tuple[str, str, str, str]]:
    """Id, severity, what and remedy of each finding."""
    for touch in touches(ports):
        severity, what, remedy = _FINDINGS[touch.deed](touch, ports[0])
        yield f"ssh-{touch.deed}", severity, f"{said(touch)}: {what}", remedy
    if _blind(paths):
        yield ("blind", "problem", "strangers reach sshd, and the kernel counts none of them: the limit has no effect",
               "look above for what takes the connections out of our rules' sight; then see: quietgate alerts")  # fmt: skip


def reason(ports: Sequence[int]) -> tuple[str, str] | None:
    """What may hide handshakes from conntrack, and the remedy; None if nothing does."""
    for touch in touches(ports):
        if touch.deed in UNTRACKED or (touch.deed is Deed.SYNPROXY and not touch.early):
            _, _, remedy = _FINDINGS[touch.deed](touch, ports[0])
            return said(touch), remedy
    return None


def said(touch: Touch) -> str:
    """Name a rule."""
    return f"{touch.where}{f' (of {touch.owner})' if touch.owner else ''}: {touch.rule}"


def _blind(paths: Paths) -> bool:
    try:
        with Parts.at(paths).look() as store:
            return any(t.topic == Topic.BLIND and t.subject == "limit" and not t.over for t in Book(store).noted(time.time()))
    except QuietgateError:
        return False


def _notrack(_: Touch, port: int) -> tuple[str, str, str]:
    return ("problem", ("conntrack does not see these connections, so the limiter sees no handshake, and strangers get none through; "
            "who is trusted or on the floor does"), f"leave SSH out of that rule: tcp dport != {port}, or --dport with `!`")  # fmt: skip


def _zone(touch: Touch, port: int) -> tuple[str, str, str]:
    where = "" if not touch.hook else f" in {touch.hook} alone"
    return ("problem", (f"packets are put into a conntrack zone{where}: the replies of sshd are in another, so no handshake is whole, and "
            "strangers get none through"), f"give both directions the same zone (prerouting and output), or leave port {port} out")  # fmt: skip


def _synproxy(touch: Touch, port: int) -> tuple[str, str, str]:
    if touch.early:
        return ("advice", ("it answers handshakes itself, and sshd's come by loopback. The limit holds there; a SYN over the limit is answered, "
                "and no banner follows"), f"nothing has to be done; SYN cookies protect port {port} as well: sysctl net.ipv4.tcp_syncookies=1")  # fmt: skip
    return ("problem", ("it answers handshakes itself. Where its chain comes after ours, our rules drop the ACK of a handshake that conntrack "
            "does not know, and strangers get none through"),
            f"give its chain a priority below 0 (iptables: -t mangle -I INPUT), or leave port {port} out")  # fmt: skip


def _label(_: Touch, __: int) -> tuple[str, str, str]:
    return ("problem", "that conntrack label is ours, and says that a connection was counted: so none is", "use another label there")  # fmt: skip


def _limit(touch: Touch, port: int) -> tuple[str, str, str]:
    remedy = (
        f"ufw delete limit {port}/tcp && ufw allow {port}/tcp"
        if touch.owner == "ufw"
        else "take that rule out, or leave it to one of the two"
    )
    return ("advice", ("a second limit on SSH. Most of these count SYNs, which anybody can forge, and spare neither trusted nor known sources: "
            "whom it drops gets in nowhere, whatever we decide"), remedy)  # fmt: skip


_FINDINGS: dict[Deed, Callable[[Touch, int], tuple[str, str, str]]] = {
    Deed.NOTRACK: _notrack, Deed.ZONE: _zone, Deed.SYNPROXY: _synproxy, Deed.LABEL: _label, Deed.LIMIT: _limit,
}  # fmt: skip
