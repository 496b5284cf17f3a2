"""Whatever a client says to sshd, or stands in a log: no exception, and nobody is blamed, trusted or cleared but who the server named.

An input is either a session (the model of sshd in tests/guard/attacker.py writes down what the input says, where the truth is
known) or bytes of a file or of the journal, whose lines must mean the same however they are cut into blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import atheris

with atheris.instrument_imports(include=["quietgate"]):
    from quietgate.clock import Instant
    from quietgate.guard.alerts import Raise, Topic
    from quietgate.guard.detect import NAMES, Threshold
    from quietgate.guard.engine import Check, Engine, Know, LoggedIn, Remember, Settings
    from quietgate.host import journal
    from quietgate.host.logfile import LONGEST_LINE, Lines
    from quietgate.host.sshd_units import USUAL_PROGRAMS, Writers
    from quietgate.net import Counting, Prefix, parse_address
    from quietgate.sshlog.lines import Event, Reader, Stamps, Trust, read, refused_by_account
    from quietgate.sshlog.sshd import Kind, understand
    from quietgate.sshlog.words import MOST_TIMES

from tests.guard.attacker import HEADS, HOSTILE, INNOCENT, TAILS, Attacker, Line
from tests.sshlog.test_hostile_forms import FORMS

from fuzz.run import fuzz

T = TypeVar("T")
GOLDEN = Path(__file__).parents[1] / "tests/guard/golden"
EAGER = Settings({name: Threshold(1, 600.0) for name in NAMES}, widen=None)  # the first attempt bans
# Every detector has its turn, and every bound is met.
NARROW = Settings(
    {name: Threshold(6 if name in ("burst", "slow") else 2, 600.0) for name in NAMES},
    widen=None,
    most_sources=2,
    most_open=2,
    alerts=frozenset(Topic),
)
WRITERS = Writers(frozenset({"ssh.service"}), frozenset(USUAL_PROGRAMS))
NOW = 1.8e9  # wall seconds, after every stamp of a session
MOST_LINES = 12  # of one session
WORDS = (*HEADS, *TAILS)
COUNTING = Counting()
PLACES = {a: parse_address(a) for a in (*HOSTILE, *INNOCENT)}


class Dice:
    """What the model of sshd takes for chance is what the input says."""

    def __init__(self, data: bytes) -> None:
        self.given = atheris.FuzzedDataProvider(data)

    def choice(self, of: Sequence[T]) -> T:
        return of[self.randrange(0, len(of))]

    def randrange(self, low: int, high: int) -> int:
        return cast("int", self.given.ConsumeIntInRange(low, high - 1))

    def random(self) -> float:
        return cast("float", self.given.ConsumeProbability())


class Session(Attacker):
    """sshd's lines of several connections at once; each process is one connection with one address."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.said = Dice(data)
        self.dice = self.said  # type: ignore[assignment]
        self.process = 0

    def all(self) -> Iterator[tuple[Line, int, str]]:
        """Lines with their truth, their process, and the address whose process it is."""
        connections: dict[int, tuple[str, int]] = {}
        while self.said.given.remaining_bytes() and self._pid < MOST_LINES:
            form = self.said.choice(self._forms)
            self.process = self.said.randrange(1, 5)
            if form == self._sshds_own:  # the listener's, of any connection
                self.process = 9
                address, port = self.said.choice(HOSTILE), self.said.randrange(1, 65536)
            elif self.process in connections:
                address, port = connections[self.process]
            else:
                address, port = connections[self.process] = self.said.choice(HOSTILE), self.said.randrange(1, 65536)
            yield form(address, port), self.process, address

    def _text(self, longest: int) -> str:
        parts = []
        for _ in range(self.said.randrange(1, 4)):
            if self.said.given.ConsumeBool():
                parts.append(self.said.choice(WORDS).format(x=self.said.choice(INNOCENT), p=22))
            else:
                parts.append(self.said.given.ConsumeUnicodeNoSurrogates(self.said.randrange(0, 120)))
        return "".join(parts).replace("\0", "")[:longest]

    def _line(self, message: str, name: str = "", *, suffix: str = "") -> str:
        shown, self._pid = self._pid, self.process - 1
        try:
            return super()._line(message, name, suffix=suffix)
        finally:
            self._pid = shown + 1


