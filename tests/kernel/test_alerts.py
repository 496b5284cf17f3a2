"""A message only when a person must act: real guesses, a real login, a real mail server and a real receiver of webhooks."""

from __future__ import annotations

import json
import time

import pytest

from quietgate.guard.engine import STILL_HEARD
from quietgate.host.senders import signature
from tests.kernel.guarded import Guarded, guarded
from tests.kernel.lab import Pair, wait_for
from tests.kernel.people import ADMIN, log_in, logged_in
from tests.kernel.receivers import HTTP, SMTP, MailServer, Receiver

SECRET = "a-secret-of-twenty-characters"
# Who guesses slowly is what this is about: he must not be banned first.
SLOW = """[ssh]
limit = "30 per 1m"
[guard]
detect.burst = "off"
detect.slow = "off"
detect.root = "off"
detect.names = "off"
"""
WEB = f"""
[[alerts.route]]
to = "webhook"
url = "http://127.0.0.1:{HTTP}/hook?a=b"
secret = "file:/etc/quietgate/hook.key"
severity = "all"
"""
MAIL = f"""
[[alerts.route]]
to = "mail"
url = "smtp://127.0.0.1:{SMTP}/ops@example.net"
severity = "all"
"""
YES = ("PermitRootLogin yes",)


def keep_secret(pair: Pair) -> None:
    key = pair.root / "etc/quietgate/hook.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text(SECRET + "\n")
    key.chmod(0o600)


def guesses(g: Guarded, count: int, source: str = ADMIN) -> None:
    """So many wrong passwords, three over each connection."""
    for n in range(0, count, 3):
        g.guess(source, "root", min(3, count - n))
    wait_for(lambda: json.loads(g.pair.quietgate("why", source, "--json"))["history"].__len__() >= count, "all are recorded", 10)


def written(pair: Pair, line: str) -> None:
    """A line of an sshd's, as any user of the host can write it."""
    pair.server.sh("logger", "-u", str(pair.root / "syslog/log"), "-t", "sshd[4711]", "-p", "authpriv.info", "--", line)


def recorded(pair: Pair, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in pair.quietgate("alerts", "--json", *words).splitlines()]


def test_a_break_in_is_told_by_web_and_by_mail_within_a_second_with_what_showed_it(pair: Pair) -> None:
    web, mail = Receiver(pair), MailServer(pair)
    web.start()
    mail.start()
    keep_secret(pair)
    with guarded(pair, *YES, policy=SLOW + WEB + MAIL) as g:
        guesses(g, 10)
        assert recorded(pair, "--all") == [], "guesses are no news"
        with logged_in(g.sshd):
            begin = time.monotonic()
            wait_for(lambda: recorded(pair), "it is recorded", 5)
            wait_for(lambda: web.got and mail.got, "both have it", 10)
            assert time.monotonic() - begin < 5
        (one,) = web.got
        message = json.loads(one["body"])
        (alert,) = message["alerts"]
        assert (alert["topic"], alert["severity"], alert["subject"]) == ("break_in", "page", ADMIN)
        assert alert["what"] == f"root logged in from {ADMIN}, which had guessed passwords here"
        assert alert["evidence"][0].startswith(f"10 failed attempts from {ADMIN} between ")
        assert alert["next"] == f"quietgate ban --evict {ADMIN}"
        assert one["headers"]["X-Quietgate-Signature"] == signature(SECRET, one["body"].encode())
        assert one["path"] == "/hook?a=b"
        assert alert["last"] <= message["sent"] < alert["last"] + 2.0, "a second, and the second of the log's stamp"
        (letter,) = mail.got
        assert letter["To"] == "ops@example.net"
        assert f"root logged in from {ADMIN}" in letter["Subject"]
        assert f"next      quietgate ban --evict {ADMIN}" in letter.get_payload()
        assert (letter["X-RcptTo"] or "ops@example.net") == "ops@example.net"
        time.sleep(1)
        with logged_in(g.sshd):
            time.sleep(2)
        assert len(web.got) == 1, "the second login is from a known source"
        # the command that the message names does what it says
        pair.quietgate("ban", "--evict", ADMIN)
        assert not log_in(g.sshd)


def test_three_mistypes_and_a_login_are_silence(pair: Pair) -> None:
    web = Receiver(pair)
    web.start()
    keep_secret(pair)
    with guarded(pair, *YES, policy=SLOW + WEB) as g:
        guesses(g, 3)
        with logged_in(g.sshd):
            wait_for(lambda: ADMIN in pair.server.sh("nft", "list", "set", "inet", "quietgate", "known4_32"), "he is known", 5)
        assert recorded(pair, "--all") == []
        assert web.got == []


