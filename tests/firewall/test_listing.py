"""Two listings of one table: the order in which things were made means nothing, the order of rules does."""

from __future__ import annotations

from quietgate.firewall.listing import meaning, same

SET = "\tset g1_from4 {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1, 192.0.2.7,\n\t\t\t     192.0.2.9 }\n\t}\n"
SHARED = "\tset ban4 {\n\t\ttype ipv4_addr\n\t\tsize 65536\n\t\tflags timeout\n\t}\n"
COUNTER = '\tcounter deny {\n\t\tcomment "dropped by deny"\n\t}\n'
CHAIN = "\tchain g1_in {\n\t\tct state established accept\n\t\ttcp dport 22 drop\n\t}\n"
BASE = "\tchain input {\n\t\ttype filter hook input priority 0; policy accept;\n\t\tgoto g1_in\n\t}\n"


def table(*blocks: str) -> str:
    return "table inet quietgate {\n" + "\n".join(blocks) + "}\n"


def test_the_order_of_chains_and_sets_means_nothing() -> None:
    assert same(table(SHARED, COUNTER, CHAIN, BASE), table(BASE, COUNTER, SHARED, CHAIN))


def test_the_order_of_elements_and_their_lines_mean_nothing() -> None:
    other = SET.replace("192.0.2.1, 192.0.2.7,\n\t\t\t     192.0.2.9", "192.0.2.9, 192.0.2.1, 192.0.2.7")
    assert same(table(SHARED) + SET, table(SHARED) + other)


def test_the_order_of_rules_means_something() -> None:
    first, second = CHAIN.splitlines(keepends=True)[1:3]
    assert not same(table(CHAIN), table(CHAIN.replace(first + second, second + first)))


def test_every_change_shows() -> None:
    whole = (SHARED, COUNTER, CHAIN, BASE)
    changes = [
        (COUNTER, CHAIN, BASE),
        (*whole, SHARED.replace("ban4", "mine")),
        (SHARED.replace("65536", "1"), COUNTER, CHAIN, BASE),
        (SHARED, COUNTER, CHAIN.replace("drop", "accept"), BASE),
        (SHARED, COUNTER, CHAIN.replace("\t\ttcp dport 22 drop\n", ""), BASE),
        (SHARED, COUNTER, CHAIN, BASE.replace("priority 0", "priority 1")),
        (SHARED, COUNTER, CHAIN, BASE.replace("policy accept", "policy drop")),
        (SHARED, COUNTER, CHAIN.replace("accept\n", "accept\n\t\taccept\n"), BASE),
    ]
    for change in changes:
        assert not same(table(*whole), table(*change))
    assert not same(table(SHARED) + SET, table(SHARED) + SET.replace("192.0.2.7", "192.0.2.8"))
    assert not same(table(SHARED), table(SHARED).replace("inet quietgate {", "inet quietgate {\n\tflags dormant"))
    assert not same(table(*whole), "")


def test_a_rule_twice_is_another_table_than_once() -> None:
    line = "\t\ttcp dport 22 drop\n"
    assert meaning(table(CHAIN)) != meaning(table(CHAIN.replace(line, line + line)))