def one(data: bytes) -> None:
    """A session, or bytes."""
    if not data:
        return
    (_session, _file, _journal, _forms)[data[0] % 4](data[1:])


def _session(data: bytes) -> None:
    session = Session(data)
    engine, stamps = Engine(session.dice.choice((EAGER, NARROW))), Stamps(NOW)
    trusts = {"file": Trust.FILE, "journal": Trust.JOURNAL}
    written: set[Prefix] = set()  # by the server, in whatever line
    accepted: set[Prefix] = set()
    for n, ((line, truth, login), _, address) in enumerate(session.all()):
        if truth is not None:
            written.add(PLACES[address])
            if login:
                accepted.add(PLACES[address])
        events = list(read(line, stamps))
        assert len(events) <= 1, f"one line is one event: {line!r}"
        for event in events:
            assert event.said.address is None or (truth is not None and event.said.address == PLACES[truth]), (
                f"an address nobody wrote: {line!r}"
            )
            assert login or event.said.kind is not Kind.ACCEPTED, f"no login: {line!r}"
            for source, trust in trusts.items():
                _judged(engine, source, trust, event, n, written, accepted)
    _bounded(engine)


def _judged(engine: Engine, source: str, trust: Trust, event: Event, n: int, written: set[Prefix], accepted: set[Prefix]) -> None:
    """What is decided concerns who was written, and who is trusted has logged in."""
    for command in engine.read(source, trust, event, Instant(NOW + n, float(n))):
        if isinstance(command, Remember):
            assert command.attempt.address in written, f"somebody else is blamed: {event.message!r}"
        elif isinstance(command, LoggedIn | Check):
            assert command.address in accepted, f"somebody else is trusted: {event.message!r}"
        elif isinstance(command, Know):
            assert command.source in {COUNTING.source_of(a) for a in accepted}, f"somebody else is known: {event.message!r}"
        elif isinstance(command, Raise):
            assert command.subject in {str(COUNTING.source_of(a)) for a in (*written, *accepted)}, (
                f"somebody else is told of: {event.message!r}"
            )
        else:
            assert command.source in {COUNTING.source_of(a) for a in written}, f"somebody else is banned: {event.message!r}"


def _bounded(engine: Engine) -> None:
    """It can be kept over a restart, and forgets."""
    for source, trust in (("file", Trust.FILE), ("journal", Trust.JOURNAL)):
        engine.resume(source, trust, json.loads(json.dumps(engine.unfinished(source))))
    engine.tick(Instant(NOW + 1e6, 1e6))
    assert not engine.figures()["sources"], "what is over is forgotten"


def _pieces(given: atheris.FuzzedDataProvider) -> Iterator[bytes]:
    while given.remaining_bytes():
        yield given.ConsumeBytes(given.ConsumeIntInRange(1, 400))


def _file(data: bytes) -> None:
    lines, pieces = Lines(), list(_pieces(atheris.FuzzedDataProvider(data)))
    blocks = [lines.take(piece) for piece in pieces]
    assert lines.behind <= LONGEST_LINE
    whole = b"".join(pieces)
    whole = whole[: whole.rfind(b"\n") + 1]
    assert b"".join(blocks) == whole, "no byte is lost or invented"
    engine = Engine(EAGER)
    reader, careful = Reader(Stamps(NOW)), Reader(Stamps(NOW))
    events = [event._replace(number=0) for block in blocks for event in reader.read(block.decode("utf-8", "replace"))]
    numbered = [event._replace(number=0) for event in careful.read_numbered(whole.decode("utf-8", "replace"))]
    assert refused_by_account(events) == refused_by_account(numbered)
    _decided(engine, Trust.FILE, events)