def test_a_login_that_only_a_file_tells_of_is_told_with_that_and_earns_nothing(pair: Pair) -> None:
    """A session that is over at once leaves nothing else where the guard reads a file; so does a line that anybody here writes."""
    with guarded(pair, *YES, policy=SLOW):
        for n in range(10):
            written(pair, f"Failed password for root from {ADMIN} port {4000 + n} ssh2")
        written(pair, f"Accepted password for root from {ADMIN} port 4711 ssh2")
        wait_for(lambda: recorded(pair), "it is recorded", 10)
        (one,) = recorded(pair)
        assert (one["topic"], one["subject"]) == ("break_in", ADMIN)
        assert "or a user of this host wrote that line" in str(one["evidence"])
        for name in ("known4_32", "floor4_32"):
            assert ADMIN not in pair.server.sh("nft", "list", "set", "inet", "quietgate", name)


def test_a_receiver_that_never_answers_keeps_no_guard_from_stopping(pair: Pair) -> None:
    """A restart would be a time without a guard otherwise."""
    web = Receiver(pair)
    web.start("hang")
    keep_secret(pair)
    with guarded(pair, *YES, policy=SLOW + WEB) as g:
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: pair.server.sh("ss", "-Htn", "state", "established", f"dport = :{HTTP}"), "it is being sent", 10)
        begin = time.monotonic()
        g.stop()
        assert time.monotonic() - begin < 5
        assert recorded(pair)[0]["subject"] == "table"


@pytest.mark.parametrize("away", [2, pytest.param(60, marks=pytest.mark.long)])
def test_what_nobody_could_receive_is_delivered_once_when_somebody_can_over_a_restart(pair: Pair, away: int) -> None:
    web = Receiver(pair)
    keep_secret(pair)
    with guarded(pair, *YES, policy=SLOW + WEB) as g:
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: recorded(pair), "it is recorded", 5)
        wait_for(lambda: "refused" in pair.quietgate("alerts"), "it is said that it does not arrive", 10)
        g.stop(9)
        g.start()
        time.sleep(away)
        web.start()
        wait_for(lambda: web.got, "it arrives", 60)
        time.sleep(3)
        assert len(web.got) == 1
        assert web.messages[0]["alerts"][0]["subject"] == "table"
        assert web.messages[0]["alerts"][0]["done"].startswith("generation 1 was put back")
        wait_for(lambda: "refused" not in pair.quietgate("alerts"), "nothing waits", 5)


@pytest.mark.long
def test_a_dead_route_holds_nobody_up(pair: Pair) -> None:
    """A mail server that takes the connection and says nothing; the webhook has its message at once, and the guard bans."""
    web = Receiver(pair)
    web.start()
    keep_secret(pair)
    silent = pair.start(pair.server, "python3", "-c",
                        f"import socket,time; s=socket.create_server(('127.0.0.1',{SMTP})); time.sleep(600)")  # fmt: skip
    wait_for(lambda: pair.server.sh("ss", "-Htln", f"sport = :{SMTP}"), "it listens", 10)
    with guarded(pair, *YES, policy='[ssh]\nlimit = "30 per 1m"\n' + MAIL + WEB) as g:
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: web.got, "the webhook has it", 5)
        g.guess("198.19.66.6", "root", 3)
        g.guess("198.19.66.6", "root", 2)
        wait_for(lambda: g.banned("198.19.66.6"), "the guard bans", 3)
        status = g.status()
        assert status is not None
        assert status["alerts"]["waiting"] == 1
    silent.kill()


@pytest.mark.long
def test_acknowledged_is_told_no_more_and_the_record_stays(pair: Pair) -> None:
    with guarded(pair, *YES, policy=SLOW) as g:
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: recorded(pair), "it is recorded without any route", 5)
        number = recorded(pair)[0]["id"]
        assert "next: quietgate doctor" in pair.quietgate("alerts")
        assert "1 alert acknowledged" in pair.quietgate("alerts", "ack", str(number))
        assert recorded(pair) == []
        assert recorded(pair, "--all")[0]["acknowledged"] is True
        assert "nothing wants you" in pair.quietgate("alerts")
        assert "there is no alert 99" in pair.quietgate("alerts", "ack", "99", expect=2)
        assert "which ones?" in pair.quietgate("alerts", "ack", expect=2)
        pair.server.nft("flush ruleset\n")
        wait_for(lambda: recorded(pair, "--all")[0]["count"] == 2, "it is counted", 5)
        assert recorded(pair) == []
        assert g.status() is not None


