"""Handshakes that no client of a person makes, and sshd's own measures (kex.c, sshd.c, srclimit.c, libwrap)."""

from __future__ import annotations

import re

from quietgate.sshlog.words import Kind, Said, address, bare, identified, where

_NEGOTIATE = re.compile(r"Unable to negotiate with (\S{2,63}?)(?: port (\d{1,5}))?: no matching ([A-Za-z ]{3,30}) found", re.ASCII)


def unable(message: str) -> Said | None:
    """Nothing in common: the head is the server's, the client's offer follows. Before 6.8 without an address.

    No host key in common is what `ssh-keyscan` meets, which asks for one type after the other: it has connected and left.
    """
    if message.startswith(("Unable to negotiate a key exchange method", "no matching ")):
        return Said(Kind.NO_MATCH)
    found = _NEGOTIATE.match(message)
    there = address(found[1]) if found is not None else None
    if found is None or there is None:
        return None
    return Said(Kind.LEFT if found[3] == "host key type" else Kind.NO_MATCH, None, there, int(found[2] or 0), found[3])


def did_not(message: str) -> Said | None:
    """A health check, a scanner, a load balancer: it connected, said nothing and left."""
    head = "Did not receive identification string from "
    if not message.startswith(head):
        return None
    found = identified(bare(message)[0][len(head) :])
    return Said(Kind.LEFT, None, found.address, found.port, "silent") if found is not None and found.user is None else None


def bad(message: str) -> Said | None:
    """The form "Bad protocol version identification 'TEXT' from IP port N" (before 7.9): what stands in the quotes is the client's.

    Since then "Bad remote protocol version identification: 'TEXT'", where no address follows.
    """
    if message.startswith("Bad protocol version identification '"):
        _, found, tail = bare(message)[0].rpartition("' from ")
        if not found:
            return Said(Kind.BAD_PROTOCOL)
        place = where(tail)
        if place is not None:
            return Said(Kind.BAD_PROTOCOL, None, *place)
        there = address(tail)
        return Said(Kind.BAD_PROTOCOL, None, there) if there is not None else None
    if message.startswith("Bad remote protocol version identification: '"):
        return Said(Kind.BAD_PROTOCOL)
    return Said(Kind.BROKEN) if message.startswith("Bad packet length ") else None


def banner(message: str) -> Said | None:
    """The form "banner exchange: Connection from IP port N: invalid format"."""
    text, _ = bare(message)
    if not text.startswith("banner exchange: Connection from "):
        return None
    place = where(text[33:].partition(": ")[0])
    return Said(Kind.BAD_PROTOCOL, None, *place) if place is not None else None


def exchange(message: str) -> Said | None:
    """What begins with "kex_exchange_identification" names no address: the line after it does. What the client sent is no connection of a person."""
    if message.startswith(("kex_exchange_identification: banner line", "kex_exchange_identification: client sent invalid")):
        return Said(Kind.BAD_PROTOCOL)
    return None


def protocol(message: str) -> Said | None:
    """Protocol 1 against protocol 2; the address comes in the next line."""
    return Said(Kind.BAD_PROTOCOL) if message.startswith("Protocol major versions differ") else None


def corrupted(message: str) -> Said | None:
    """Packets that are none; the address comes in the next line."""
    return Said(Kind.BROKEN) if message.startswith(("Corrupted MAC on input", "padding error")) else None


_PROBED = re.compile(r"(?:probed|scanned) from (\S{2,63}?)(?: port (\d{1,5}))? with ", re.ASCII)


def probed(message: str) -> Said | None:
    """Two scanners that name themselves in their banner."""
    found = _PROBED.match(message)
    there = address(found[1]) if found is not None else None
    return Said(Kind.PROBED, None, there, int(found[2] or 0)) if found is not None and there is not None else None


def refused(message: str) -> Said | None:
    """libwrap: "refused connect from HOST (IP)"; the host's name is its owner's text."""
    if not message.startswith("refused connect from ") or not message.endswith(")"):
        return None
    there = address(message[message.rfind("(") + 1 : -1])
    return Said(Kind.REFUSED, None, there) if there is not None else None


# -- sshd's own measures

_DROPPED = re.compile(
    r"drop connection #\d{1,10} from \[([0-9a-fA-F.:]{2,63}(?:%[^\]\s]{1,15})?)\]:(\d{1,5}) on \[[^\]]{2,63}\]:\d{1,5} (.*)\Z",
    re.DOTALL | re.ASCII,
)
_PENALISED = re.compile(
    r"srclimit_penalise: (?:ipv[46]: new )?([0-9a-fA-F.:]{2,63})/(\d{1,3})(?: (active)|: (activating)).*? for (?:penalty: )?(.*)\Z",
    re.ASCII,
)
# What sshd punishes and is no attack: monitors and balancers connect and leave.
_NO_ATTACK = "connections without attempting authentication"


def drop(message: str) -> Said | None:
    """A connection that the listener refused: penalised, or one too many. Which penalty counts: a source that only connects and leaves
    (a monitor, a balancer) has attacked nobody.
    """
    found = _DROPPED.match(message)
    there = address(found[1]) if found is not None else None
    if found is None or there is None:
        return None
    reason = found[3].removeprefix("penalty: ")
    penalty = found[3].startswith("penalty: ") and not reason.startswith(_NO_ATTACK)
    return Said(Kind.PENALTY if penalty else Kind.DROPPED, None, there, int(found[2]), reason)


def penalised(message: str) -> Said | None:
    """Only a penalty that is active: a deferred one is a single slip.

    With PerSourceNetBlockSize sshd counts whole networks and names their first address: of an IPv6 /64 that is our source as
    well; a wider network says nothing of the one address, and the connections it drops are named in lines of their own.
    """
    found = _PENALISED.match(message)
    there = address(found[1]) if found is not None else None
    if found is None or there is None or not (found[3] or found[4]) or int(found[2]) < (32 if there.version == 4 else 64):
        return None
    return Said(Kind.DROPPED if found[5].startswith(_NO_ATTACK) else Kind.PENALTY, None, there, 0, "active")


def strain(message: str) -> Said | None:
    """Too many at once for sshd."""
    if message.startswith(("beginning MaxStartups throttling", "in MaxStartups throttling", "exited MaxStartups throttling",
                           "PerSourcePenalties logging rate-limited", "Maxstartups logging rate-limited")):  # fmt: skip
        return Said(Kind.STRAIN, method=message[:60])
    return None