def _journal(data: bytes) -> None:
    events = []
    for line in data.split(b"\n"):
        journal.cursor_of(line)
        journal.entry(line, WRITERS)
        entry = journal.entry(line, None)
        said = understand(entry.message) if entry is not None else None
        if entry is not None and said is not None:
            events.append(Event(entry.at, entry.pid, said, entry.message))
    _decided(Engine(EAGER), Trust.JOURNAL, events)


def _forms(data: bytes) -> None:
    """Every form of a log: read in blocks or line by line it means the same, and each line can be explained."""
    if not data:
        return
    text = data[1:].decode("utf-8", "replace") + "\n"
    readers = [Reader(Stamps(NOW), ("", "sshd", "dropbear")[data[0] % 3], journals=bool(data[0] & 8), undated=NOW) for _ in range(2)]
    events = [event._replace(number=0) for event in readers[0].read(text)]
    assert events == refused_by_account([event._replace(number=0) for event in readers[1].read_numbered(text)])
    for line in text.split("\n")[:20]:
        readers[1].explained(line)
    _decided(Engine(EAGER), Trust.FILE, events)


def _decided(engine: Engine, trust: Trust, events: Sequence[Event]) -> None:
    written: set[Prefix] = set()
    accepted: set[Prefix] = set()
    for n, event in enumerate(events):
        assert 0 < event.said.times <= MOST_TIMES
        if event.said.address is not None:
            assert event.said.address.single
            written.add(event.said.address)
            if event.said.kind is Kind.ACCEPTED:
                accepted.add(event.said.address)
        _judged(engine, "file", trust, event, n, written, accepted)
    _bounded(engine)


def _genuine() -> list[bytes]:
    return [line + b"\n" for path in sorted(GOLDEN.glob("*.log")) for line in path.read_bytes().splitlines()]


def _headed(line: bytes, header: bytes) -> bytes:
    return header + line.partition(b"]: ")[2]


def seeds() -> Iterator[bytes]:
    """The lines that the tests know, as a file and as the journal has them; and sessions of nothing."""
    lines = _genuine()
    for at in range(0, len(lines), 8):
        yield b"\1" + b"".join(lines[at : at + 8])
    for at in range(0, len(lines), 40):  # the other headers: without a year, and RFC 5424
        yield b"\1" + b"".join(_headed(line, (b"Dec 10 06:55:46 host sshd[7]: ", b"Feb 29 23:59:60 host sshd-session[7]: ")[n % 2])
                               for n, line in enumerate(lines[at : at + 4]))  # fmt: skip
        yield b"\1" + b"".join(_headed(line, b'<86>1 2026-11-24T18:53:26Z host sshd 7 - [a b="c"] ') for line in lines[at : at + 4])
    for at in range(0, len(lines), 4):
        entries = ({"MESSAGE": line.decode("utf-8", "replace").partition("]: ")[2].rstrip("\n"), "_UID": "0", "_COMM": "sshd", "_PID": "7",
                    "__REALTIME_TIMESTAMP": "1764000000000000", "__CURSOR": "s=1"} for line in lines[at : at + 4])  # fmt: skip
        yield b"\2" + b"\n".join(json.dumps(entry).encode() for entry in entries)
    for n, form in enumerate(FORMS):
        for tag in (b"sshd[7]: ", b"dropbear[7]: "):
            yield (
                b"\3" + bytes([n]) + b"".join(form.encode().replace(b"{tag}", tag) + line.partition(b"]: ")[2] for line in lines[n::97][:4])
            )
    for size in (50, 200, 800):
        for shift in range(32):
            yield b"\0" + bytes((shift * 37 + n * n * 11) % 256 for n in range(size))


def words() -> Iterator[bytes]:
    """What sshd and its imitators write."""
    for word in WORDS:
        yield word.format(x="198.51.100.7", p=22).encode()
    yield from (b"message repeated 0 times: [ ", b"PAM 0 more authentication failures; ", b'"__REALTIME_TIMESTAMP": "', b'"MESSAGE": [')


if __name__ == "__main__":
    fuzz("reader", one, seeds(), words())