@pytest.mark.long
def test_the_test_says_of_each_route_what_came_of_it(pair: Pair) -> None:
    web = Receiver(pair)
    web.start()
    with guarded(pair, policy=WEB + MAIL, start=False):
        said = pair.quietgate("alerts", "test", expect=1)
        assert "hook.key: No such file or directory" in said
        keep_secret(pair)
        said = pair.quietgate("alerts", "test", expect=3)
        assert "webhook (" in said
        assert "it arrived" in said
        assert "mail (" in said
        assert "Connection refused" in said
        assert web.messages[0]["test"] is True
        (pair.root / "etc/quietgate/hook.key").chmod(0o644)
        assert "others than root may read" in pair.quietgate("alerts", "test", expect=1)
        assert SECRET not in said
        web.stop()
        web.start(500)
        (pair.root / "etc/quietgate/hook.key").chmod(0o600)
        assert "the receiver answers 500" in pair.quietgate("alerts", "test", expect=1)
        web.stop()
        web.start(302)
        assert "a redirection, which is not followed" in pair.quietgate("alerts", "test", expect=1)
    pair.up("")
    assert "no route" in pair.quietgate("alerts", "test", expect=2)


def test_the_local_mail_server_and_apprise(pair: Pair) -> None:
    web, mail = Receiver(pair), MailServer(pair)
    web.start()
    mail.start(25)
    url = pair.root / "etc/quietgate/apprise.url"
    with guarded(pair, policy='[[alerts.route]]\nto = "mail"\nurl = "ops@example.net"\n'
                 '[[alerts.route]]\nto = "apprise"\nsecret = "file:/etc/quietgate/apprise.url"\n', start=False):  # fmt: skip
        url.write_text(f"json://127.0.0.1:{HTTP}/hidden-token\n")
        url.chmod(0o600)
        said = pair.quietgate("alerts", "test")
        assert said.count("it arrived") == 2
        assert "hidden-token" not in said
        assert mail.got[0]["Subject"].endswith("test: this is a test of the way, and nothing happened")
        assert web.got[0]["path"] == "/hidden-token"
        assert "this is a test" in web.messages[0]["message"]


@pytest.mark.long
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_trial_that_nobody_confirmed_is_told(pair: Pair, confirmed: bool) -> None:
    with guarded(pair, policy='[lockout]\ntrial = "10s"\n'):
        pair.policy('[lockout]\ntrial = "10s"\n[ssh]\nlimit = "8 per 1m"\n')
        pair.quietgate("up", "--detach")
        if confirmed:
            pair.quietgate("confirm")
            time.sleep(13)
            assert recorded(pair, "--all") == []
            return
        wait_for(lambda: recorded(pair), "it is told", 16)
        (one,) = recorded(pair)
        assert (one["topic"], one["severity"]) == ("reverted", "warn")
        assert one["what"] == "nobody confirmed generation 2, so it is out of force"
        assert one["evidence"] == ["now: generation 1 is in force"]


@pytest.mark.long
def test_an_element_that_somebody_took_out_is_put_back_when_its_source_is_heard(pair: Pair) -> None:
    """After three minutes, when no connection of before the ban can go on any more."""
    with guarded(pair, *YES, policy='[ssh]\nlimit = "30 per 1m"\n') as g:
        # The watch of the table looks at the ban that was made first and at the one that lasts longest.
        for source, length in (("198.19.66.5", "10d"), ("198.19.66.6", "1d"), ("198.19.66.7", "20d")):
            pair.quietgate("ban", source, "--scope", "ssh", "--for", length)
        pair.server.sh("nft", "delete", "element", "inet", "quietgate", "ban_ssh4_32", "{ 198.19.66.6 }")
        assert not g.banned("198.19.66.6")
        # the guard learns of the ban when it would make one
        g.guess("198.19.66.6", "root", 3)
        g.guess("198.19.66.6", "root", 3)
        time.sleep(STILL_HEARD + 1)
        g.guess("198.19.66.6", "root", 1)
        wait_for(lambda: g.banned("198.19.66.6"), "it is back", 3)
        assert "198.19.66.6 was not in the kernel any more, and was put back" in (pair.root / "guard.err").read_text()
