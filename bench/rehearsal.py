"""How long a rehearsal takes: 300 rules, 50 remembered logins, real connections.

    sudo .venv/bin/python -m bench.rehearsal

Everything happens in network namespaces of its own. The peer is the same policy checked by `nft -c`, which proves no access.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from tests.kernel.lab import make_pair
from tests.kernel.test_lockout import remember


def main() -> None:
    with make_pair(Path(tempfile.mkdtemp())) as pair:
        pair.sshd()
        pair.up("")
        for n in range(50):
            remember(pair, f"user{n}", f"198.19.{n}.{n + 1}")
        rules = "".join(f'[[firewall.rule]]\nname = "r{n}"\nports = [{n + 1000}]\nfrom = ["198.19.{n % 250}.0/24"]\n' for n in range(300))
        for turn in range(3):
            pair.policy(f'[ssh]\nlimit = "{turn + 2} per 1m"\n[firewall]\ndefault = "drop"\n{rules}')
            text = pair.quietgate("show")
            begin = time.perf_counter()
            subprocess.run(["ip", "netns", "exec", pair.server.name, "nft", "-c", "-f", "-"], input=text, text=True, check=True)
            checked = time.perf_counter() - begin
            begin = time.perf_counter()
            told = json.loads(pair.quietgate("up", "--now", "--json").splitlines()[0])["rehearsal"]
            whole = time.perf_counter() - begin
            print(f"{len(told['proven'])} connections proven in {told['seconds']:.3f} s; `up` in all {whole:.3f} s; nft -c {checked:.3f} s")


if __name__ == "__main__":
    main()
