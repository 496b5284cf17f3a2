"""The commands that look at the kernel, on a real terminal: they fit, they are coloured, and end as in a pipe."""

from __future__ import annotations

import pytest

from tests.kernel.lab import QUIETGATE, Pair
from tests.ui.test_terminal import STYLES, on_a_terminal, too_wide


@pytest.mark.long
def test_they_fit_and_are_coloured(pair: Pair) -> None:
    pair.up('[ssh]\ntrusted = ["198.19.0.5"]\n')
    pair.quietgate("ban", "198.19.0.9", "--reason", "it guessed names and passwords, and came back under another address")
    pair.policy('[ssh]\ntrusted = ["198.19.0.6"]\n')
    for command in ("alerts", "bans", "why 198.19.0.9", "report", "doctor", "diff", "status"):
        full = ["ip", "netns", "exec", pair.server.name, str(QUIETGATE), "--root", str(pair.root), *command.split()]
        piped = pair.run(*command.split())
        assert "\x1b" not in piped.stdout
        for width in (80, 40):
            code, text = on_a_terminal(full, width)
            assert code == piped.returncode, command
            assert not too_wide(STYLES.sub("", text), width), command
            assert STYLES.search(text) or command == "alerts", command
    assert "\x1b" not in on_a_terminal(full, 80, NO_COLOR="1")[1], "the last of them"
