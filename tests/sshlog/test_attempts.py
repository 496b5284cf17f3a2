"""One guess prints up to four lines; guesses are counted, not lines."""

from __future__ import annotations

from math import inf

import pytest

from quietgate.sshlog.attempts import FORGOTTEN_AFTER, KEPT_OVER, Connections
from quietgate.sshlog.connection import Attempt
from tests.guard.script import A, B, counted, event

ROOT = ("failed", "root", A, 1)
PAM = f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root"
FAILED = f"Failed password for root from {A} port 40000 ssh2"
KEY = f"Failed publickey for root from {A} port 40000 ssh2: RSA SHA256:abc"
RECEIVED = f"Received disconnect from {A} port 40000:11: Bye Bye [preauth]"
LEFT = f"Disconnected from authenticating user root {A} port 40000 [preauth]"
CLOSED = f"Connection closed by authenticating user root {A} port 40000 [preauth]"
TOO_MANY = f"error: maximum authentication attempts exceeded for root from {A} port 40000 ssh2 [preauth]"
DISCONNECTING = f"Disconnecting authenticating user root {A} port 40000: Too many authentication failures [preauth]"
ACCEPTED = f"Accepted publickey for anna from {A} port 40000 ssh2: RSA SHA256:abc"


def test_four_lines_of_one_password_are_one_guess() -> None:
    assert counted(PAM, FAILED, CLOSED) == [ROOT]
    assert counted(PAM, FAILED, f"Connection reset by authenticating user root {A} port 40000 [preauth]") == [ROOT]


def test_a_farewell_that_takes_two_lines_adds_none() -> None:
    """What most programs that guess say: "Bye Bye", once with the client's words and once with sshd's."""
    assert counted(PAM, FAILED, RECEIVED, LEFT) == [ROOT]


def test_six_passwords_over_one_connection_are_six_guesses() -> None:
    summary = f"PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root"
    assert counted(PAM, FAILED, FAILED, FAILED, FAILED, FAILED, FAILED, TOO_MANY, DISCONNECTING, summary) == [ROOT] * 6


def test_where_only_pam_speaks_it_counts() -> None:
    more = f"PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=root"
    assert counted(PAM, more) == [("failed", "root", A, 3)], "once it is certain that sshd says nothing of it"
    assert counted((PAM, "0s"), (PAM, "20s")) == [ROOT, ROOT]
    sss = PAM.replace("pam_unix", "pam_sss")
    assert counted(PAM, sss, PAM, sss) == [("failed", "root", A, 2)], "each module says it for itself"


def test_repeated_lines_stand_for_more() -> None:
    assert counted(FAILED, f"message repeated 2 times: [ {FAILED}]", CLOSED) == [ROOT, ("failed", "root", A, 2)]


def test_an_agents_keys_before_the_right_one_are_no_guesses() -> None:
    assert counted(KEY, KEY, KEY, ACCEPTED, f"Disconnected from user anna {A} port 40000") == [("succeeded", "anna", A, 1)]


def test_keys_without_a_login_are_one_guess_whatever_was_offered() -> None:
    assert counted(KEY, KEY, KEY, CLOSED) == [ROOT]
    assert counted(KEY, KEY, RECEIVED, LEFT) == [ROOT]
    assert counted(CLOSED) == [("unsure", "root", A, 1)], (
        "at INFO the end is all there is: a wrong key, or a person who thought better of it"
    )
    begins = f"Connection from {A} port 40000 on 198.51.100.1 port 22"
    assert counted(begins, CLOSED) == [], "at VERBOSE a key would have been shown"
    assert counted(begins, KEY, CLOSED) == [ROOT]


def test_before_7_6_the_last_line_has_no_name() -> None:
    assert counted(KEY, KEY, f"Connection closed by {A} [preauth]") == [ROOT]
    assert counted(KEY, f"Received disconnect from {A}: 11: Bye Bye [preauth]") == [ROOT]
    assert counted(f"Connection closed by {A} [preauth]") == []


def test_a_name_that_does_not_exist_is_a_guess_by_itself() -> None:
    invalid = f"Invalid user admin from {A} port 40000"
    assert counted(invalid, f"Connection closed by invalid user admin {A} port 40000 [preauth]") == [("failed", "admin", A, 1)]
    assert counted(invalid, f"Failed none for invalid user admin from {A} port 40000 ssh2") == [("failed", "admin", A, 1)]
    guess = f"Failed password for invalid user admin from {A} port 40000 ssh2"
    assert counted(invalid, guess, guess) == [("failed", "admin", A, 1)] * 2


