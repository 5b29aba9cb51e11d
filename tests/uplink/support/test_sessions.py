"""What happens in a session: recorded before it is shown, watched, ended at once, and nothing is left of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.uplink.support.words import CHANGING, LOOKING
from tests.uplink.support.rig import Rig, arguments, halls, processes, read_until, say

LONG = f"86399.{os.getpid()}"  # an argument of sleep that nobody else has


def cast_of(rig: Rig, ticket: str, number: int = 1) -> Path:
    return rig.folder / "support" / "tickets" / ticket / f"{number:03}.cast"


def shown_in(path: Path) -> str:
    return "".join(text for _, kind, text in map(json.loads, path.read_text().splitlines()[1:]) if kind == "o")


def test_the_recording_is_what_was_shown_and_the_ledger_has_its_sum(rig: Rig) -> None:
    with rig.ticket("configure") as ticket:
        with rig.shell(ticket) as person:
            seen = read_until(person, b"pbxd> ")
            say(person, "livee\x7f")
            seen += read_until(person, b"pbxd> ")
            say(person, "exit")
            assert person.stdout is not None
            seen += person.stdout.read()
            assert person.wait(60) == 0
        wait_until(lambda: bool(rig.events(ticket, "end")), "the session's end")
        path = cast_of(rig, ticket)
        (end,) = rig.events(ticket, "end")
        assert end["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert end["bytes"] == path.stat().st_size
        header = json.loads(path.read_text().splitlines()[0])
        assert header["version"] == 2
        assert header["title"].startswith(f"zoe, ticket {ticket}")
        assert shown_in(path) == seen.decode()
        done = rig.pbxd.ctl("support", "replay", ticket, "1", "--speed", "0")
        assert "calls 0" in done.stdout
        kept = rig.folder / "kept.cast"
        assert rig.pbxd.ctl("support", "replay", ticket, "1", "-o", str(kept)).returncode == 0
        assert kept.read_bytes() == path.read_bytes()
        assert kept.stat().st_mode & 0o777 == 0o600
        told = rig.ledger()
        assert [line["event"] for line in told[-2:]] == ["support-begin", "support-end"]
        assert told[-1]["sha256"] == end["sha256"]


def test_no_word_tells_who_called(rig: Rig, journals: Path) -> None:
    rig.pbxd.append(journals / "inbound.csv", journals / "queue.csv")
    wait_until(lambda: rig.ask("/v1/status")["store"]["calls"] >= 2, "both calls")
    told = rig.pbxd.ctl("calls", "list").stdout
    assert "4930123" in told
    with rig.ticket("configure") as ticket:
        rig.certify(ticket)
        text = "".join(f"{word}\n" for word in {**LOOKING, **CHANGING} if word not in ("exit", "propose"))
        words = rig.ssh_words(ticket, "-T", "")[:-1]
        done = subprocess.run(words, capture_output=True, text=True, check=False, input=text, timeout=60)
        assert "pbxd_calls" in done.stdout
        for canary in ("4930123", "Zoë", "Outside", "555117"):
            assert canary not in done.stdout


def test_lines_may_come_without_a_terminal_and_at_once(rig: Rig) -> None:
    with rig.ticket() as ticket:
        rig.certify(ticket)
        words = rig.ssh_words(ticket, "-T", "")[:-1]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, input="live\nnonsense\nlive", timeout=60
        )
        assert done.returncode == 0, done
        assert [line.partition(",")[0].partition(":")[0] for line in done.stdout.splitlines()] == [
            "calls 0",
            "nonsense",
            "calls 0",
        ]


def test_what_is_typed_ahead_reaches_the_shell_and_its_end_ends_it(rig: Rig) -> None:
    for text, status in (("echo canary-$((40+2))\nexit 5\n", 5), ("echo canary-$((40+2))\n", 0)):
        with rig.ticket("shell") as ticket:
            rig.certify(ticket)
            words = rig.ssh_words(ticket, "-tt", "")[:-1]
            done = subprocess.run(words, capture_output=True, text=True, check=False, input=text, timeout=60)
            assert "canary-42" in done.stdout, done
            assert done.returncode == status
            lines = map(json.loads, cast_of(rig, ticket).read_text().splitlines()[1:])
            assert "echo canary" in "".join(typed for _, kind, typed in lines if kind == "i")


def test_what_is_typed_ahead_reaches_the_prompt(rig: Rig) -> None:
    with rig.ticket("diagnose") as ticket:
        rig.certify(ticket)
        words = rig.ssh_words(ticket, "-tt", "")[:-1]
        done = subprocess.run(words, capture_output=True, text=True, check=False, input="live\n", timeout=60)
        assert done.returncode == 0, done
        assert "calls 0" in done.stdout


def test_each_piece_is_on_the_disk_before_it_is_shown(rig: Rig, tmp_path: Path) -> None:
    with rig.ticket() as ticket:
        (pid,) = halls()
        trace = tmp_path / "trace"
        words = [
            "strace",
            "-f",
            "-p",
            str(pid),
            "-o",
            str(trace),
            "-e",
            "trace=write,fdatasync,sendto,sendmsg",
            "-s",
            "80",
        ]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            assert "attached" in strace.stderr.readline()
            assert rig.visit(ticket, "metrics").returncode == 0
            wait_until(lambda: bool(rig.events(ticket, "end")), "the session's end")
            strace.send_signal(signal.SIGINT)
            strace.wait(60)
        calls = [line.partition(" ")[2].strip() for line in trace.read_text().splitlines()]
        (written,) = [n for n, call in enumerate(calls) if re.match(r'write\(\d+, "\[[0-9.]+, \\"o\\"', call)]
        number = calls[written].partition("(")[2].partition(",")[0]
        assert calls[written + 1].startswith(f"fdatasync({number})")
        sent = [n for n, call in enumerate(calls) if call.startswith(("sendto(", "sendmsg("))]
        large = [
            n for n in sent if int(calls[n].rpartition("=")[2]) > 4000
        ]  # what was shown; the rest is the protocol's
        assert large
        assert min(large) > written + 1


def test_an_end_leaves_no_process_and_no_socket(rig: Rig) -> None:
    with rig.ticket("shell") as ticket, rig.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        say(
            person,
            f"(setsid sleep {LONG} >/dev/null 2>&1 &) ; sleep {LONG} & env -i setsid -f sleep {LONG}; sleep {LONG}",
        )
        wait_until(lambda: len(processes(LONG)) == 4, "four processes")
        done = rig.pbxd.ctl("support", "end")
        assert done.returncode == 0, done.stderr
        assert processes(LONG) == []
        assert halls() == []
        assert not rig.socket.exists()
        assert person.wait(60) == 255
        assert rig.events(ticket, "end")[-1]["why"].startswith("the ticket ended: by ")


@pytest.mark.parametrize("change", ["allow_shell: false", "allow_shell: true, enabled: false", "off"])
def test_what_the_customer_switches_ends_an_open_shell_at_once(rig: Rig, change: str) -> None:
    """No process is left when the reload is answered; after `pbxctl uplink off`, soon. The ledger and the ticket say why."""
    with rig.ticket("shell") as ticket, rig.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        say(person, f"setsid sleep {LONG} >/dev/null 2>&1 & sleep {LONG}")
        wait_until(lambda: len(processes(LONG)) == 2, "two processes")
        if change == "off":
            rig.ask("/v1/uplink/off", "POST")
            wait_until(lambda: rig.shown(ticket)["state"] == "ended", "the ticket's end")
            check_ended(rig, ticket, "pbxctl uplink off")
            refused = rig.pbxd.ctl_here("support", "open", "--scope", "diagnose", "--reason", "request", "--yes")
            assert "nobody could come in: the uplink is off" in refused.stderr
            rig.ask("/v1/uplink/on", "POST")
        else:
            with rig.configured("allow_shell: true", change):
                check_ended(rig, ticket, change.rpartition(" ")[0].rpartition(" ")[2].rstrip(":"))
        assert person.wait(60) == 255


def check_ended(rig: Rig, ticket: str, why: str) -> None:
    assert processes(LONG) == halls() == []
    assert not rig.socket.exists()
    assert rig.shown(ticket)["state"] == "ended"
    assert why in rig.shown(ticket)["why"]
    assert why in rig.events(ticket, "ended")[-1]["why"]
    (end,) = [line for line in rig.ledger() if line["event"] == "support-end" and line["ticket"] == ticket]
    assert why in end["why"]


def test_a_shell_that_ends_takes_what_it_started_with_it(rig: Rig) -> None:
    with rig.ticket("shell") as ticket, rig.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        say(person, f"setsid -f sleep {LONG}; exit 3")
        assert person.wait(60) == 3
        wait_until(lambda: bool(rig.events(ticket, "end")), "the session's end")
        assert processes(LONG) == []


@pytest.fixture
def watcher(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(rig.folder / "control.sock"), "support", "watch"]
    variables = environment() | {"PYTHONUNBUFFERED": "1"}
    with rig.ticket("configure"), subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=variables) as process:
        yield process
        process.kill()


def test_the_customer_sees_what_they_see(rig: Rig, watcher: subprocess.Popen[str]) -> None:
    ticket = rig.ask("/v1/status")["support"]["ticket"]
    assert rig.visit(ticket, "live").stdout.startswith("calls 0")
    assert watcher.stdout is not None
    seen = ""
    while "calls 0" not in seen:
        line = watcher.stdout.readline()
        assert line
        seen += line
    assert "session 1" in seen
    rig.ask(f"/v1/support/{ticket}/end", "POST")
    assert "the ticket has ended" in watcher.stdout.read()
    assert watcher.wait(60) == 0


def test_a_killed_process_takes_its_sessions_with_it_and_the_ticket_goes_on(rig: Rig) -> None:
    with rig.ticket("shell") as ticket:
        with rig.shell(ticket) as person:
            read_until(person, b"COMMUNICATIONS")
            say(person, f"setsid -f sleep {LONG}; sleep {LONG}")
            wait_until(lambda: len(processes(LONG)) == 2, "two processes")
            (pid,) = halls()
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not processes(LONG), "what the session started to be gone")
        wait_until(lambda: halls() not in ([], [pid]) and rig.socket.exists(), "another process")
        wait_until(lambda: bool(rig.events(ticket, "end")), "the session's end in the log")
        rig.certify(ticket)
        wait_until(lambda: rig.ask("/v1/status")["support"]["listening"], "it to listen")
        with rig.shell(ticket) as person:
            read_until(person, b"COMMUNICATIONS")


def test_a_killed_pbxd_leaves_no_session_and_an_open_ticket_is_open_again(rig: Rig) -> None:
    with rig.ticket("shell") as ticket:
        with rig.shell(ticket) as person:
            read_until(person, b"COMMUNICATIONS")
            say(person, f"setsid -f sleep {LONG}; sleep {LONG}")
            wait_until(lambda: len(processes(LONG)) == 2, "two processes")
            (hall,) = halls()
            rig.pbxd.kill()
            wait_until(lambda: not processes(LONG) and not arguments(hall), "everything to be gone")
        rig.pbxd.start()
        wait_until(lambda: rig.ask("/v1/status")["support"]["listening"], "it to listen again")
        assert rig.shown(ticket)["state"] == "open"
        end = rig.events(ticket, "end")[-1]
        assert end["why"] == "pbxd stopped"
        assert end["sha256"] == hashlib.sha256(cast_of(rig, ticket).read_bytes()).hexdigest()


def test_the_clock_of_a_ticket_cannot_be_stretched(rig: Rig) -> None:
    for words in (["--for", "9h"], ["--for", "0h"], ["--for", "soon"]):
        assert rig.pbxd.ctl("support", "open", "--scope", "diagnose", "--reason", "request", *words).returncode == 1
    done = rig.pbxd.ctl("support", "open", "--scope", "diagnose", "--reason", "curiosity")
    assert "the reasons are request" in done.stderr


def test_the_end_of_its_time_ends_a_session(rig: Rig) -> None:
    for length in ("5s", "30s", "300s"):  # a slow machine may take longer than the first to listen
        done = rig.pbxd.ctl("support", "open", "--scope", "shell", "--reason", "request", "--yes", "--for", length)
        if done.returncode == 0:
            break
    ticket = rig.ask("/v1/support")["tickets"][-1]["id"]
    with rig.shell(ticket) as person:
        assert person.wait(310) == 255
    wait_until(lambda: bool(rig.events(ticket, "ended")), "the ticket's end in its log")
    assert rig.shown(ticket)["state"] == "expired"
    assert not rig.socket.exists()
    assert not halls()
