"""A mail server for tests: keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any


class Postbox:
    """The handler of an aiosmtpd server."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], bytes]] = []
        self.answers: dict[str, list[str]] = {}  # address -> answers in turn; the last one stays
        self.to_data: list[str] = []
        self.encrypted = False
        self.asked = threading.Event()  # a mail has come, and its answer is awaited
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.gone = threading.Event()  # the client went away before its answer

    async def handle_RCPT(self, _server: Any, session: Any, envelope: Any, address: str, _options: Any) -> str:
        self.encrypted = session.ssl is not None
        answers = self.answers.get(address, ["250 OK"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        self.asked.set()
        try:
            await server.loop.run_in_executor(None, self.may_answer.wait, 60)
        except asyncio.CancelledError:
            self.gone.set()
            raise
        if self.to_data:
            return self.to_data.pop(0)
        self.taken.append((envelope.rcpt_tos, envelope.content))
        return "250 taken"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
