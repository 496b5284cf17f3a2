"""What doctor concludes from an sshd's command line."""

from __future__ import annotations

import pytest

from quietgate.inspect.doctor import to_stderr


@pytest.mark.parametrize(
    ("arguments", "blind"),
    [
        (("-D",), False),
        (("-D", "-e"), True),
        (("-De",), True),
        (("-D", "-p2222"), False),
        (("-E", "/var/log/sshd"), False),
        (("-oMatchExec=e",), False),
        (("-f", "/etc/ssh/e"), False),
        ((), False),
    ],
)
def test_an_sshd_whose_log_can_be_forged(arguments: tuple[str, ...], blind: bool) -> None:
    assert to_stderr(arguments) is blind
