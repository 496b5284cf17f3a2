"""What a dropped packet costs the receiver, banned and not banned, beside the closed port of a host without a firewall.

    sudo .venv/bin/python -m bench.drop

Packets are sent by the kernel itself in one thread, so sender and receiver share its time: trust the ratios. The cost
of sending to a port that drops nothing is in every row.
"""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

from tests.kernel.lab import SERVER4, Pair, make_pair

from quietgate.firewall.names import TABLE
from quietgate.host.netlink import SetWriter

PACKETS = 200_000
ROUNDS = 5


def cost(pair: Pair, source: str) -> float:
    """Nanoseconds of this thread's processor time for one packet, the best of some rounds."""
    with pair.client.inside():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 15, 1)
    s.bind((source, 4000))
    s.connect((SERVER4, 9))
    s.setblocking(False)
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.thread_time_ns()
        for _ in range(PACKETS):
            try:
                s.send(b"x")
            except OSError:
                continue  # an ICMP answer came back
        best = min(best, (time.thread_time_ns() - begin) / PACKETS)
    s.close()
    return best


def main() -> None:
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        bare = cost(pair, "198.19.0.9")
        print(f"{'no firewall, closed port':44} {bare:8.0f} ns")
        pair.up("")
        rows = [("up, not banned, closed port", "198.19.0.10")]
        for held in (10, 10_000, 1_000_000):
            with pair.server.inside(), SetWriter() as sets:
                sets.replace("ban_host4_32", [((0x0A000000 + n * 16).to_bytes(4, "big"), None) for n in range(held)])
                sets.add("ban_host4_32", [(socket.inet_aton("198.19.0.9"), None)])
            ours = cost(pair, "198.19.0.9")
            print(f"{f'banned, one of {held:,}':44} {ours:8.0f} ns  {ours / bare:5.2f} x no firewall", flush=True)
        for what, source in rows:
            found = cost(pair, source)
            print(f"{what:44} {found:8.0f} ns  {found / bare:5.2f} x no firewall")
        pair.server.sh("nft", "delete", "table", "inet", TABLE)
        pair.server.nft("table ip peer { set s { type ipv4_addr; elements = { 198.19.0.9 }; }\n"
                        "chain c { type filter hook input priority 0; ct state established accept\n ip saddr @s drop\n }\n }")  # fmt: skip
        peer = cost(pair, "198.19.0.9")
        print(f"{'peer: an nft set in input, behind ct state':44} {peer:8.0f} ns  {peer / bare:5.2f} x no firewall")


if __name__ == "__main__":
    main()
