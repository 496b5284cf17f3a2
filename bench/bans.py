"""Bans into the kernel: ours over netlink, beside one nft process per ban, nft -f, and ipset, in the same run.

    sudo .venv/bin/python -m bench.bans

Everything happens in a network namespace of its own. Prints one row per way; ratios are against ours.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.kernel.lab import QUIETGATE, Pair, make_pair, sh

from quietgate.firewall.names import TABLE
from quietgate.host.netlink import NETLINK_NETFILTER, Item, SetWriter

SET = "ban_host4_32"


def keys(count: int, base: int = 0x0A000000) -> list[Item]:
    return [((base + n * 16).to_bytes(4, "big"), None) for n in range(count)]


def text(items: list[Item]) -> list[str]:
    return [".".join(map(str, key)) for key, _ in items]


def timed(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def row(what: str, seconds: float, ours: float | None = None) -> None:
    ratio = f"  {seconds / ours:8.1f} x ours" if ours else ""
    print(f"{what:52} {seconds * 1000:12.2f} ms{ratio}", flush=True)


def flush(pair: Pair) -> None:
    pair.server.sh("nft", "flush", "set", "inet", TABLE, SET)


def loads(pair: Pair, writer: SetWriter) -> None:
    for count in (1_000, 100_000, 1_000_000):
        items = keys(count)
        flush(pair)
        ours = timed(lambda items=items: writer.add(SET, items))  # type: ignore[misc]
        row(f"{count:,} bans, netlink", ours)
        replaced = timed(lambda items=items: writer.replace(SET, items))  # type: ignore[misc]
        row(f"{count:,} bans restored in one transaction", replaced)
        one = timed(lambda: writer.add(SET, [(b"\xc6\x12\x00\x01", None)]))
        row(f"one more into {count:,}, netlink", one)
        process = timed(lambda: pair.server.sh("nft", "add", "element", "inet", TABLE, SET, "{ 198.18.0.2 }"))
        row("  the same, one nft process", process, one)
        if count == 1_000:
            each = text(items)[:200]
            per = timed(lambda each=each: [pair.server.sh("nft", "add", "element", "inet", TABLE, SET, f"{{ {a} }}") for a in each]) / 200  # type: ignore[misc]
            row("  1,000 bans, one nft process each (200 measured)", per * 1000, ours)
        if count <= 100_000:
            flush(pair)
            lines = f"add element inet {TABLE} {SET} {{ {', '.join(text(items))} }}\n"
            row(f"  {count:,} bans, nft -f", timed(lambda lines=lines: pair.server.nft(lines)), ours)  # type: ignore[misc]
        pair.server.sh("ipset", "create", "peer", "hash:ip", "maxelem", "2000000", "hashsize", "1048576")
        script = "\n".join(f"add peer {a}" for a in text(items)) + "\n"
        row(f"  {count:,} bans, ipset restore", timed(lambda script=script: pair.server.sh("ipset", "restore", stdin=script)), ours)  # type: ignore[misc]
        pair.server.sh("ipset", "destroy", "peer")
    flush(pair)


def available() -> int:
    """MB that the kernel could still give away."""
    return int(next(r for r in Path("/proc/meminfo").read_text().splitlines() if r.startswith("MemAvailable")).split()[1]) >> 10


def listened(writer: SetWriter) -> None:
    """What it costs others when somebody listens to nf_tables' events, as `nft monitor` does."""
    items = keys(300_000)
    for what in ("nobody listens", "somebody listens"):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as listener:
            listener.bind((0, 0x40 if what.startswith("somebody") else 0))
            writer.replace(SET, [])
            time.sleep(2)  # what was removed is freed later
            low, over = [available()], threading.Event()

            def watch(low: list[int] = low, over: threading.Event = over) -> None:
                while not over.wait(0.005):
                    low.append(available())

            thread = threading.Thread(target=watch)
            thread.start()
            spent = timed(lambda: writer.replace(SET, items))
            over.set()
            thread.join()
            row(f"{len(items):,} bans restored while {what}", spent)
            print(f"  {'kernel memory at most':50} {low[0] - min(low):12} MB", flush=True)
    writer.replace(SET, [])


def commands(pair: Pair) -> None:
    addresses = "\n".join(text(keys(100_000)))
    row("quietgate ban, 100,000 from stdin, whole command", timed(lambda: pair.quietgate("ban", stdin=addresses)))
    pair.quietgate("down")
    row("quietgate up, restores 100,000", timed(lambda: pair.quietgate("up", "--now")))
    rules = "".join(f'[[firewall.rule]]\nname = "r{n}"\nports = [{n + 1000}]\nfrom = ["198.19.{n % 250}.0/24"]\n' for n in range(1000))
    pair.policy(rules)
    row("quietgate check, 1,000 rules", min(timed(lambda: pair.quietgate("check")) for _ in range(3)))
    row("quietgate up, 1,000 rules", timed(lambda: pair.quietgate("up", "--now")))
    pair.policy("")
    for words in (["--version"], ["--root", str(pair.root), "check"]):
        best = min(timed(lambda words=words: subprocess.run([str(QUIETGATE), *words], capture_output=True, check=True)) for _ in range(7))  # type: ignore[misc]
        row(f"start-up: quietgate {words[-1]}", best)


def main() -> None:
    print(sh("uname", "-r").strip(), sh("nft", "--version").strip(), sys.version.split()[0])
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        pair.up("")
        with pair.server.inside(), SetWriter() as writer:
            loads(pair, writer)
            listened(writer)
        commands(pair)


if __name__ == "__main__":
    main()
