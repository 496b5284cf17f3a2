"""What we pack is what nft lists."""

from __future__ import annotations

import errno
import json
import re
import socket
from collections.abc import Iterator

import pytest

from quietgate.errors import KernelError
from quietgate.host.netlink import PER_BATCH, SetWriter, element, interval, pack
from tests.kernel.lab import Pair


@pytest.fixture
def writer(pair: Pair) -> Iterator[SetWriter]:
    pair.server.nft(
        "table inet quietgate {\n set a4 { type ipv4_addr; flags timeout; }\n set a6 { type ipv6_addr; flags timeout; }\n"
        " set n4 { type ipv4_addr; flags interval,timeout; }\n set n6 { type ipv6_addr; flags interval,timeout; }\n"
        " set small { type ipv4_addr; flags timeout; size 2; }\n }\n"
    )
    with pair.server.inside():
        made = SetWriter()
    with made:
        yield made


def listed(pair: Pair, name: str) -> str:
    text = pair.server.sh("nft", "list", "set", "inet", "quietgate", name)
    return re.sub(r"\s+", " ", text)


def four(text: str) -> bytes:
    return socket.inet_aton(text)


def test_golden_bytes_of_one_element() -> None:
    # nft --debug=netlink add element inet quietgate s { 192.0.2.7 timeout 1s }
    assert element(four("192.0.2.7"), 1000).hex() == "1c0001800c00018008000100c00002070c00040000000000000003e8"
    assert pack([(four("192.0.2.7"), 1000)]) == [element(four("192.0.2.7"), 1000)]


def test_addresses_with_and_without_an_end(pair: Pair, writer: SetWriter) -> None:
    writer.add("a4", [(four("192.0.2.7"), None), (four("192.0.2.8"), 3_600_000)])
    writer.add("a6", [(socket.inet_pton(socket.AF_INET6, "2001:db8::7"), None)])
    assert "192.0.2.7" in listed(pair, "a4")
    assert "192.0.2.8 timeout 1h expires 59m" in listed(pair, "a4")
    assert "2001:db8::7" in listed(pair, "a6")


def test_an_element_that_is_there_gets_the_new_end(pair: Pair, writer: SetWriter) -> None:
    for timeout in (3_600_000, 60_000, None, 7_200_000):
        writer.add("a4", [(four("192.0.2.7"), timeout)])
        found = writer.get("a4", four("192.0.2.7"))
        assert found is not None
        assert (found.left is None) is (timeout is None)
        assert timeout is None or timeout / 1000 - 5 < (found.left or 0) <= timeout / 1000


def test_deleting_what_is_not_there_is_fine(writer: SetWriter) -> None:
    writer.add("a4", [(four("192.0.2.7"), None)])
    writer.delete("a4", [four("192.0.2.7"), four("192.0.2.9")])
    assert writer.get("a4", four("192.0.2.7")) is None


def test_intervals_up_to_the_last_address(pair: Pair, writer: SetWriter) -> None:
    writer.replace_intervals("n4", 4, [(0x0A000000, 0x0AFFFFFF, None), (0xFFFFFF00, 0xFFFFFFFF, 60_000)])
    said = listed(pair, "n4")
    assert "10.0.0.0/8" in said
    assert "255.255.255.0/24 timeout 1m" in said
    assert writer.get("n4", four("10.9.9.9")) is not None
    assert writer.get("n4", four("11.0.0.0")) is None
    assert len(interval(4, 0xFFFFFF00, 0xFFFFFFFF, None)) < len(interval(4, 0, 255, None)), "nothing comes after the last address"


def test_more_than_one_message_and_more_than_one_transaction(pair: Pair, writer: SetWriter) -> None:
    count = PER_BATCH + 5_000
    writer.add("a4", [((0x0A000000 + n).to_bytes(4, "big"), None) for n in range(count)])
    raw = json.loads(pair.server.sh("nft", "-j", "list", "set", "inet", "quietgate", "a4"))
    assert len(raw["nftables"][1]["set"]["elem"]) == count


def test_a_full_set_takes_nothing_of_a_batch(pair: Pair, writer: SetWriter) -> None:
    with pytest.raises(KernelError) as caught:
        writer.add("small", [(bytes([192, 0, 2, n]), None) for n in range(3)])
    assert caught.value.errno == errno.ENFILE
    assert "elements" not in listed(pair, "small")
    writer.add("small", [(four("192.0.2.1"), None)])


def test_no_such_set(writer: SetWriter) -> None:
    with pytest.raises(KernelError) as caught:
        writer.add("nothing", [(four("192.0.2.1"), None)])
    assert caught.value.errno == errno.ENOENT
    assert "quietgate up" in caught.value.hint
    writer.add("a4", [(four("192.0.2.1"), None)])
