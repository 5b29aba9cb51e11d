"""Talks to the daemon's control socket with nothing but the standard library: a status must not wait for imports."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pbxd.errors import ControlError, ControlRefused

DEFAULT_SOCKET = Path("/run/pbxd/control.sock")
STREAMED = 256 * 1024  # bytes of an answer that are in memory at a time
TIMEOUT = 30.0  # s for an answer to begin


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("pbxd", timeout=TIMEOUT)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self.path))
        except OSError:
            self.close()
            raise


class Client:
    """The API of one daemon. Every failure is a ControlError that says what to do."""

    def __init__(self, path: Path = DEFAULT_SOCKET) -> None:
        self.path = path

    def get(self, route: str, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a GET."""
        return json.loads(self._open("GET", route, query).read())

    def post(self, route: str, body: bytes = b"", *, patient: bool = False, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a POST; `patient` waits for it for as long as it takes."""
        return json.loads(self._open("POST", route, query, body, patient=patient).read())

    def put(self, route: str, body: bytes) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a PUT."""
        return json.loads(self._open("PUT", route, {}, body, patient=True).read())

    def delete(self, route: str, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a DELETE."""
        return json.loads(self._open("DELETE", route, query).read())

    def file(self, route: str, **query: Any) -> tuple[bytes, str]:  # noqa: ANN401 - whatever a query has
        """The bytes of a GET, and the kind of file that they are, as its name ends."""
        response = self._open("GET", route, query, patient=True)
        return response.read(), response.headers.get("X-Format", "bin")

    def stream(self, route: str, **query: Any) -> Iterator[bytes]:  # noqa: ANN401 - whatever a query has
        """The bytes of a GET as they come. ControlError if it ends before its end."""
        response = self._open("GET", route, query, patient=True)
        try:
            while data := response.read(STREAMED):
                yield data
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(
                f"the daemon stopped in the middle of the answer: {error or type(error).__name__}"
            ) from error

    def text(self, route: str) -> str:
        """The text of a GET."""
        return self._open("GET", route, {}).read().decode()

    def lines(self, route: str, *, patient: bool = False, **query: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
        """The JSON objects of a GET that answers with one a line; `patient` waits for each for as long as it takes."""
        response = self._open("GET", route, query, patient=patient)
        while line := response.readline():
            yield json.loads(line)

    def _open(
        self, method: str, route: str, query: dict[str, Any], body: bytes = b"", *, patient: bool = False
    ) -> http.client.HTTPResponse:
        connection = UnixConnection(self.path)
        given = {name: value for name, value in query.items() if value not in (None, "")}
        whole = route + ("?" + urlencode(given) if given else "")
        try:
            connection.request(method, whole, body=body or None, headers={"Connection": "close"})
            if patient and connection.sock is not None:
                connection.sock.settimeout(None)
            response = connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            message = f"pbxd is not running: nobody listens on {self.path}. Start it: systemctl start pbxd"
            raise ControlError(message) from error
        except PermissionError as error:
            raise ControlError(
                f"{self.path} may not be used by you: use sudo, or join the group of control.group"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(f"the daemon at {self.path} did not answer: {error}") from error
        if response.status == http.client.OK:
            return response
        said = response.read()
        if response.status == http.client.FORBIDDEN and not said:  # it was not even let in
            raise ControlRefused(f"{self.path} may not be used by you: use sudo, or join the group of control.group")
        raise (ControlRefused if response.status == http.client.FORBIDDEN else ControlError)(_reason(said))


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")[:500] or "the daemon answered with an error and no reason; see its log"
