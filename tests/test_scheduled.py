"""A running daemon mails the report that fell due while it was away, to a real mail server; and once."""

from __future__ import annotations

import email
import json
import socket
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from lab.asterisk import wait_until
from tests.running import Running

REPORTS = """
site: {{time_zone: Europe/Berlin}}
reports:
  state: {folder}/state/deliveries.json
  mail: {{host: 127.0.0.1, port: {port}, security: none, sender: pbx@example.org}}
  schedules:
    - {{name: morning, report: calls, period: day, at: "00:00", by: hour, format: pdf, to: [boss@example.org]}}
"""


class Postbox:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_mailed_once_after_downtime(tmp_path: Path, journals: Path) -> None:
    postbox = Postbox()
    port = free_port()
    server = Controller(postbox, hostname="127.0.0.1", port=port)
    server.start()
    running = Running(tmp_path)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "reports.yaml").write_text(REPORTS.format(folder=tmp_path, port=port))
    (tmp_path / "state").mkdir()
    long_ago = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
    (tmp_path / "state" / "deliveries.json").write_text(json.dumps({"morning": long_ago}))
    running.append(journals / "answered.csv")
    try:
        running.start()
        wait_until(lambda: len(postbox.mails) == 1, "the report of yesterday")
        (mail,) = postbox.mails
        assert mail["To"] == "boss@example.org"
        assert "Calls by hour" in (mail.get_body(("plain",)) or mail).get_content()
        (paper,) = [part for part in mail.iter_attachments() if part.get_content_type() == "application/pdf"]
        assert paper.get_content().startswith(b"%PDF-")
        wait_until(lambda: told(running)["delivered"] > long_ago, "the delivery to be noted")
        assert running.process is not None
        running.process.kill()
        running.process.wait()
        running.start()
        wait_until(lambda: told(running)["error"] == "", "the daemon to have looked at what is due")
        assert len(postbox.mails) == 1
    finally:
        if running.process is not None:
            running.process.kill()
            running.process.wait()
        server.stop()


def told(running: Running) -> dict[str, Any]:
    (schedule,) = json.loads(running.ctl("status", "--json").stdout)["reports"]
    assert isinstance(schedule, dict)
    return schedule
