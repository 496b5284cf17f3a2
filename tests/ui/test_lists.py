"""Lists as people have them: what each line names, and what it does not."""

from __future__ import annotations

import pytest

from quietgate.net import AddressError
from quietgate.ui.lists import Nothing, targets


@pytest.mark.parametrize(
    ("line", "named"),
    [("198.51.100.0/24 ; SBL1", ["198.51.100.0/24"]), ("; Spamhaus DROP", []), ("# ipsum", []), ("203.0.113.1\t8", ["203.0.113.1"]), ("", []),
     ("sshd: 203.0.113.1", ["203.0.113.1"]), ("ALL: 203.0.113.1, [2001:db8::1]", ["203.0.113.1", "2001:db8::1"]), ("203.0.113.1 # csf: lfd", ["203.0.113.1"]),
     ("203.0.113.8-203.0.113.9", ["203.0.113.8", "203.0.113.9"]), ("203.0.113.8 - 203.0.113.9", ["203.0.113.8", "203.0.113.9"]),
     ("2001:db8::-2001:db8::ffff", ["2001:db8::/112"]), ("add f2b-sshd 203.0.113.1 timeout 3000", ["203.0.113.1"]), ("// note", []),
     ("1,crowdsec,Ip:203.0.113.1,crowdsecurity/ssh-bf,ban,,,6,3h59m,false,1", ["203.0.113.1"]), ("1,cscli,Range:203.0.113.0/28,x", ["203.0.113.0/28"]),
     ("tcp|in|d=22|s=203.0.113.1", ["203.0.113.1"]), ("\ufeff203.0.113.1", ["203.0.113.1"]), ("2001:db8::/32", ["2001:db8::/32"]),
     ("203.0.113.1;attacker", ["203.0.113.1"]), ("203.0.113.1,5,2026-11-24", ["203.0.113.1"])],
)  # fmt: skip
def test_a_line_names(line: str, named: list[str]) -> None:
    assert [str(p) for p, _ in targets(line)] == named


@pytest.mark.parametrize(
    "line", ["create f2b-sshd hash:ip family inet", "id,source,ip,reason", "ALL: .example.net", "Include /etc/csf/more", "COMMIT"]
)
def test_a_line_of_another_kind_is_left_out(line: str) -> None:
    with pytest.raises(Nothing):
        targets(line)


@pytest.mark.parametrize("line", ["203.0.113.300", "host.example.net", "203.0.113.9-203.0.113.1", "2001:db8::1-203.0.113.1"])
def test_what_should_be_an_address_and_is_none_is_a_mistake(line: str) -> None:
    with pytest.raises(AddressError):
        targets(line)
