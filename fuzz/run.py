"""How each target is run: its seeds, its words, and for how long. Prints libFuzzer's own figures at the end.

`python -m fuzz.TARGET [--seconds N] [--seed N] [--again FILE]`; what broke something is left in `build/fuzz/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

FOUND = Path("build/fuzz")
SLOW = 10  # seconds after which one input counts as a hang
MEMORY = 1024  # MiB after which one counts as a leak


def fuzz(name: str, one: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[bytes] = (), *, longest: int = 4096) -> None:
    """Give `one` inputs of at most `longest` bytes that grow from `seeds` and hold `words`. Ends the process: 0 if nothing was found."""
    options = argparse.ArgumentParser(prog=f"python -m fuzz.{name}")
    options.add_argument("--seconds", type=int, default=1800)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--again", type=Path, help="run this one input only")
    asked = options.parse_args()
    if asked.again is not None:
        one(asked.again.read_bytes())
        return
    corpus, dictionary = FOUND / f"{name}.corpus", FOUND / f"{name}.words"
    shutil.rmtree(corpus, ignore_errors=True)  # what one run learned would make the figures of the next incomparable
    corpus.mkdir(parents=True)
    for n, given in enumerate(seeds):
        (corpus / str(n)).write_bytes(given[:longest])
    entries = [f'"{_escaped(word)}"\n' for word in sorted(set(words)) if word]
    dictionary.write_text("".join(entries))
    flags = {
        "max_total_time": asked.seconds, "seed": asked.seed, "max_len": longest, "timeout": SLOW, "rss_limit_mb": MEMORY,
        "artifact_prefix": f"{FOUND}/{name}-", "print_final_stats": 1, "len_control": 0, "use_value_profile": 1,
    }  # fmt: skip
    if entries:
        flags["dict"] = str(dictionary)
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in flags.items()), str(corpus)], one)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\x{b:02x}" for b in word)