def test_who_leaves_without_a_name_has_guessed_nothing() -> None:
    for line in (f"Connection closed by {A} port 40000", f"Did not receive identification string from {A} port 40000", RECEIVED,
                 f"Connection reset by {A} port 40000 [preauth]", f"Disconnected from {A} port 40000 [preauth]"):  # fmt: skip
        assert counted(line) == []
    assert counted(f"Connection from {A} port 40000 on 198.51.100.1 port 22", f"Connection closed by {A} port 40000 [preauth]") == []


def test_a_broken_handshake_is_noise_once_and_no_guess() -> None:
    sent = 'error: kex_exchange_identification: client sent invalid protocol identifier "GET / HTTP/1.1"'
    banner = f"banner exchange: Connection from {A} port 40000: invalid format"
    assert counted(sent, banner) == [("noise", "", A, 1)]
    assert counted(sent, f"Connection closed by {A} port 40000", f"Connection closed by {A} port 40000") == [("noise", "", A, 1)]
    assert counted("Bad packet length 1349676916. [preauth]", f"ssh_dispatch_run_fatal: Connection from {A} port 40000: Broken pipe") == [
        ("noise", "", A, 1)
    ]


def test_lines_of_the_listener_belong_to_no_connection() -> None:
    penalty = f"drop connection #0 from [{A}]:40000 on [198.51.100.1]:22 penalty: failed authentication"
    late = "Timeout before authentication for connection from {} to 198.51.100.1, pid = 7"
    assert counted(penalty, penalty.replace(A, B), late.format(A), late.format(B)) == [
        ("penalty", "", A, 1), ("penalty", "", B, 1), ("noise", "", A, 1), ("noise", "", B, 1),
    ]  # fmt: skip


def test_an_address_that_differs_blames_nobody_and_is_counted() -> None:
    connections = Connections()
    assert counted(FAILED, FAILED.replace(A, B), CLOSED.replace(A, B), into=connections) == [ROOT]
    assert connections.mismatched == 2


def test_what_is_unclear_blames_nobody_and_is_counted() -> None:
    connections = Connections()
    assert counted("Failed password for root from host.example.net port 5 ssh2", into=connections) == []
    assert connections.unclear == 1


def test_a_process_number_that_comes_again_is_another_connection() -> None:
    other = FAILED.replace(A, B)
    assert counted((FAILED, "0s"), (CLOSED, "1s"), (other, "1s")) == [ROOT, ("failed", "root", B, 1)], "it was over"
    assert counted((FAILED, "0s"), (other, f"{int(FORGOTTEN_AFTER) + 1}s")) == [ROOT, ("failed", "root", B, 1)], "long ago"
    begins = f"Connection from {B} port 5 on 198.51.100.1 port 22"
    assert counted(FAILED, begins, other) == [ROOT, ("failed", "root", B, 1)], "sshd says so"
    assert counted(FAILED, FAILED.replace("40000", "40001")) == [ROOT, ROOT], "another port"
    assert counted((CLOSED, "0s"), (PAM, "1s")) == [("unsure", "root", A, 1), ROOT], "PAM sums up"
    assert counted((CLOSED, "0s"), (PAM, "5s")) == [("unsure", "root", A, 1), ROOT], "too late for a summary"


def test_refusals_are_one_guess_each() -> None:
    for line in (f"User root from {A} not allowed because not listed in AllowUsers", f"ROOT LOGIN REFUSED FROM {A} port 40000",
                 f"administratively prohibited connection for root from {A} port 40000"):  # fmt: skip
        assert counted(line, CLOSED) == [ROOT]
    locked = "User root not allowed because account is locked"
    assert counted(locked) == []
    assert counted(locked, CLOSED) == [ROOT], "the address comes later"


def test_the_youngest_are_kept_and_what_is_given_up_is_counted() -> None:
    connections = Connections(most=10)
    for pid in range(25):
        counted((FAILED, "0s", pid), into=connections)
    assert (len(connections), connections.forgotten) == (10, 15)
    assert counted((FAILED, "0s", 24), into=connections) == [ROOT]
    for pid in range(100, 200):  # these are over: forgetting them loses nothing
        counted((FAILED, "1s", pid), (CLOSED, "1s", pid), into=connections)
    assert (len(connections), connections.forgotten) == (10, 25)


def test_a_restart_in_the_middle_counts_no_guess_twice() -> None:
    before, after = Connections(), Connections()
    assert counted(PAM, FAILED, into=before) == [ROOT]
    after.restore(before.snapshot())
    assert counted(CLOSED, into=after) == []
    for pid in range(1000):
        counted((FAILED, "0s", pid), into=before)
    assert len(before.snapshot()) == KEPT_OVER


