"""The same attackers in every form of a log, and in dropbear's words: no innocent is ever blamed or cleared, whatever stands where."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

import pytest

from quietgate.clock import Instant
from quietgate.guard.engine import Check, Engine, Know, LoggedIn
from quietgate.net import Counting, Prefix, parse_address
from quietgate.sshlog.lines import Reader, Stamps, Trust
from quietgate.sshlog.sshd import Kind
from tests.guard.attacker import HOSTILE, INNOCENT, Attacker
from tests.guard.test_hostile import EAGER

BSD, ISO = "Nov 24 17:00:05", "2026-11-24T17:00:05.5+00:00"
# Where the program's tag stands; what it writes follows.
FORMS = (
    f"{BSD} gate authpriv.info {{tag}}", f"{BSD} {{tag}}", f"{BSD}  {{tag}}", f"{BSD} <auth.info> gate {{tag}}", f"{BSD}.250 gate {{tag}}",
    f"2026 {BSD} gate {{tag}}", "Nov 24 2026 17:00:05 gate {tag}", "Tue Nov 24 17:00:05 2026 authpriv.info {tag}", "2026-11-24 17:00:05 gate {tag}",
    f"{ISO} info gate {{tag}}", "Tue 2026-11-24 17:00:05 UTC gate {tag}", "1795539605.000000 gate {tag}", f"authpriv.info: {BSD} {{tag}}",
    f"2026-11-24_17:00:05.15 authpriv.info: {BSD} {{tag}}", f"{BSD} 192.0.2.9 gate {{tag}}", f"{BSD} relay {BSD} gate {{tag}}", f"<38>{BSD} gate {{tag}}",
    f"\ufeff{BSD} gate {{tag}}",
)  # fmt: skip
OURS = (
    "sshd[{pid}]: ",
    "sshd-session[{pid}]: ",
    "sshd-2222[{pid}]: ",
    "/usr/sbin/sshd[{pid}]: ",
    "sshd[{pid}]:  ",
    "sshd[{pid}]: [ID 800047 auth.info] ",
)
OTHERS = (
    "shop[{pid}]: ",
    "shop: ",
    "sshd-evil[{pid}]: ",
    "xsshd[{pid}]: ",
    "[shop] ",
    "cron(sshd)[{pid}]: ",
    "sshd.bak[{pid}]: ",
    "kernel: ",
)
RFC5424 = "<86>1 2026-11-24T17:00:05Z gate {app} {pid} - {elements} {message}"
ELEMENTS = ("-", '[a b="c"]', '[a b="c"][d e="f \\"g\\" \\] h"]')
DROPBEAR = (
    "Bad password attempt for '{text}' from {a}:{p}", "Pubkey auth bad signature for '{text}' with key SHA256:abc from {a}:{p}", "Login attempt with wrong user {text} from {a}:{p}",
    "Exit before auth from <{a}:{p}>: (user '{text}', 3 fails): Exited normally", "Exit before auth from <{a}:{p}>: (user '{text}', 9 fails): Max auth tries reached - user '{text}'",
    "Child connection from {a}:{p}", "Login attempt for nonexistent user from {a}:{p}",
)  # fmt: skip
Line = tuple[str, str | None, bool]  # the line, the address that the server wrote, whether it is a login


def lines(seed: int, count: int) -> Iterator[Line]:
    """The attacker's lines, each in a form of its own; other programs' lines that imitate every form; dropbear's."""
    dice, attacker = random.Random(seed), Attacker(seed)
    for n, (line, truth, login) in enumerate(attacker.lines(count)):
        found = re.fullmatch(r"\S+ host sshd(?:-session)?\[(\d+)\]: (.*)\n", line, re.DOTALL)
        kind = dice.random()
        if kind < 0.25:
            yield _another(dice, attacker, n), None, False
        elif kind < 0.4:
            address = dice.choice(HOSTILE)
            said = dice.choice(DROPBEAR).format(text=attacker._text(100).replace("\n", ""), a=address, p=n % 65535 + 1)
            yield f"{dice.choice(FORMS).format(tag='')}dropbear[{n}]: {said}\n", address, False
        elif found is not None and truth is not None and "\n" not in found[2]:
            yield _dressed(dice, found[1], found[2]), truth, login


def _dressed(dice: random.Random, pid: str, message: str) -> str:
    if dice.random() < 0.1:
        return RFC5424.format(app="sshd", pid=pid, elements=dice.choice(ELEMENTS), message=message) + "\n"
    end = dice.choice(("\n", "\n", "\n", "\r\n"))
    return dice.choice(FORMS).format(tag="") + dice.choice(OURS).format(pid=pid) + message + end


def _another(dice: random.Random, attacker: Attacker, n: int) -> str:
    """Somebody's text in another program's line: it may begin as any line of ours does."""
    text = attacker._text(400).replace("\n", "")
    imitation = dice.choice(
        (
            "",
            dice.choice(FORMS).format(tag="") + dice.choice(OURS).format(pid=n),
            dice.choice(OURS).format(pid=n),
            "last message repeated 9 times",
        )
    )
    words = f"{imitation}{text}"
    if dice.random() < 0.2:
        return RFC5424.format(app="shop", pid=n, elements=dice.choice((*ELEMENTS, f'[a b="sshd {n} - - "]')), message=words) + "\n"
    if dice.random() < 0.1:
        return json.dumps({"log": words, "stream": "stderr", "time": "2026-11-24T16:00:05Z"}) + "\n"
    return dice.choice(FORMS).format(tag="") + dice.choice(OTHERS).format(pid=n) + words + "\n"


@pytest.mark.parametrize("seed", range(3))
def test_twenty_thousand_hostile_lines_in_every_form(seed: int) -> None:
    attack(seed, 20_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 105))
def test_half_a_million_hostile_lines_in_every_form(seed: int) -> None:
    attack(seed, 100_000)


def attack(seed: int, count: int) -> None:
    engine, reader, counting = Engine(EAGER), Reader(Stamps(1795539605.0)), Counting()
    attackers: dict[str, Prefix] = {}
    innocent = {counting.source_of(parse_address(a)) for a in INNOCENT}
    blamed, welcomed, read = set[Prefix](), set[Prefix](), 0
    for n, (line, truth, login) in enumerate(lines(seed, count)):
        events = reader.read(line)
        assert len(events) <= 1, line
        for event in events:
            read += 1
            said = event.said
            if said.address is not None:
                assert truth is not None, line
                assert said.address == attackers.setdefault(truth, parse_address(truth)), line
            assert login or said.kind is not Kind.ACCEPTED, line
            for command in engine.read("log", Trust.JOURNAL, event, Instant(1e9 + n, float(n))):
                found = getattr(command, "source", None) or getattr(command, "address", None)
                assert found is not None
                into = welcomed if isinstance(command, Know | LoggedIn | Check) else blamed
                into.add(counting.source_of(found) if found.single else found)
    assert not innocent & (blamed | welcomed)
    assert read > count / 3, "it does read"
    assert len(blamed) > 300
