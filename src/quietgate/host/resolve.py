"""Host names to addresses, through the system's resolver, all at once.

Who asks resolvers parses what strangers answer. Where systemd runs, a unit of its own does that, as nobody in particular and
without a capability (`quietgate-resolve.socket`): one connection, names in, a line for each out, and the end. So the
refresh, which may change the firewall, needs no network. Where nobody listens at the socket we ask by ourselves.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from quietgate.net import AddressError, Prefix, parse_address

AT_ONCE = 16
WITHIN = 60.0  # seconds for the unit's answer; a resolver that is silent costs some twenty (resolv.conf(5): 2 attempts of 5 s, each server)
MOST = 4 << 20  # bytes of names, or of answers


def resolve(names: Iterable[str], unit: Path | None = None) -> dict[str, tuple[Prefix, ...]]:
    """Addresses of each name, sorted; an empty tuple for one that does not resolve. Takes as long as the slowest.

    `unit`: the socket of the unit that asks for us, if it is there.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    if unit is not None and (found := _ask(unit, wanted)) is not None:
        return found
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(_one, wanted), strict=True))


def answer(names: BinaryIO, out: BinaryIO) -> None:
    """The unit's side: names, one a line, until the end; then each with its addresses, separated by spaces, one a line."""
    wanted = names.read(MOST).decode("ascii", "replace").split()
    lines = [" ".join((name, *map(str, addresses))) for name, addresses in resolve(wanted).items()]
    out.write("".join(f"{line}\n" for line in lines).encode())
    out.flush()


def _ask(unit: Path, wanted: list[str]) -> dict[str, tuple[Prefix, ...]] | None:
    """What the unit answers; None where there is none, or it is not for us to ask."""
    until = time.monotonic() + WITHIN
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(WITHIN)
        try:
            s.connect(str(unit))
        except OSError:
            return None
        # An answer that is cut short has none for the rest: these keep their last addresses.
        with contextlib.suppress(OSError):
            s.settimeout(WITHIN)
            s.sendall("".join(f"{name}\n" for name in wanted).encode())
            s.shutdown(socket.SHUT_WR)
            while len(data) < MOST and (left := until - time.monotonic()) > 0:
                s.settimeout(left)
                if not (more := s.recv(65536)):
                    break
                data += more
    found: dict[str, tuple[Prefix, ...]] = dict.fromkeys(wanted, ())
    for line in data.decode("ascii", "replace").split("\n")[:-1]:
        name, *addresses = line.split() or [""]
        if name in found:
            found[name] = _addresses(addresses)
    return found


def _one(name: str) -> tuple[Prefix, ...]:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return _addresses(str(a[4][0]) for a in answers)


def _addresses(texts: Iterable[str]) -> tuple[Prefix, ...]:
    found = set()
    for text in texts:
        with contextlib.suppress(AddressError):
            found.add(parse_address(text))
    return tuple(sorted(found))