@pytest.mark.parametrize("rows", [[[1]], [["x"] * 10], [None], [[1, "nobody", 0, 0, 0, 0, 0, 0, 0, 0]]])
def test_what_is_no_snapshot_is_refused(rows: list[list[object]]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Connections().restore(rows)


# -- PAM in a child, hosts, accounts, silence

KBD = f"Failed keyboard-interactive/pam for root from {A} port 40000 ssh2"
ASKED = f"error: PAM: Authentication failure for root from {A}"


def conversation(parent: int, child: int, at: int, address: str = A) -> list[tuple[str, str, int]]:
    return [(m.replace(A, address), f"{at}s", pid) for m, pid in ((PAM, child), (ASKED, parent), (KBD, parent))]


def test_a_conversation_with_pam_is_one_guess_though_two_processes_tell_of_it() -> None:
    assert counted(*conversation(100, 101, 0), *conversation(100, 102, 3), *conversation(100, 103, 6), (CLOSED, "9s", 100)) == [ROOT] * 3
    crossed = conversation(100, 101, 0)
    assert counted(crossed[1], crossed[2], crossed[0]) == [ROOT], "in another order"
    assert counted(crossed[0], crossed[1]) == [ROOT], "at INFO sshd's last line is missing"


def test_a_conversation_about_a_name_that_does_not_exist_counts_no_more() -> None:
    """ "Invalid user" has told of the first guess already; PAM's line of the child bears no name."""
    invalid = f"Invalid user admin from {A} port 40000"
    module = PAM.partition("  user=")[0] + " "
    asked = f"error: PAM: User not known to the underlying authentication module for illegal user admin from {A}"
    failed = f"Failed keyboard-interactive/pam for invalid user admin from {A} port 40000 ssh2"
    lines = [(invalid, "0s", 100)]
    for n in range(3):
        lines += [(module, f"{n}s", 101 + n), (asked, f"{n}s", 100), (failed, f"{n}s", 100)]
    assert counted(*lines) == [("failed", "admin", A, 1)] * 3


def test_two_people_behind_one_address_are_two() -> None:
    both = [line for n in range(3) for line in (*conversation(100, 110 + n, n), *conversation(200, 210 + n, n))]
    assert counted(*both) == [ROOT] * 6


def test_joining_hides_no_guess_of_another_way() -> None:
    password = [(PAM, "1s", 300), (FAILED, "3s", 300)]
    assert counted(*conversation(100, 101, 0), *password, *conversation(100, 102, 4)) == [ROOT] * 3
    assert counted((PAM, "0s", 101), (PAM, "0s", 102), (ASKED, "1s", 100)) == [ROOT, ROOT], "a child whose parent says nothing counts"


def test_with_names_in_place_of_addresses_the_connections_other_lines_tell() -> None:
    named = [line.replace(A, "host.example.net") for line in (PAM, ASKED)]
    assert counted(f"Connection from {A} port 40000 on 198.51.100.1 port 22", *named, CLOSED) == [ROOT]
    assert counted((named[0], "0s", 101), (named[1], "0s", 100), (KBD, "0s", 100)) == [ROOT]
    assert counted(*named) == [], "nobody can be blamed"


def test_what_a_directory_accepts_was_no_guess() -> None:
    accepted = f"Accepted password for root from {A} port 40000 ssh2"
    assert counted((PAM, "0s"), (accepted, "0s"), (f"Disconnected from user root {A} port 40000", "60s")) == [("succeeded", "root", A, 1)]
    talked = f"Accepted keyboard-interactive/pam for root from {A} port 40000 ssh2"
    assert counted((PAM, "0s", 101), (talked, "0s", 100)) == [("succeeded", "root", A, 1)]


def test_a_right_password_that_the_account_refuses_is_taken_back_or_never_told() -> None:
    denied = "fatal: Access denied for user root by PAM account configuration [preauth]"
    assert counted(FAILED, denied) == [ROOT, ("excused", "root", A, 1)]
    over = "pam_unix(sshd:account): account root has expired (account expired)"
    assert counted((over, "0s", 101), (KBD, "0s", 100)) == []
    assert counted(over, FAILED, denied) == []
    asked = f"error: PAM: User account has expired for root from {A}"
    assert counted((asked, "0s"), (KBD, "0s")) == []
    assert counted((over, "0s", 101), (CLOSED, "0s", 100)) == [], "all that is said of it at INFO over keyboard-interactive"
    assert counted((over, "0s", 101), (CLOSED, "9s", 100)) == [("unsure", "root", A, 1)], "that was long ago"
    assert counted((over, "0s", 101), (KBD, "9s", 100)) == [ROOT], "that was long ago"
    assert counted((over, "0s", 101), (KBD.replace("root", "anna"), "0s", 100)) == [("failed", "anna", A, 1)], "another's"


def test_keys_count_when_no_line_tells_of_the_end() -> None:
    begins = f"Connection from {A} port 40000 on 198.51.100.1 port 22"
    assert counted((begins, "0s"), (KEY, "0s"), (FAILED.replace(A, B), "1800s", 7)) == [ROOT, ("failed", "root", B, 1)]
    assert counted((KEY, "0s"), (ACCEPTED, "1s")) == [("succeeded", "anna", A, 1)]


def test_a_process_number_that_comes_again_after_a_silent_end_is_another_connection() -> None:
    other = FAILED.replace(A, B).replace("40000", "41000")
    assert counted((FAILED, "0s"), (other, "40s"), (other, "42s")) == [ROOT, ("failed", "root", B, 1), ("failed", "root", B, 1)]


def test_hosts_that_share_a_log_have_their_own_processes() -> None:
    connections = Connections()
    found = []
    for n in range(3):
        for host, address in (("web1", A), ("web2", B)):
            one = connections.take(event(FAILED.replace(A, address), f"{n}s")._replace(host=host))
            assert one is not None
            found.append(str(one.address))
    assert (found, connections.mismatched) == ([A, B] * 3, 0)


def test_a_log_without_process_numbers_is_joined_by_address_and_port() -> None:
    lines = [(PAM, "0s", 0), (FAILED, "2s", 0), (CLOSED, "3s", 0)]
    assert counted(*lines) == [ROOT]
    assert counted(*lines, *[(m.replace(A, B), w, p) for m, w, p in lines]) == [ROOT, ("failed", "root", B, 1)]


def test_an_agent_with_too_many_keys_is_a_persons_tool() -> None:
    assert counted(KEY, KEY, TOO_MANY, DISCONNECTING) == [("unsure", "root", A, 1)]
    assert counted(FAILED, FAILED, TOO_MANY, DISCONNECTING) == [ROOT, ROOT]


def test_a_change_of_name_is_a_guess_with_and_without_an_address() -> None:
    changed = "Change of username or service not allowed: (root,ssh-connection) -> (admin,ssh-connection) [preauth]"
    assert counted(f"Disconnecting authenticating user root {A} port 40000: {changed}") == [ROOT]
    assert counted(f"Connection from {A} port 40000 on 198.51.100.1 port 22", f"Disconnecting: {changed}") == [("failed", "", A, 1)]


def test_the_listener_names_the_process_whose_time_was_over() -> None:
    late = f"Timeout before authentication for connection from {A} to 198.51.100.1, pid = 100"
    assert counted((KEY, "0s", 100), (late, "120s", 5)) == [ROOT]
    assert counted((f"Connection from {A} port 40000 on 198.51.100.1 port 22", "0s", 100), (late, "120s", 5)) == [("noise", "", A, 1)]


def test_sshds_penalty_counts_by_its_reason() -> None:
    monitor = f"drop connection #0 from [{A}]:40000 on [198.51.100.1]:22 penalty: connections without attempting authentication"
    assert counted(monitor, monitor) == []
    told = f"srclimit_penalise: ipv4: new {A}/32 active penalty of 1.000 seconds for penalty: "
    assert counted(f"{told}connections without attempting authentication") == []
    assert counted(f"{told}failed authentication") == [("penalty", "", A, 1)]


def test_ssh_keyscan_has_only_connected() -> None:
    assert counted(f"Unable to negotiate with {A} port 40000: no matching host key type found. Their offer: ssh-dss [preauth]") == []
    other = f"Unable to negotiate with {A} port 40000: no matching cipher found. Their offer: 3des-cbc [preauth]"
    assert counted(other) == [("noise", "", A, 1)]


def test_a_wrong_guess_before_a_refused_account_counts() -> None:
    over = "pam_unix(sshd:account): account root has expired (account expired)"
    denied = "fatal: Access denied for user root by PAM account configuration [preauth]"
    assert counted(FAILED, over, FAILED, denied) == [ROOT]


def test_hosts_do_not_take_each_others_lines() -> None:
    """Two hosts in one log, one name, one address: a conversation here, a module that speaks alone there."""
    connections = Connections()
    made = [connections.take(event(m, "0s", pid)._replace(host=host)) for host, m, pid in (("web1", PAM, 7), ("web2", ASKED, 8))]
    made += connections.due(inf)
    assert sum(one.times for one in made if one is not None) == 2


def test_nothing_that_waits_is_lost_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quietgate.sshlog.held.MOST", 10)
    monkeypatch.setattr("quietgate.sshlog.attempts.MOST_KEYS", 10)
    connections = Connections()
    made: list[Attempt | None] = []
    for n in range(100):
        for message, pid in ((PAM, n), (KEY, 1000 + n)):
            one = event(message, "0s", pid)
            if one.at >= connections.next_due:
                made += connections.due(one.at)
            made.append(connections.take(one))
    made += connections.due(inf)
    assert sum(one.times for one in made if one is not None) == 200
