"""A program that holds calls by ARI, as much as one transfer needs: its bridges cannot be merged, so Asterisk links them."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
from typing import Any
from urllib.parse import urlencode

from lab.asterisk import Asterisk, wait_until

PORT = 8088
LOGIN = base64.b64encode(b"lab:lab").decode()
APP = "lab"


class Program:
    """Takes the calls that the dialplan gives to `Stasis(lab)`."""

    def __init__(self, asterisk: Asterisk) -> None:
        self.asterisk = asterisk
        # Asterisk gives calls only to a program that listens for its events (a WebSocket, RFC 6455); what they say is not needed.
        self.events = socket.create_connection((asterisk.address, PORT), 10)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        request = (
            f"GET /ari/events?app={APP}&api_key=lab:lab HTTP/1.1\r\nHost: {asterisk.address}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.events.sendall(request.encode())
        answer = self.events.recv(4096)
        if b" 101 " not in answer:
            raise ConnectionError(f"ARI: {answer[:200]!r}")

    def ask(self, method: str, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON
        """One request; its JSON."""
        link = http.client.HTTPConnection(self.asterisk.address, PORT, timeout=10)
        try:
            target = f"/ari/{path}" + ("?" + urlencode(query) if query else "")
            link.request(method, target, headers={"Authorization": f"Basic {LOGIN}"})
            answer = link.getresponse().read()
            return json.loads(answer) if answer else None
        finally:
            link.close()

    def room(self) -> str:
        """A new bridge of ours; its id."""
        return str(self.ask("POST", "bridges", type="mixing")["id"])

    def take(self, bridge: str, endpoint: str) -> None:
        """Answer the call of `endpoint` that has just come, and put it into `bridge`."""
        wait_until(lambda: bool(self._waiting(endpoint)), f"the call of {endpoint} at the program")
        (channel,) = self._waiting(endpoint)
        self.ask("POST", f"channels/{channel}/answer")
        self.ask("POST", f"bridges/{bridge}/addChannel", channel=channel)

    def _waiting(self, endpoint: str) -> list[str]:
        """Channels of this endpoint that the program has and that are in no bridge."""
        bridged = {channel for bridge in self.ask("GET", "bridges") for channel in bridge["channels"]}
        held = self.ask("GET", f"applications/{APP}")["channel_ids"]
        return [
            channel["id"]
            for channel in self.ask("GET", "channels")
            if channel["id"] in held and channel["id"] not in bridged and channel["name"].rpartition("-")[0] == endpoint
        ]

    def close(self) -> None:
        """Hang up what is left, and go away."""
        for channel in self.ask("GET", f"applications/{APP}")["channel_ids"]:
            self.ask("DELETE", f"channels/{channel}")
        for bridge in self.ask("GET", f"applications/{APP}")["bridge_ids"]:
            self.ask("DELETE", f"bridges/{bridge}")
        self.events.close()
