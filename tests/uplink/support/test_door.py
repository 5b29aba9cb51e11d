"""Who is let in, with OpenSSH's own client and certificates of ssh-keygen; and what of SSH is refused to who is in."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from tests.uplink.support.rig import BOX, Key, Rig, halls, read_until, say


def test_without_a_ticket_nobody_listens(rig: Rig) -> None:
    assert not rig.socket.exists()
    assert not halls()
    assert rig.ssh("0" * 16, "status").returncode == 255


def test_every_wrong_certificate_is_refused_with_its_own_message(rig: Rig, tmp_path: Path) -> None:
    ended = rig.open()
    rig.pbxd.ctl("support", "end", ended)
    over = rig.open_briefly()
    wait_until(
        lambda: rig.shown(over)["state"] == "expired" and not rig.socket.exists(), "the ticket's time to be over"
    )
    with rig.ticket() as ticket:
        tries: list[tuple[str, str, dict[str, object]]] = [
            ("other-ca", ticket, {"authority": Key(tmp_path / "other")}),
            ("expired", ticket, {"valid": "-2h:-1h"}),
            ("not-yet-valid", ticket, {"valid": "+1h:+2h"}),
            ("clock", ticket, {"valid": "-52w:-51w"}),
            ("clock", ticket, {"valid": "+52w:+53w"}),
            ("long-lived", ticket, {"valid": "-1h:+52w"}),
            ("ticket-ended", ended, {}),
            ("ticket-expired", over, {}),
            ("unknown-ticket", "c" * 16, {}),
            ("principal", ticket, {"principals": ""}),
            ("principal", ticket, {"principals": "root"}),
            ("key-id", ticket, {"key_id": "zoe"}),
            ("limited", ticket, {"options": "-O source-address=127.0.0.1/32"}),
        ]
        for word, name, wrong in tries:
            rig.certify(name, **wrong)  # type: ignore[arg-type]
            done = rig.ssh(name, "status")
            assert done.returncode == 255, (word, done)
            last = rig.events(ticket, "refused")[-1]
            assert last["word"] == word
            assert last["detail"] in done.stderr.replace("\r", ""), word
        messages = [event["detail"] for event in rig.events(ticket, "refused")]
        assert len(set(messages)) == len(messages)
        (rig.folder / "person-cert.pub").unlink()
        assert rig.ssh(ticket, "status").returncode == 255
        wait_until(lambda: rig.events(ticket, "refused")[-1]["word"] == "no-certificate", "the refusal of a key alone")
        assert not rig.events(ticket, "begin")
        assert rig.visit(ticket, "live").stdout.startswith("calls 0")


def test_who_is_in_gets_words_and_nothing_else_of_ssh(rig: Rig) -> None:
    with rig.ticket("configure") as ticket, closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        rig.certify(ticket)
        assert "open failed" in rig.ssh(ticket, "status", "-W", f"127.0.0.1:{port}").stderr
        for forwarding in (f"0:127.0.0.1:{port}", f"{rig.folder}/r.sock:{rig.folder}/x.sock"):
            done = rig.ssh(ticket, "status", "-R", forwarding, "-o", "ExitOnForwardFailure=yes")
            assert done.returncode == 255, done
            assert "forwarding failed" in done.stderr
        assert rig.ssh(ticket, "pbxd-uplink", "-s").returncode != 0
        for program in (["sftp", "-b", "/dev/null"], ["scp", "-O"], ["scp"]):
            words = [*program, *rig.ssh_words(ticket, "")[1:-2]]
            words += [f"{ticket}@{BOX}"] if program[0] == "sftp" else [str(rig.pbxd.config), f"{ticket}@{BOX}:/tmp/x"]
            assert subprocess.run(words, capture_output=True, check=False, timeout=60).returncode != 0, program
        for command in ("id", "sh -c id", "status; id", "bash", "calls list", "recordings list"):
            done = rig.ssh(ticket, command)
            assert done.returncode == 2, done
            assert "there is no such word here" in done.stdout
            assert "uid=" not in done.stdout
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody was ever connected through


def test_environment_agent_and_x11_stay_outside_of_a_shell(rig: Rig) -> None:
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(
        part.strip().split("=", 1) for part in agent.replace("\n", ";").split(";") if part.strip().startswith("SSH_")
    )
    try:
        with rig.ticket("shell") as ticket:
            rig.certify(ticket)
            words = rig.ssh_words(ticket, "-tt", "-A", "-Y", "-o", "SetEnv=CANARY=sings", "")[:-1]
            environment = os.environ | variables | {"DISPLAY": ":7"}
            with subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0
            ) as person:
                read_until(person, b"COMMUNICATIONS")
                say(person, "echo [$SSH_AUTH_SOCK$DISPLAY$CANARY$PBXD_CONFIG]; exit")
                read_until(person, b"\r[]")
                assert person.wait(60) == 0
    finally:
        os.kill(int(variables["SSH_AGENT_PID"]), 15)


def test_a_shell_needs_the_customers_leave(rig: Rig) -> None:
    with rig.ticket("configure") as ticket:
        done = rig.pbxd.ctl("support", "open", "--scope", "diagnose", "--reason", "request")
        assert "is open: end it first" in done.stderr
        with rig.shell(ticket) as person:  # a prompt, and no shell
            read_until(person, b"pbxd> ")
            say(person, "id")
            assert b"uid=" not in read_until(person, b"there is no such word")
            say(person, "exit")
            assert person.wait(60) == 0
    with rig.configured("allow_shell: true", "allow_shell: false"):
        done = rig.pbxd.ctl("support", "open", "--scope", "shell", "--reason", "request", "--yes")
        assert "uplink.allow_shell is false" in done.stderr
        assert "COMMUNICATIONS" in done.stdout
