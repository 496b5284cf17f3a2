"""Who is never banned, and how much may be: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quietgate.clock import Instant
from quietgate.guard.alerts import Raise, Topic
from quietgate.guard.detect import Threshold
from quietgate.guard.engine import Ban, Engine, Settings, Spared
from quietgate.guard.never import MOST_BANNED, Kind, Never, never_banned, size, stand_for_many, too_many
from quietgate.guard.widen import Widen
from quietgate.net import Prefix, parse_address, parse_prefix
from quietgate.policy.load import load
from quietgate.sshlog.lines import Event, Trust
from quietgate.sshlog.sshd import understand
from quietgate.values import File, Login, Surroundings

AROUND = Surroundings(
    own=(parse_address("192.0.2.10"), parse_address("172.17.0.1")),
    networks=(parse_prefix("192.0.2.0/24"), parse_prefix("172.17.0.0/16"), parse_prefix("0.0.0.0/0")),
    needed=(("the default gateway", parse_address("192.0.2.1")), ("a resolver", parse_address("198.51.100.53"))),
)
BALANCER = parse_address("10.0.0.5")


def never(policy: str = "", around: Surroundings = AROUND) -> Never:
    return never_banned(load([File("p.toml", policy.encode())]).policy, {}, around)


def kind(text: str, *, source: bool, found: Never | None = None) -> Kind | None:
    reason = (found or never()).why(parse_prefix(text), source=source)
    return None if reason is None else reason.kind


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("192.0.2.1", True, Kind.NEEDED),  # the gateway
        ("198.51.100.53", True, Kind.NEEDED),  # a resolver
        ("198.51.100.0/24", False, Kind.NEEDED),  # which is in there
        ("169.254.169.254", True, Kind.NEEDED),
        ("fd00:ec2::/64", True, Kind.NEEDED),
        ("35.191.7.7", True, Kind.NEEDED),
        ("192.0.2.10", True, Kind.PROTECTED),  # this host
        ("172.17.0.1", True, Kind.PROTECTED),  # its bridge
        ("192.0.2.77", True, None),  # a stranger next door
        ("192.0.2.64/26", False, Kind.NETWORK),  # a part of the network
        ("192.0.0.0/16", False, Kind.NEEDED),  # with the gateway in it
        ("172.17.128.0/17", False, Kind.NETWORK),
        ("203.0.113.0/24", False, None),  # far away; a default route without a gateway is no network
    ],
)  # fmt: skip
def test_who_is_never_banned(text: str, source: bool, expected: Kind | None) -> None:
    assert kind(text, source=source) is expected


def test_force_lifts_what_is_needed_and_not_what_is_protected() -> None:
    forced = never('[ssh]\ntrusted = ["203.0.113.7"]\n').without({Kind.NEEDED, Kind.NETWORK})
    assert kind("192.0.2.1", source=True, found=forced) is None
    assert kind("192.0.2.64/26", source=False, found=forced) is None
    for text in ("203.0.113.7", "192.0.2.10", "127.0.0.1"):
        assert kind(text, source=True, found=forced) is Kind.PROTECTED


def test_what_is_left_spares_networks_too() -> None:
    rest = never().rest(parse_prefix("192.0.0.0/16"))
    assert rest
    assert not any(p.covers(parse_address(a)) for p in rest for a in ("192.0.2.77", "192.0.2.1"))
    assert never().rest(parse_prefix("192.0.2.64/26")) == ()


def test_how_much_of_the_internet() -> None:
    half = parse_prefix("0.0.0.0/1")
    assert size([half, parse_prefix("10.0.0.0/8")]) == {4: 1 << 31, 6: 0}
    assert too_many({}, [half]) == {4: 1 << 31}
    assert too_many({}, [parse_prefix("0.0.0.0/2")]) == {}
    assert too_many({4: MOST_BANNED[4]}, [parse_prefix("203.0.113.0/24")]) == {4: MOST_BANNED[4] + 256}
    assert too_many({4: MOST_BANNED[4]}, [parse_prefix("2001:db8::/32")]) == {}


def logins(*users: str, address: Prefix = BALANCER) -> list[Login]:
    return [Login(u, address, 0.0, "journal") for u in users]


def test_a_near_address_of_several_users_stands_for_many_and_a_far_one_does_not() -> None:
    assert stand_for_many(logins("anna", "bob", "carl"), AROUND) == {BALANCER}
    assert stand_for_many(logins("anna", "bob", "bob"), AROUND) == frozenset()
    assert stand_for_many(logins("anna", "bob", "carl", address=parse_address("203.0.113.9")), AROUND) == frozenset()


def guess(engine: Engine, address: str, count: int = 40) -> list[object]:
    said = understand(f"Failed password for root from {address} port 5 ssh2")
    assert said is not None
    found: list[object] = []
    for n in range(count):
        found += engine.read(
            "j",
            Trust.JOURNAL,
            Event(1000.0 + n, n + 1000 * (parse_address(address).value & 255), said, ""),
            Instant(1000.0 + n, 1000.0 + n),
        )
    return [c for c in found if isinstance(c, (Ban, Spared, Raise))]


def engine() -> Engine:
    settings = Settings({"burst": Threshold(5, 600)}, never=never(), alerts=frozenset(Topic), widen=None)
    return Engine(settings)


@pytest.mark.parametrize("address", ["192.0.2.1", "172.17.0.1", "127.0.0.1", "10.0.0.5"])
def test_whoever_comes_in_the_name_of_a_gateway_a_bridge_or_a_balancer_is_not_banned_and_one_alert_says_what_to_do(address: str) -> None:
    made = engine()
    made.know({}, frozenset(), frozenset({BALANCER}))
    found = guess(made, address)
    assert [type(c) for c in found] == [Spared, Raise]
    alert = found[1]
    assert isinstance(alert, Raise)
    assert alert.topic is Topic.REFUSED
    assert "cannot be told apart" in alert.what
    said = " ".join(alert.evidence)
    for word in ("PROXY protocol", "userland proxy", "trusted"):
        assert word in said


def test_a_stranger_next_door_is_banned_singly_and_the_network_never_is() -> None:
    made = engine()
    made.change(replace(made.settings, widen=Widen()))
    found = [c for n in range(4) for c in guess(made, f"192.0.2.{n + 100}", 5) if not isinstance(c, Raise)]
    assert [type(c) for c in found] == [Ban, Ban, Ban, Ban, Spared]
    last = found[-1]
    assert isinstance(last, Spared)
    assert str(last.source) == "192.0.2.0/24"
