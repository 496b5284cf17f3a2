"""What sshd writes, and what it means (openssh-portable auth.c, packet.c, monitor.c; tags 5.x to 10.5).

A user name is the attacker's text and may imitate any part of a line. So an address is taken only from where the
server itself writes it, and never looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from quietgate.net import AddressError, Prefix, parse_address

# auth.c auth_log(). Who was accepted exists on this host, and such a name holds no space (useradd(8)); what follows
# "ssh2" may be text of a certificate, so the first match from the left is the server's.
_ACCEPTED = re.compile(r"Accepted (\S{1,64}) for (\S{1,256}) from (\S{2,64}) port (\d{1,5}) ssh2(?::|\Z)")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A successful login: how, who, from where."""

    method: str
    user: str
    address: Prefix
    port: int


def accepted(message: str) -> Accepted | None:
    """The login that this line of sshd's tells of; None if it tells of none."""
    found = _ACCEPTED.match(message)
    if found is None:
        return None
    try:
        address = parse_address(found[3])
    except AddressError:
        return None  # UseDNS: a name is no address, and is never resolved
    return Accepted(found[1], found[2], address, int(found[4]))
